// What do old texts about servers say that is not so, or not any more?
//
// Run:   build/debug/examples/tcp_truth old_texts
//
// You see limits as the kernel has them, and the one thread of a process with 64 coroutines, which
// waits in epoll. Other pages have the other errors; docs/guide/tcp/old_texts.md lists them.
#include <cstddef>
#include <string>

#include "own_network.hpp"
#include "proc_figures.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"
#include "waiting_process.hpp"

namespace tcp_truth::old_texts {

void answer(timeline& line) {
    const own_network network;
    const std::string most = network.setting("core/somaxconn");
    line.at("kernel", "net.core.somaxconn of a new namespace: " + most);
    line.holds("somaxconn is 4096 where nobody has set it.", most == "4096");
    network.set("core/somaxconn", "100");
    const raw_socket small = listener_of(10);
    const raw_socket great = listener_of(1000);
    line.at("server", "listen(10): " + std::to_string(small.queue_limit()) + ", listen(1000): " +
                          std::to_string(great.queue_limit()) + ", with somaxconn=100");
    line.holds("The accept queue has the length that listen asks for, somaxconn at most.",
               small.queue_limit() == 10 && great.queue_limit() == 100);

    const waiting_process server;
    until("the process waits in epoll, for all clients",
          [&] { return server.is_in_epoll() && server.watched() >= waiting_process::tasks; });
    const std::size_t threads = count_entries(server.proc() + "/task");
    line.at("server", "64 coroutines wait for clients; threads: " + std::to_string(threads));
    line.at("kernel", "its thread is in epoll_wait, which watches " +
                          std::to_string(server.watched()) + " descriptors");
    line.holds("64 coroutines that wait are one thread in one call of epoll.", threads == 1);
}

}  // namespace tcp_truth::old_texts
