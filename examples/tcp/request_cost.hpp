// request_cost: what a request and its reply cost: packets, CPU time, ends in TIME_WAIT, and how
// often something travels over a wire.
#pragma once

#include <ctime>
#include <fstream>
#include <string>
#include <utility>

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

/// How often a SYN or bytes travel over a wire, one way, until the first reply is there, and then
/// until the second one.
struct reply_trips {
    int first = 0;
    int second = 0;
    bool undisturbed = false;  ///< no timer ran out and sent something again
};

class trip_counter {
public:
    reply_trips count() {
        const raw_socket listener = network_.far([] { return listener_of(1, wire::far_host); });
        const raw_socket client;
        static_cast<void>(client.begin_connect({listener.local().port, wire::far_host}));
        carry_until([&] { return client.writable(); });
        client.send(request);
        carry_until([&] { return listener.readable(); });
        const raw_socket server = listener.accept();
        pass_reply(client, server);
        reply_trips seen{.first = std::exchange(trips_, 0)};
        client.send(request);
        pass_reply(client, server);
        seen.second = trips_;
        seen.undisturbed =
            client.info().tcpi_total_retrans == 0 && server.info().tcpi_total_retrans == 0;
        return seen;
    }

private:
    void pass_reply(const raw_socket& client, const raw_socket& server) {
        carry_until([&] { return server.readable(); });
        server.send(server.receive(request.size()));
        carry_until([&] { return client.readable(); });
        static_cast<void>(client.receive(request.size()));
    }
    template <typename Done>
    void carry_until(Done done) {
        until("the packets have arrived", [&] {
            if (done()) return true;
            bool counts = false;
            cable_.carry([&](const packet& each) {
                counts = counts || each.syn() || !each.data().empty();
                return true;
            });
            trips_ += int{counts};
            return false;
        });
    }

    own_network network_;
    wire cable_{network_};
    int trips_ = 0;
};

}  // namespace tcp_truth
