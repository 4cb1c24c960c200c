// Yardstick: an echo server on poll(2), one thread.
//
// Run:  poll_echo --port 7000           then connect anything to 127.0.0.1:7000; q ends it
// Every wait hands the whole list of descriptors to the kernel, which looks at each of them, and
// then the program looks for those that are ready: both cost as much as there are connections, and
// not as much as have something to say. There is no limit like that of select.
#include "contenders/readiness.hpp"

#include "common/failure.hpp"
#include "common/keyboard.hpp"
#include "common/server.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <vector>

namespace {

class poll_echo {
public:
    poll_echo(int listener, std::size_t buffer_bytes)
        : acceptor_(listener), table_(buffer_bytes),
          watched_{{listener, POLLIN, 0}, {keyboard_.fd(), POLLIN, 0}} {}

    [[noreturn]] void run() {
        for (;;) {
            int left = poll(watched_.data(), watched_.size(), acceptor_.timeout_milliseconds());
            if (left < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (acceptor_.resumes()) watched_[the_listener].fd = acceptor_.fd();
            if (left <= 0) continue;
            if (watched_[the_keyboard].revents != 0) {
                --left;
                if (!keyboard_.take_typed()) watched_[the_keyboard].fd = -1;  // it is skipped then
            }
            const bool accepts = watched_[the_listener].revents != 0;
            serve_ready(accepts ? left - 1 : left);
            if (accepts) accept_all();
        }
    }

private:
    static constexpr std::size_t the_listener = 0;
    static constexpr std::size_t the_keyboard = 1;
    static constexpr std::size_t first_connection = 2;

    /// Looks no further than the last that is ready. A closed one leaves its place to the last of
    /// the list, which is looked at next.
    void serve_ready(int left) {
        std::size_t i = first_connection;
        while (left > 0 && i < watched_.size()) {
            if (watched_[i].revents == 0) {
                ++i;
                continue;
            }
            --left;
            const perf::served now = table_.serve(watched_[i].fd);
            if (now == perf::served::closed) {
                watched_[i] = watched_.back();
                watched_.pop_back();
                continue;
            }
            watched_[i].events = now == perf::served::blocked ? POLLOUT : POLLIN;
            ++i;
        }
    }

    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            table_.add(fd);
            watched_.push_back({fd, POLLIN, 0});
        });
        if (acceptor_.is_paused()) watched_[the_listener].fd = -1;
    }

    perf::acceptor acceptor_;
    perf::keyboard keyboard_;
    perf::echo_table table_;
    std::vector<pollfd> watched_;
};

}  // namespace

int main(int argc, char** argv) {
    const perf::loop_start start("poll_echo", argc, argv);
    poll_echo server(start.listener, start.buffer_bytes);
    perf::announce(start.listener);
    server.run();
}
