// Yardstick: the plainest fast echo server, one thread on raw epoll.
//
// Run:  epoll_echo --port 7000          then connect anything to 127.0.0.1:7000; q ends it
// Level-triggered: one recv and one send per event, nothing re-armed, so a message costs
// exactly one recv, one send, no epoll_ctl and a share of an epoll_wait. It needs no
// read-until-EAGAIN, and is fair: a connection gets one buffer per turn, however fast it sends.
// Only a connection whose peer does not take its reply is watched for room instead of input.
#include "contenders/readiness.hpp"

#include "common/failure.hpp"
#include "common/keyboard.hpp"
#include "common/server.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>

namespace {

constexpr int events_per_wait = 256;

class epoll_echo {
public:
    epoll_echo(int listener, std::size_t buffer_bytes)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), acceptor_(listener), table_(buffer_bytes) {
        if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
        watch(EPOLL_CTL_ADD, listener, EPOLLIN);
        if (!watch(EPOLL_CTL_ADD, keyboard_.fd(), EPOLLIN)) keyboard_.ignore();
    }

    [[noreturn]] void run() {
        std::array<epoll_event, events_per_wait> events;
        for (;;) {
            const int count = epoll_wait(epoll_, events.data(), events_per_wait,
                                         acceptor_.timeout_milliseconds());
            if (count < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (acceptor_.resumes()) watch(EPOLL_CTL_MOD, acceptor_.fd(), EPOLLIN);
            for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)].data.fd);
        }
    }

private:
    bool watch(int operation, int fd, std::uint32_t interest) {
        epoll_event event{};
        event.events = interest;
        event.data.fd = fd;
        return epoll_ctl(epoll_, operation, fd, &event) == 0;
    }

    void handle(int fd) {
        if (fd == acceptor_.fd()) {
            accept_all();
        } else if (fd == keyboard_.fd()) {
            if (!keyboard_.take_typed()) watch(EPOLL_CTL_DEL, fd, 0);
        } else {
            serve(fd);
        }
    }

    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            table_.add(fd);
            if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN)) close(fd);
        });
        if (acceptor_.is_paused()) watch(EPOLL_CTL_MOD, acceptor_.fd(), 0);
    }

    void serve(int fd) {
        const bool was_blocked = table_.is_blocked(fd);
        const perf::served now = table_.serve(fd);
        if (now == perf::served::closed) return;
        const bool is_blocked = now == perf::served::blocked;
        if (is_blocked != was_blocked) watch(EPOLL_CTL_MOD, fd, is_blocked ? EPOLLOUT : EPOLLIN);
    }

    int epoll_;
    perf::acceptor acceptor_;
    perf::keyboard keyboard_;
    perf::echo_table table_;
};

}  // namespace

int main(int argc, char** argv) {
    const perf::loop_start start("epoll_echo", argc, argv);
    epoll_echo server(start.listener, start.buffer_bytes);
    perf::announce(start.listener);
    server.run();
}
