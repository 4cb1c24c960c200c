// Yardstick: an echo server with a pool of threads that share all connections.
//
// Run:  thread_pool_echo --port 7000    then connect anything to 127.0.0.1:7000
// The threads wait at one epoll, which is the queue between them. The kernel hands a connection
// that has something to one of them. It tells nobody else of it (EPOLLONESHOT), until that thread
// has answered and asks for it again. So no lock is held, no thread hands work to another, and a
// handler that computes or blocks holds up nobody but its own connection. The price is one wait,
// one epoll_ctl and, with several processors, a wake-up for each message.
#include "contenders/readiness.hpp"

#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <system_error>
#include <thread>
#include <vector>

namespace {

struct connection {
    int fd;
    perf::unsent rest;  // touched by the thread that has the connection just now
};

class pool {
public:
    pool(int listener, std::size_t buffer_bytes)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), acceptor_(listener), buffer_bytes_(buffer_bytes) {
        if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
        watch(EPOLL_CTL_ADD, listener, EPOLLIN, nullptr);
    }

    /// What each thread does for ever.
    void work() {
        std::vector<std::byte> buffer(buffer_bytes_);
        for (;;) {
            epoll_event event;
            const int count = epoll_wait(epoll_, &event, 1, -1);
            if (count < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (count <= 0) continue;
            if (event.data.ptr == nullptr)
                accept_all();
            else
                serve(static_cast<connection*>(event.data.ptr), buffer);
        }
    }

private:
    bool watch(int operation, int fd, std::uint32_t interest, connection* who) const {
        epoll_event event{};
        event.events = interest | EPOLLONESHOT;
        event.data.ptr = who;  // nullptr is the listener
        return epoll_ctl(epoll_, operation, fd, &event) == 0;
    }

    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            auto* peer = new connection{fd, {}};
            if (watch(EPOLL_CTL_ADD, fd, EPOLLIN, peer)) return;  // another thread may have it now
            close(fd);
            delete peer;
        });
        while (acceptor_.is_paused() && !acceptor_.resumes()) {  // the others go on
            std::this_thread::sleep_for(
                std::chrono::milliseconds(acceptor_.timeout_milliseconds()));
        }
        watch(EPOLL_CTL_MOD, acceptor_.fd(), EPOLLIN, nullptr);
    }

    void serve(connection* peer, std::vector<std::byte>& buffer) const {
        switch (perf::serve_once(peer->fd, peer->rest, buffer)) {
            case perf::served::closed:
                delete peer;
                return;
            case perf::served::blocked:
                watch(EPOLL_CTL_MOD, peer->fd, EPOLLOUT, peer);
                return;
            case perf::served::more:
            case perf::served::drained:
                watch(EPOLL_CTL_MOD, peer->fd, EPOLLIN, peer);
                return;
        }
    }

    int epoll_;
    perf::acceptor acceptor_;  // used by one thread at a time: the listener is one-shot too
    std::size_t buffer_bytes_;
};

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{
        perf::port_option, perf::loops_option, perf::buffer_option,
        perf::option{"threads", "N", "threads that serve (4)"}};
    const perf::arguments given("thread_pool_echo", options, argc, argv);
    const perf::server_settings settings = perf::read_server_settings(given);
    const std::uint64_t threads = given.whole("threads", 4, 1, 1000);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(settings.port, SOCK_NONBLOCK);
    pool server(listener, settings.buffer_bytes);
    try {
        for (std::uint64_t i = 1; i < threads; ++i) std::thread(&pool::work, &server).detach();
    } catch (const std::system_error& error) {
        perf::fail_errno("make the threads", error.code().value(), "give fewer --threads");
    }
    perf::announce(listener);
    server.work();
}
