#include <coro/net/copy.hpp>

#include <algorithm>
#include <cstddef>
#include <limits>
#include <utility>

#include <coro/core/when_all.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/until_stop.hpp>

namespace coro { inline namespace v0 { namespace net {

namespace {

/// One direction: what has moved, and whether a part of it is taken and not written.
class copy_state {
public:
    copy_state(const stream& to, std::uint64_t at_most) noexcept
        : to_(detail::stream_access::ref(to)), left_(at_most) {}
    copy_state(const copy_state&) = delete;
    copy_state& operator=(const copy_state&) = delete;
    /// What was taken and not written is lost now, and `to` misses it.
    ~copy_state() {
        if (unwritten_) detail::mark_broken(to_, detail::direction::sending);
    }

    [[nodiscard]] std::uint64_t moved() const noexcept { return moved_; }
    [[nodiscard]] bool has_ended() const noexcept { return left_ == 0; }
    [[nodiscard]] std::size_t at_most() const noexcept {
        constexpr std::uint64_t most = std::numeric_limits<std::size_t>::max();
        return static_cast<std::size_t>(std::min(left_, most));
    }

    void takes(std::size_t bytes) noexcept {
        unwritten_ = true;
        left_ -= bytes;
        moved_ += bytes;
    }
    void has_written() noexcept { unwritten_ = false; }

private:
    const detail::socket_ref to_;
    std::uint64_t moved_ = 0;
    std::uint64_t left_;
    bool unwritten_ = false;
};

task<std::uint64_t> copy_to_end(stream& from, stream& to, copy_options options) {
    const std::uint64_t moved = co_await copy(from, to, options);
    to.shutdown_send();
    co_return moved;
}

}  // namespace

task<std::uint64_t> copy(stream& from, stream& to, copy_options options) {
    copy_state through(to, options.at_most);
    while (!through.has_ended()) {
        read_lease lease;
        if (options.ends_at_stop) {
            auto come = co_await until_stop(from.read_leased(through.at_most()));
            if (come.has_value()) lease = std::move(*come);
        } else {
            lease = co_await from.read_leased(through.at_most());
        }
        if (lease.empty()) break;
        through.takes(lease.size());
        co_await write_all(to, lease.bytes());
        through.has_written();
    }
    co_return through.moved();
}

task<proxied> proxy(stream& first, stream& second, copy_options options) {
    const auto [to_second, to_first] = co_await when_all(copy_to_end(first, second, options),
                                                         copy_to_end(second, first, options));
    co_return proxied{to_second, to_first};
}

}}}  // namespace coro::v0::net
