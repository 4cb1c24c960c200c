// Yardstick: an echo server that waits for nothing, as the old texts write it: a loop that walks
// all connections, whose sockets are non-blocking, and asks each whether it has something.
//
// Run:  polling_echo --port 7000        then connect anything to 127.0.0.1:7000; q ends it
// It takes a whole processor, whether there is work or not. With few busy connections that is the
// quickest answer that there is: nobody has to be woken. With many silent ones it asks in vain.
#include "contenders/readiness.hpp"

#include "common/keyboard.hpp"
#include "common/server.hpp"

#include <cstddef>
#include <vector>

namespace {

class polling_echo {
public:
    polling_echo(int listener, std::size_t buffer_bytes)
        : acceptor_(listener), table_(buffer_bytes) {}

    [[noreturn]] void run() {
        for (;;) {
            keyboard_.look();
            if (!acceptor_.is_paused() || acceptor_.resumes()) accept_all();
            walk();
        }
    }

private:
    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            table_.add(fd);
            connections_.push_back(fd);
        });
    }

    /// A closed one leaves its place to the last of the list, which is looked at next.
    void walk() {
        for (std::size_t i = 0; i < connections_.size();) {
            if (table_.serve(connections_[i]) == perf::served::closed) {
                connections_[i] = connections_.back();
                connections_.pop_back();
            } else {
                ++i;
            }
        }
    }

    perf::acceptor acceptor_;
    perf::keyboard keyboard_;
    perf::echo_table table_;
    std::vector<int> connections_;
};

}  // namespace

int main(int argc, char** argv) {
    const perf::loop_start start("polling_echo", argc, argv);
    polling_echo server(start.listener, start.buffer_bytes);
    perf::announce(start.listener);
    server.run();
}
