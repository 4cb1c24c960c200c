// splice(2) from a socket into a pipe, and out of it into another socket.
//
// A thread that splices into a connection which the peer has reset gets SIGPIPE, and no flag
// prevents that: the signal is blocked meanwhile, and taken back where it came.
#include "runtime/relay_pipe.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <new>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {

namespace {

constexpr unsigned splice_flags = SPLICE_F_MOVE | SPLICE_F_NONBLOCK;

template <typename Call>
std::int32_t repeated(Call call) noexcept {
    for (;;) {
        const ssize_t answer = call();
        if (answer >= 0) return static_cast<std::int32_t>(answer);
        if (errno != EINTR) return -errno;
    }
}

/// SIGPIPE does not reach this thread. One that was on its way before stays so.
class without_pipe_signal {
public:
    without_pipe_signal() noexcept {
        ::sigemptyset(&set_);
        ::sigaddset(&set_, SIGPIPE);
        ::pthread_sigmask(SIG_BLOCK, &set_, &before_);
        was_blocked_ = ::sigismember(&before_, SIGPIPE) == 1;
        if (!was_blocked_) return;
        sigset_t waiting;
        had_one_ = ::sigpending(&waiting) == 0 && ::sigismember(&waiting, SIGPIPE) == 1;
    }
    without_pipe_signal(const without_pipe_signal&) = delete;
    without_pipe_signal& operator=(const without_pipe_signal&) = delete;
    ~without_pipe_signal() {
        if (!was_blocked_) ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }

    /// The call has failed with EPIPE: its signal is taken back.
    void take_back() noexcept {
        if (had_one_) return;
        const timespec at_once{};
        while (::sigtimedwait(&set_, nullptr, &at_once) < 0 && errno == EINTR) {
        }
    }

private:
    sigset_t set_;
    sigset_t before_;
    bool was_blocked_ = false;
    bool had_one_ = false;
};

}  // namespace

class posix_sockets::splicer final : public relay_pipe {
public:
    splicer(posix_sockets& of, int read_end, int write_end) noexcept
        : of_(of), read_end_(read_end), write_end_(write_end) {}
    ~splicer() override {
        ::close(read_end_);
        ::close(write_end_);
    }

    std::int32_t take(detail::handle from, std::size_t most) noexcept override {
        socket_slot* const slot = of_.find(from);
        if (slot == nullptr) return result_closed;
        if (slot->receiver != nullptr) return result_busy;
        if (slot->datagram || slot->listening) return -EOPNOTSUPP;
        ++of_.counters.receives;
        const std::int32_t taken = repeated([&] {
            return ::splice(slot->descriptor, nullptr, write_end_, nullptr,
                            std::min(most, most_bytes_at_once), splice_flags);
        });
        if (taken == -EAGAIN) ++of_.counters.would_block;
        if (slot->local) count_moved(*slot, taken);
        if (taken > 0) held_ += static_cast<std::uint32_t>(taken);
        return taken;
    }

    std::int32_t give(detail::handle to) noexcept override {
        socket_slot* const slot = of_.find(to);
        if (slot == nullptr) return result_closed;
        if (slot->sender != nullptr) return result_busy;
        if (slot->datagram || slot->listening) return -EOPNOTSUPP;
        ++of_.counters.sends;
        without_pipe_signal quiet;
        const std::int32_t sent = repeated([&] {
            return ::splice(read_end_, nullptr, slot->descriptor, nullptr, held_, splice_flags);
        });
        if (sent == -EPIPE) quiet.take_back();
        if (sent == -EAGAIN) ++of_.counters.would_block;
        if (slot->local) count_moved(*slot, sent);
        if (sent > 0) held_ -= static_cast<std::uint32_t>(sent);
        return sent;
    }

    std::int32_t read(mutable_bytes into) noexcept override {
        const std::int32_t got =
            repeated([&] { return ::read(read_end_, into.data(), into.size()); });
        if (got > 0) held_ -= static_cast<std::uint32_t>(got);
        return got;
    }

private:
    posix_sockets& of_;
    const int read_end_;
    const int write_end_;
};

std::unique_ptr<relay_pipe> posix_sockets::open_relay(int& error) noexcept {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
        error = -errno;
        return nullptr;
    }
    std::unique_ptr<relay_pipe> made(new (std::nothrow) splicer(*this, ends[0], ends[1]));
    if (made != nullptr) return made;
    for (const int each : ends) ::close(each);
    error = -ENOMEM;
    return nullptr;
}

}}}  // namespace coro::v0::detail
