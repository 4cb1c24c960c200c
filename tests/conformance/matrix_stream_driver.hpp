// What drivers of operations on connected streams have in common.
#pragma once

#include <string>

#include "kernel_queues.hpp"
#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {

inline bool reset_error(const outcome& ended) {
    return ended.is(outcome_kind::error) && (ended.error == std::errc::connection_reset ||
                                             ended.error == std::errc::broken_pipe);
}

class stream_driver : public driver {
public:
    task<> reset() override {
        was_reset_ = true;
        pair_.reset_far();
        co_return;
    }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (kind.how == ending::peer_reset) return reset_error(ended);
        return driver::documented(kind, ended);
    }

protected:
    explicit stream_driver(bool narrow) : narrow_(narrow) {}

    task<> prepare(ending) override { co_await pair_.open(narrow_); }

    /// After a reset the stream answers the end or an error, and does not hang.
    task<> check_after_reset() {
        std::array<std::byte, 8> into{};
        const auto end = co_await as_result(pair_.near.read_some(mutable_bytes(into)));
        check(!end || *end == 0, "bytes came out of a stream that was reset");
    }

    stream_pair pair_;
    bool was_reset_ = false;

private:
    bool narrow_;
};

/// What writers have in common: the pattern goes in at near, and far checks it.
class writing_driver : public stream_driver {
protected:
    writing_driver() : stream_driver(true) {}

    /// Writes until nothing goes any more, not even when the kernel has moved what it has: an
    /// acknowledgement makes room for a new attempt, also where it is too little to end a wait.
    task<> fill() {
        for (;;) {
            const std::vector<std::byte> chunk = pattern_bytes(written_, 4096);
            const bool settled = is_acknowledged(pair_.near);
            const auto n =
                co_await move_on_after(20ms, pair_.near.write_some(const_bytes(chunk)));
            if (n) written_ += *n;
            else if (settled) co_return;
        }
    }

    /// Reads at far until near has nothing more to send, also when a turn went by in which the
    /// writer was told of the room.
    task<> drain() {
        for (int quiet = 0; quiet < 2;) {
            const bool more = co_await read_far(10ms);
            quiet = more || !is_drained(pair_.near, pair_.far) ? 0 : quiet + 1;
        }
    }

    /// Reads at far what comes within a while; false at the end.
    virtual task<bool> read_far(duration within) {
        std::array<std::byte, 4096> into{};
        const auto n = co_await move_on_after(within, pair_.far.read_some(mutable_bytes(into)));
        if (!n || *n == 0) co_return false;
        check(first_difference(into.data(), *n, read_) == *n, "foreign bytes came out");
        read_ += *n;
        co_return true;
    }

    task<> check_all_arrived() {
        pair_.near.close();
        bool more = true;
        while (more) more = co_await read_far(1h);
        check(read_ == written_, std::to_string(written_) + " bytes went in, " +
                                     std::to_string(read_) + " came out");
    }

    std::size_t written_ = 0;
    std::size_t read_ = 0;
};

}}}  // namespace coro::v0::detail::conformance
