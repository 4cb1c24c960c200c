// Drivers of copy and proxy: between the near ends of two connections.
#include <coro/net/copy.hpp>

#include "matrix_stream_driver.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Everything until the end of the stream, or an error.
task<std::size_t> count_to_end(net::stream& from) {
    std::size_t all = 0;
    std::array<std::byte, 4096> into{};
    for (;;) {
        const auto n = co_await as_result(from.read_some(mutable_bytes(into)));
        if (!n || *n == 0) co_return all;
        all += *n;
    }
}

/// Waits for bytes that do not come.
class copy_driver : public stream_driver {
public:
    copy_driver() : stream_driver(false) {}

    task<> prepare(ending how) override {
        co_await stream_driver::prepare(how);
        co_await sink_.open();
    }
    task<> operate() override {
        const std::uint64_t moved = co_await net::copy(pair_.near, sink_.near);
        check(moved == text.size(), "the count is wrong");
    }
    task<> complete() override {
        completed_ = true;
        co_await net::write_all(pair_.far, as_bytes(text));
        pair_.far.shutdown_send();
    }
    task<> verify(const outcome& ended) override {
        if (was_reset_) {
            co_await check_after_reset();
            co_return;
        }
        if (!completed_) co_await copy_driver::complete();
        const bool lost = sink_.near.is_broken();
        if (ended.is(outcome_kind::value)) check(!lost, "broken by a copy that was whole");
        else if (!lost) (void)co_await net::copy(pair_.near, sink_.near);
        sink_.near.close();
        const std::size_t arrived = co_await count_to_end(sink_.far);
        check(lost || arrived == text.size(), "bytes were lost, and the stream is not broken");
    }

protected:
    static constexpr std::string_view text = "some bytes to be copied";

    stream_pair sink_;
    bool completed_ = false;
};

/// Waits for room: the peer of the second connection does not read.
class copy_to_slow_driver final : public writing_driver {
public:
    task<> prepare(ending how) override {
        co_await writing_driver::prepare(how);
        co_await source_.open();
        co_await fill();
        const std::vector<std::byte> bytes = pattern_bytes(written_, size);
        co_await net::write_all(source_.far, const_bytes(bytes));
        while (source_.near.activity() < size) co_await sleep_for(1ms);
    }
    task<> operate() override {
        const std::uint64_t moved = co_await net::copy(source_.near, pair_.near);
        check(moved == size, "the count is wrong");
    }
    task<> complete() override {
        source_.far.shutdown_send();
        co_await drain();
    }
    /// It has taken all there is. A read that comes in pieces is looked at for a while only.
    bool at_point(bool waits) override {
        return waits && (!source_.near.has_input() || ++looks_ > 100);
    }
    task<> verify(const outcome& ended) override {
        if (was_reset_) co_return;
        const bool whole = ended.is(outcome_kind::value);
        check(!whole || !pair_.near.is_broken(), "broken by a copy that was whole");
        if (whole) written_ += size;
        if (whole) co_return co_await check_all_arrived();
        if (pair_.near.is_broken()) co_return;
        // It ended before it had taken anything.
        written_ += co_await net::copy(source_.near, pair_.near, {.at_most = 1});
        co_await check_all_arrived();
    }

private:
    static constexpr std::size_t size = 12 * 1024;

    stream_pair source_;
    unsigned looks_ = 0;
};

/// Both directions wait for bytes.
class proxy_driver final : public copy_driver {
public:
    task<> operate() override {
        const net::proxied moved = co_await net::proxy(pair_.near, sink_.near);
        check(moved.to_second == text.size() && moved.to_first == text.size(),
              "the counts are wrong");
    }
    task<> complete() override {
        co_await copy_driver::complete();
        co_await net::write_all(sink_.far, as_bytes(text));
        sink_.far.shutdown_send();
    }
    task<> verify(const outcome& ended) override {
        if (was_reset_) {
            co_await check_after_reset();
            co_return;
        }
        if (ended.is(outcome_kind::value)) {
            check(co_await count_to_end(sink_.far) == text.size(), "bytes were lost");
            check(co_await count_to_end(pair_.far) == text.size(), "bytes of the answer were lost");
            co_return;
        }
        co_await copy_driver::verify(ended);
    }
};

}  // namespace

std::vector<point> copy_points() {
    return {
        make_point<copy_driver>("coro::net::copy", "for bytes"),
        make_point<copy_to_slow_driver>("coro::net::copy", "for room"),
        make_point<proxy_driver>("coro::net::proxy", "for bytes of both"),
    };
}

}}}  // namespace coro::v0::detail::conformance
