#include <coro/net/copy.hpp>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <utility>

#include <coro/core/when_all.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/until_stop.hpp>

namespace coro { inline namespace v0 { namespace net {

namespace {

/// Much comes when a whole leased buffer did (poller_options::lease_buffer_bytes). From then on the
/// copy fills a larger buffer of its own. Sizes chosen by measurement, decision 0080.
constexpr std::size_t much = 16 * 1024;
constexpr std::size_t buffer_size = 64 * 1024;

/// One direction: what has moved, and the buffer while much comes.
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

    [[nodiscard]] bool has_buffer() const noexcept { return buffer_ != nullptr; }
    [[nodiscard]] mutable_bytes buffer() const noexcept {
        return {buffer_.get(), at_most(buffer_size)};
    }
    [[nodiscard]] std::size_t at_most(std::size_t bytes) const noexcept {
        return static_cast<std::size_t>(std::min<std::uint64_t>(left_, bytes));
    }

    void takes(std::size_t bytes) noexcept {
        unwritten_ = true;
        left_ -= bytes;
        moved_ += bytes;
    }
    /// A short read is the end of much. The buffer also waits with whoever sends messages of that
    /// size: anew for each, it made 64 KiB on io_uring three times as dear. Without memory for it,
    /// leases go on.
    void has_written(std::size_t bytes) noexcept {
        unwritten_ = false;
        if (bytes < much || left_ == 0) buffer_.reset();
        else if (!has_buffer()) buffer_.reset(new (std::nothrow) std::byte[buffer_size]);
    }

private:
    const detail::socket_ref to_;
    std::uint64_t moved_ = 0;
    std::uint64_t left_;
    bool unwritten_ = false;
    std::unique_ptr<std::byte[]> buffer_;
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
        const_bytes bytes;
        if (through.has_buffer()) {
            const mutable_bytes into = through.buffer();
            std::size_t size = 0;
            if (options.ends_at_stop) {
                const auto come = co_await until_stop(from.read_some(into));
                size = come.value_or(0);
            } else {
                size = co_await from.read_some(into);
            }
            bytes = const_bytes(into).first(size);
        } else {
            const std::size_t most = through.at_most(static_cast<std::size_t>(-1));
            if (options.ends_at_stop) {
                auto come = co_await until_stop(from.read_leased(most));
                if (come.has_value()) lease = std::move(*come);
            } else {
                lease = co_await from.read_leased(most);
            }
            bytes = lease.bytes();
        }
        if (bytes.empty()) break;
        through.takes(bytes.size());
        co_await write_all(to, bytes);
        through.has_written(bytes.size());
    }
    co_return through.moved();
}

task<proxied> proxy(stream& first, stream& second, copy_options options) {
    const auto [to_second, to_first] = co_await when_all(copy_to_end(first, second, options),
                                                         copy_to_end(second, first, options));
    co_return proxied{to_second, to_first};
}

}}}  // namespace coro::v0::net
