// Yardstick: the plainest fast echo server, one thread on raw epoll.
//
// Run:  epoll_echo --port 7000          then connect anything to 127.0.0.1:7000
// Level-triggered: one recv and one send per event, nothing re-armed, so a message costs
// exactly one recv, one send, no epoll_ctl and a share of an epoll_wait. Level-triggered
// measures the same as edge-triggered, needs no read-until-EAGAIN, and is fair: a connection
// gets one buffer per turn, however fast it sends.
//
// All connections share one receive buffer. Only when a peer does not take its reply is the rest
// copied into a buffer of its own, and the connection listens for writability instead of input
// until that rest is gone: a slow reader holds at most --buffer bytes.
#include "common/arguments.hpp"
#include "common/cpu_time.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace {

constexpr int events_per_wait = 256;
constexpr int pause_milliseconds = 100;

struct unsent {
    std::vector<std::byte> bytes;
    std::size_t done = 0;
};

class epoll_echo {
public:
    epoll_echo(int listener, std::size_t buffer_bytes)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), listener_(listener), buffer_(buffer_bytes) {
        if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
        watch(EPOLL_CTL_ADD, listener_, EPOLLIN);
    }

    [[noreturn]] void run() {
        std::array<epoll_event, events_per_wait> events;
        for (;;) {
            const int timeout = accept_paused_ ? pause_milliseconds : -1;
            const int count = epoll_wait(epoll_, events.data(), events_per_wait, timeout);
            if (count < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (accept_paused_ && perf::monotonic_nanoseconds() >= resume_at_) resume_accepting();
            for (int i = 0; i < count; ++i) {
                const int fd = events[static_cast<std::size_t>(i)].data.fd;
                if (fd == listener_)
                    accept_all();
                else
                    serve(fd);
            }
        }
    }

private:
    bool watch(int operation, int fd, std::uint32_t interest) {
        epoll_event event{};
        event.events = interest;
        event.data.fd = fd;
        return epoll_ctl(epoll_, operation, fd, &event) == 0;
    }

    void accept_all() {
        for (;;) {
            const int fd = accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                const auto index = static_cast<std::size_t>(fd);
                if (unsent_.size() <= index) unsent_.resize(index + 1);
                if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN)) close(fd);
            } else if (perf::is_shortage(errno)) {
                accept_paused_ = true;
                resume_at_ = perf::monotonic_nanoseconds() + pause_milliseconds * 1'000'000LL;
                watch(EPOLL_CTL_MOD, listener_, 0);
                return;
            } else if (errno != EINTR && errno != ECONNABORTED) {
                return;  // EAGAIN: none waits. Anything else is the peer's trouble; it comes again.
            }
        }
    }

    void resume_accepting() {
        accept_paused_ = false;
        watch(EPOLL_CTL_MOD, listener_, EPOLLIN);
    }

    /// Event flags are not looked at: recv and send say what happened, errors included.
    void serve(int fd) {
        if (!rest_of(fd).bytes.empty()) {
            send_rest(fd);
            return;
        }
        const ssize_t received = recv(fd, buffer_.data(), buffer_.size(), 0);
        if (received > 0) {
            reply(fd, std::span(buffer_).first(static_cast<std::size_t>(received)));
        } else if (received == 0 || !is_transient(errno)) {
            drop(fd);
        }
    }

    void reply(int fd, std::span<const std::byte> bytes) {
        const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent == static_cast<ssize_t>(bytes.size())) return;
        if (sent < 0 && !is_transient(errno)) {
            drop(fd);
            return;
        }
        const auto done = sent < 0 ? std::size_t{0} : static_cast<std::size_t>(sent);
        const auto rest = bytes.subspan(done);
        rest_of(fd).bytes.assign(rest.begin(), rest.end());
        watch(EPOLL_CTL_MOD, fd, EPOLLOUT);
    }

    void send_rest(int fd) {
        unsent& rest = rest_of(fd);
        const auto left = std::span(rest.bytes).subspan(rest.done);
        const ssize_t sent = send(fd, left.data(), left.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (!is_transient(errno)) drop(fd);
            return;
        }
        rest.done += static_cast<std::size_t>(sent);
        if (rest.done < rest.bytes.size()) return;
        rest = {};  // an idle connection owns no buffer
        watch(EPOLL_CTL_MOD, fd, EPOLLIN);
    }

    void drop(int fd) {
        rest_of(fd) = {};
        close(fd);
        if (accept_paused_) resume_accepting();
    }

    unsent& rest_of(int fd) { return unsent_[static_cast<std::size_t>(fd)]; }

    static bool is_transient(int error) { return error == EAGAIN || error == EINTR; }

    int epoll_;
    int listener_;
    bool accept_paused_ = false;
    std::int64_t resume_at_ = 0;
    std::vector<std::byte> buffer_;
    std::vector<unsent> unsent_;  // by descriptor
};

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{perf::port_option, perf::loops_option, perf::buffer_option};
    const perf::arguments given("epoll_echo", options, argc, argv);
    const perf::server_settings settings = perf::read_server_settings(given);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(settings.port, SOCK_NONBLOCK);
    epoll_echo server(listener, settings.buffer_bytes);
    perf::announce(listener);
    server.run();
}
