#include <coro/net/copy.hpp>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <memory>
#include <optional>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/until_stop.hpp>

#include "net/io_failure.hpp"
#include "runtime/poller.hpp"

namespace coro { inline namespace v0 { namespace net {

namespace {

using detail::direction;
using detail::socket_ref;

/// A leased buffer that came full: more has come with it, probably, which the kernel may pass on.
constexpr std::size_t worth_splicing = 16 * 1024;
/// Of what `to` has no room for, so much is read out of the pipe, and waits in an ordinary write.
constexpr std::size_t spilled_at_once = 64 * 1024;
/// The pipe is closed after so many rounds in a row that were not worth it.
constexpr unsigned most_small_rounds = 8;

/// What this kernel, this filter or this kind of socket cannot do.
bool refuses_splice(std::int32_t error) noexcept {
    return error == -EINVAL || error == -EOPNOTSUPP || error == -ENOSYS || error == -EPERM;
}

/// One direction: what has moved, and the pipe while it is of use.
class copy_state {
public:
    copy_state(stream& from, stream& to, const copy_options& options) noexcept
        : from_(detail::stream_access::ref(from)),
          to_(detail::stream_access::ref(to)),
          left_(options.at_most),
          splices_(options.splices && !from_.handle.is_transport() &&
                   !to_.handle.is_transport()) {}
    copy_state(const copy_state&) = delete;
    copy_state& operator=(const copy_state&) = delete;
    /// What was taken and not written is lost now, and `to` misses it.
    ~copy_state() {
        if (unwritten_) detail::mark_broken(to_, direction::sending);
    }

    [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
    [[nodiscard]] bool has_ended() const noexcept { return left_ == 0; }
    /// For the next read.
    [[nodiscard]] std::size_t wanted() const noexcept {
        return static_cast<std::size_t>(
            std::min<std::uint64_t>(left_, std::numeric_limits<std::size_t>::max()));
    }

    void taken(std::size_t bytes) noexcept {
        unwritten_ = true;
        moved_ += bytes;
        left_ -= bytes;
    }
    void written() noexcept { unwritten_ = false; }

    /// After a read of so many bytes: whether the kernel shall pass on what else has come.
    [[nodiscard]] bool begins_round(std::size_t bytes) noexcept {
        if (!splices_ || bytes < worth_splicing || left_ == 0) return false;
        if (pipe_ == nullptr) {
            int error = 0;
            pipe_ = detail::poller_of(from_).open_relay(error);
            splices_ = pipe_ != nullptr;
        }
        round_ = 0;
        return splices_;
    }

    /// Passes on until nothing more has come, until the round is over, or until `to` has no room.
    /// Then it returns what waits for room, for the caller to write; nothing: the round is over.
    [[nodiscard]] const_bytes pass_on() {
        for (;;) {
            if (pipe_->held() == 0) {
                written();
                if (!take_more()) return {};
            }
            const std::int32_t sent = pipe_->give(to_.handle);
            if (sent > 0) continue;
            if (refuses_splice(sent)) splices_ = false;
            else if (sent != -EAGAIN) detail::throw_io(sent, "send", to_);
            return spill();
        }
    }

private:
    /// False: nothing has come, or the round is over.
    bool take_more() {
        const std::size_t most = std::min(wanted(), detail::most_bytes_at_once - round_);
        const std::int32_t got =
            splices_ && most != 0 ? pipe_->take(from_.handle, most) : -EAGAIN;
        if (got > 0) {
            round_ += static_cast<std::size_t>(got);
            taken(static_cast<std::size_t>(got));
            return true;
        }
        if (refuses_splice(got)) splices_ = false;
        else if (got != 0 && got != -EAGAIN) detail::throw_io(got, "recv", from_);
        small_rounds_ = round_ < worth_splicing ? small_rounds_ + 1 : 0;
        if (!splices_ || small_rounds_ == most_small_rounds) {
            pipe_.reset();
            small_rounds_ = 0;
        }
        return false;
    }

    const_bytes spill() {
        spilled_.resize(std::min(pipe_->held(), spilled_at_once));
        const std::int32_t got = pipe_->read(mutable_bytes(spilled_));
        if (got < 0) detail::throw_io(got, "splice", from_);
        return const_bytes(spilled_).first(static_cast<std::size_t>(got));
    }

    const socket_ref from_;
    const socket_ref to_;
    std::uint64_t moved_ = 0;
    std::uint64_t left_;
    bool splices_;
    bool unwritten_ = false;
    unsigned small_rounds_ = 0;
    std::size_t round_ = 0;  ///< bytes that passed through the pipe in this round
    std::unique_ptr<detail::relay_pipe> pipe_;
    std::vector<std::byte> spilled_;
};

task<std::uint64_t> copy_to_end(stream& from, stream& to, copy_options options) {
    const std::uint64_t moved = co_await copy(from, to, options);
    to.shutdown_send();
    co_return moved;
}

}  // namespace

task<std::uint64_t> copy(stream& from, stream& to, copy_options options) {
    copy_state through(from, to, options);
    while (!through.has_ended()) {
        std::size_t size = 0;
        {
            read_lease bytes;
            if (options.ends_at_stop) {
                auto come = co_await until_stop(from.read_leased(through.wanted()));
                if (come.has_value()) bytes = std::move(*come);
            } else {
                bytes = co_await from.read_leased(through.wanted());
            }
            size = bytes.size();
            if (size == 0) break;
            through.taken(size);
            co_await write_all(to, bytes.bytes());
            through.written();
        }
        if (!through.begins_round(size)) continue;
        for (const_bytes rest = through.pass_on(); !rest.empty(); rest = through.pass_on())
            co_await write_all(to, rest);
    }
    co_return through.moved();
}

task<proxied> proxy(stream& first, stream& second, copy_options options) {
    const auto [to_second, to_first] = co_await when_all(copy_to_end(first, second, options),
                                                         copy_to_end(second, first, options));
    co_return proxied{to_second, to_first};
}

}}}  // namespace coro::v0::net
