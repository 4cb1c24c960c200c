// What does a connection for each request cost, against one that stays open?
//
// Run:   build/debug/examples/tcp_truth short_connections
//
// You see 500 requests both ways: packets, CPU time and what stays in TIME_WAIT. Then one request
// over a wire, with how often a packet travels before the reply is there.
#include <string>

#include "own_network.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"
#include "request_cost.hpp"

namespace tcp_truth::short_connections {

void answer(timeline& line) {
    const own_network network;
    const pair_of_sockets open;
    for (int i = 0; i < 100; ++i)
        exchange(open.client, open.server);  // all code is in the caches
    const request_cost kept =
        measure_requests(line, "one connection", [&] { exchange(open.client, open.server); });
    const raw_socket listener = listener_of(8);
    const request_cost each = measure_requests(line, "one for each request", [&] {
        raw_socket client;
        client.connect(listener.local());
        const raw_socket server = listener.accept();
        exchange(client, server);
        client.close();
    });
    line.holds("A request over an open connection costs two packets: request and reply.",
               kept.packets >= 2 && kept.packets < 3);
    line.holds("With a connection of its own it costs 8 packets or more.", each.packets >= 8);
    line.holds("It costs more CPU time.", each.microseconds > kept.microseconds);
    line.holds("Each connection leaves a TIME_WAIT, and so a port that is taken for a minute.",
               kept.in_time_wait == 0 && each.in_time_wait == requests);

    reply_trips trips;
    until("a connection on which nothing was sent twice", [&] {
        trips = trip_counter().count();
        return trips.undisturbed;
    });
    line.at("wire", "packets travel " + std::to_string(trips.first) +
                        " times until the first reply, " + std::to_string(trips.second) +
                        " times for the second");
    line.holds("The first reply takes two round trips, and each later one a single one.",
               trips.first == 4 && trips.second == 2);
}

}  // namespace tcp_truth::short_connections
