// Yardstick: an echo server on raw epoll, edge-triggered, one thread.
//
// Run:  epoll_edge_echo --port 7000     then connect anything to 127.0.0.1:7000; q ends it
// A connection is registered once, for input and for room, and never again: not even a peer that
// does not take its reply costs an epoll_ctl. An event says only that something has come, so a
// connection is served until it is drained. A receive that leaves room in the buffer has drained it
// (epoll(7)), and saves the receive that would say EAGAIN. The exception is the end of the stream
// behind the bytes, for which no new edge comes: the event itself says that it is there.
//
// A connection that is not drained waits for its next receive behind the others, in a list that the
// loop goes through before it sleeps: so that one fast sender does not hold up the rest.
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
#include <utility>
#include <vector>

namespace {

constexpr int events_per_wait = 256;
constexpr std::uint32_t end_of_stream = EPOLLRDHUP | EPOLLHUP | EPOLLERR;

class epoll_edge_echo {
public:
    epoll_edge_echo(int listener, std::size_t buffer_bytes)
        : epoll_(epoll_create1(EPOLL_CLOEXEC)), acceptor_(listener), table_(buffer_bytes) {
        if (epoll_ < 0) perf::fail_errno("create the epoll", errno, "raise ulimit -n");
        watch(EPOLL_CTL_ADD, listener, EPOLLIN);
        if (!watch(EPOLL_CTL_ADD, keyboard_.fd(), EPOLLIN)) keyboard_.ignore();
    }

    [[noreturn]] void run() {
        std::array<epoll_event, events_per_wait> events;
        std::vector<int> turn;
        for (;;) {
            const int timeout = hot_.empty() ? acceptor_.timeout_milliseconds() : 0;
            const int count = epoll_wait(epoll_, events.data(), events_per_wait, timeout);
            if (count < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (acceptor_.resumes()) watch(EPOLL_CTL_MOD, acceptor_.fd(), EPOLLIN);
            // Those of the turn before come behind the events, and what is still not drained then
            // waits for the next turn.
            std::swap(turn, hot_);
            for (int i = 0; i < count; ++i) handle(events[static_cast<std::size_t>(i)]);
            for (const int fd : turn) {
                is_hot_[index_of(fd)] = false;
                serve(fd, ending_[index_of(fd)]);
            }
            turn.clear();
        }
    }

private:
    static std::size_t index_of(int fd) { return static_cast<std::size_t>(fd); }

    bool watch(int operation, int fd, std::uint32_t interest) {
        epoll_event event{};
        event.events = interest;
        event.data.fd = fd;
        return epoll_ctl(epoll_, operation, fd, &event) == 0;
    }

    void handle(const epoll_event& event) {
        const int fd = event.data.fd;
        if (fd == acceptor_.fd()) {
            accept_all();
        } else if (fd == keyboard_.fd()) {
            if (!keyboard_.take_typed()) watch(EPOLL_CTL_DEL, fd, 0);
        } else {
            const bool ending = (event.events & end_of_stream) != 0;
            if (ending) ending_[index_of(fd)] = true;
            if (!is_hot_[index_of(fd)]) serve(fd, ending);
        }
    }

    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            table_.add(fd);
            if (is_hot_.size() <= index_of(fd)) {
                is_hot_.resize(index_of(fd) + 1);
                ending_.resize(index_of(fd) + 1);
            }
            ending_[index_of(fd)] = false;
            if (!watch(EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)) close(fd);
        });
        if (acceptor_.is_paused()) watch(EPOLL_CTL_MOD, acceptor_.fd(), 0);
    }

    void serve(int fd, bool ending) {
        const perf::served now = table_.serve(fd);
        const bool again = now == perf::served::more || (ending && now == perf::served::drained);
        if (!again) return;
        is_hot_[index_of(fd)] = true;
        hot_.push_back(fd);
    }

    int epoll_;
    perf::acceptor acceptor_;
    perf::keyboard keyboard_;
    perf::echo_table table_;
    std::vector<int> hot_;       // not drained
    std::vector<bool> is_hot_;   // by descriptor
    std::vector<bool> ending_;   // by descriptor: the end of its stream has come
};

}  // namespace

int main(int argc, char** argv) {
    const perf::loop_start start("epoll_edge_echo", argc, argv);
    epoll_edge_echo server(start.listener, start.buffer_bytes);
    perf::announce(start.listener);
    server.run();
}
