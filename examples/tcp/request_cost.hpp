// request_cost: what a request and its reply cost: packets, CPU time, ends in TIME_WAIT, and how
// often something travels over a wire.
#pragma once

#include <ctime>
#include <fstream>
#include <string>

#include "own_network.hpp"
#include "raw_socket.hpp"
#include "wire.hpp"

namespace tcp_truth {

inline constexpr int requests = 500;
inline const std::string request(64, 'q');

/// Of one request, but for the last.
struct request_cost {
    double packets = 0;
    double microseconds = 0;
    long in_time_wait = 0;
};

inline long count_in_time_wait() {
    std::ifstream file("/proc/net/sockstat");  // of this namespace
    for (std::string word; file >> word;)
        if (long count = 0; word == "tw" && file >> count) return count;
    throw not_allowed("/proc/net/sockstat has no tw");
}

inline void exchange(const raw_socket& client, const raw_socket& server) {
    client.send(request);
    server.send(server.receive(request.size()));
    static_cast<void>(client.receive(request.size()));
}

template <typename Each>
request_cost measure_requests(timeline& line, const std::string& what, Each each) {
    const long packets = own_network::counter("Tcp", "OutSegs");
    const std::clock_t begin = std::clock();
    for (int i = 0; i < requests; ++i)
        each();
    const double seconds = double(std::clock() - begin) / CLOCKS_PER_SEC;
    const request_cost seen{double(own_network::counter("Tcp", "OutSegs") - packets) / requests,
                            seconds * 1e6 / requests, count_in_time_wait()};
    line.at("kernel", what + ": " + decimal(seen.packets) + " packets and " +
                          decimal(seen.microseconds) + " us of CPU time for a request, " +
                          std::to_string(seen.in_time_wait) + " in TIME_WAIT");
    return seen;
}

/// How often something travels over the cable, one way, until `done`.
template <typename Done>
int trips_until(wire& cable, Done done) {
    int count = 0;
    until("the packets have arrived", [&] {
        if (done()) return true;
        bool moved = false;
        cable.carry([&](const packet&) { return moved = true; });
        count += int{moved};
        return false;
    });
    return count;
}

}  // namespace tcp_truth
