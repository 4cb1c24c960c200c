// How does SO_REUSEPORT spread connections, and what is lost when a listener closes?
//
// Run:   build/debug/examples/tcp_truth reuseport
//
// You see four listeners on one port, how many of 256 connections each one gets, and what happens
// to those that wait in the queue of a listener that closes.
#include <cstddef>
#include <cstdint>
#include <string>

#include "listener_group.hpp"
#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::reuseport {

/// Which listener gets a client from this port.
std::size_t listener_for(const listener_group& servers, std::uint16_t port) {
    raw_socket client;
    client.bind({port});
    client.connect(servers.where());
    std::size_t found = 0;
    while (servers.listeners[found].queue_depth() == 0)
        ++found;
    client.reset();
    servers.listeners[found].accept().close();
    return found;
}

void answer(timeline& line) {
    const own_network network;
    const listener_group few(4);
    bool same = true;
    for (std::uint16_t port = 20000; port < 20016; ++port)
        same = same && listener_for(few, port) == listener_for(few, port);
    line.at("client", "connects twice from each of 16 ports");
    line.holds("The same four numbers lead to the same listener: the choice is a hash.", same);

    listener_group servers(4);
    servers.connect(256);
    line.at("kernel", "256 connections, in the queues: " + servers.depths());
    const auto depth = [&](std::size_t i) { return servers.listeners[i].queue_depth(); };
    line.holds("Each listener gets some.", depth(0) * depth(1) * depth(2) * depth(3) > 0);
    while (servers.listeners[1].try_accept()) {
    }
    line.at("server", "the second accepts all of its own: " + servers.depths());
    line.holds("A connection waits for its own listener, also when another one is idle.",
               depth(0) > 0 && depth(1) == 0);

    for (const bool moves : {false, true}) {
        network.set("tcp_migrate_req", moves ? "1" : "0");
        listener_group fresh(4);
        fresh.connect(256);
        const std::size_t waited = fresh.listeners[0].queue_depth();
        fresh.listeners[0].close();
        until("all have their fate",
              [&] { return fresh.waiting() + fresh.reset_clients() == 256; });
        line.at("server", "tcp_migrate_req=" + std::to_string(int{moves}) + ": the first closes; " +
                              std::to_string(waited) + " waited in it");
        line.at("kernel", fresh.depths() + "; " + std::to_string(fresh.reset_clients()) +
                              " clients have a RST");
        if (moves)
            line.holds("With tcp_migrate_req they move to the others, and no client notices.",
                       fresh.reset_clients() == 0 && fresh.waiting() == 256);
        else
            line.holds("A listener that closes resets the clients in its queue.",
                       fresh.reset_clients() == waited && waited > 0);
    }
}

}  // namespace tcp_truth::reuseport
