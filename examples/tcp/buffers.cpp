// What do the sizes of the buffers mean for throughput?
//
// Run:   build/debug/examples/tcp_truth buffers
//
// You see how much passes in 40 round trips of 20 ms, with several sizes of the receive buffer, and
// without a size. It needs a network namespace.
#include <algorithm>
#include <utility>
#include <vector>

#include "own_network.hpp"
#include "questions.hpp"
#include "wire.hpp"

namespace tcp_truth::buffers {

constexpr std::chrono::milliseconds one_way{10};
constexpr int round_trips = 40;

struct outcome {
    int buffer = 0;          ///< as the kernel has it at the end
    long most_in_flight = 0; ///< bytes that were sent and not acknowledged
    long received = 0;
    double seconds = 0;
};

/// Sends as much as the kernel takes, and the server receives all at once, for 40 round trips, and
/// until more than `enough` was in flight: on a busy machine the windows take longer to open.
outcome transfer(const own_network& network, wire& cable, int asked, long enough) {
    const raw_socket listener = network.far([] { return listener_of(1, wire::far_host); });
    // On the listener: a connection inherits it, and its SYN ACK tells the scale of the window.
    if (asked != 0) listener.set(SOL_SOCKET, SO_RCVBUF, asked);
    const raw_socket client;
    client.begin_connect(listener.local());
    until("the connection is there", [&] { return cable.carry(), listener.readable(); });
    const raw_socket server = listener.accept();

    outcome seen;
    const std::string bytes(1UL << 20, 'x');
    const auto begin = timeline::clock::now();
    auto now = begin;
    until("the windows are open and the time is over", [&] {
        while (client.try_send(bytes) > 0) {
        }
        cable.carry();
        for (long got = 1; got > 0; seen.received += got)
            got = std::max(0L, server.try_receive(1UL << 16));
        const long in_flight = client.unacknowledged() - client.unsent();
        seen.most_in_flight = std::max(seen.most_in_flight, in_flight);
        now = timeline::clock::now();
        return now > begin + round_trips * 2 * one_way && seen.most_in_flight > enough;
    });
    seen.seconds = std::chrono::duration<double>(now - begin).count();
    seen.buffer = server.get(SOL_SOCKET, SO_RCVBUF);
    return seen;
}

void answer(timeline& line) {
    const own_network network;
    wire cable(network);
    cable.set_delay(one_way);
    std::vector<outcome> seen;
    bool is_bound = true;
    for (const auto& [asked, enough] : {std::pair{4096, 0}, {16384, 8192}, {65536, 32768},
                                        {0, 131072}}) {
        const outcome each = transfer(network, cable, asked, enough);
        const double rate = static_cast<double>(each.received) / each.seconds;
        line.at("server", (asked == 0 ? "no SO_RCVBUF" : "SO_RCVBUF " + std::to_string(asked)) +
                              ", grown to " + std::to_string(each.buffer) + ": in flight at most " +
                              std::to_string(each.most_in_flight) + ", " +
                              decimal(rate / 1e6, 2) + " MB/s");
        const double trips = each.seconds / std::chrono::duration<double>(2 * one_way).count();
        is_bound = is_bound && (asked == 0 || (each.buffer == 2 * asked &&
                                               each.most_in_flight <= each.buffer &&
                                               static_cast<double>(each.received) <=
                                                   (trips + 1) * each.buffer));
        seen.push_back(each);
    }
    line.holds("The kernel doubles the size that was asked for, and it bounds each round trip.",
               is_bound);
    line.holds("With four times the buffer, more is in flight.",
               seen[0].most_in_flight < seen[1].most_in_flight &&
                   seen[1].most_in_flight < seen[2].most_in_flight);
    line.holds("A buffer that is not set grows, and more is in flight than with any of these.",
               seen[3].buffer > seen[2].buffer && seen[3].most_in_flight > seen[2].most_in_flight);
}

}  // namespace tcp_truth::buffers
