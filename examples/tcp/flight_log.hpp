// flight_log: a sender over a wire that hands over all packets of one side and then all of the
// other, so that each flight of the sender is seen by itself: four flights, and one with a loss.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "own_network.hpp"
#include "raw_socket.hpp"
#include "wire.hpp"

namespace tcp_truth {

/// The threshold of slow start before there is one (include/net/tcp.h).
inline constexpr std::uint32_t no_threshold_yet = 0x7fffffff;

struct flight {
    std::uint32_t window = 0;  ///< tcpi_snd_cwnd while it was under way, in segments
    unsigned segments = 0;
};
/// What a sender of 1 MiB did.
struct flight_log {
    std::vector<flight> flights;
    bool no_threshold = false;
    tcp_info before_loss{};
    tcp_info after_loss{};
    tcp_info end{};
};

/// Two hosts between whom nothing was sent yet, so that no earlier run is remembered.
class flight_experiment {
public:
    flight_experiment() {
        network_.set("tcp_congestion_control", "reno");
        network_.set("tcp_early_retrans", "0");      // no loss probes: no timer sends anything
        network_.set("tcp_tso_win_divisor", "255");  // a rest of the window does not wait for more
        network_.set("tcp_no_metrics_save", "1");    // each connection begins anew
        network_.set("tcp_wmem", "4096 8388608 8388608");
        network_.far([&] { network_.set("tcp_rmem", "4096 8388608 8388608"); });
    }

    flight_log make() {
        const raw_socket listener = network_.far([] { return listener_of(1, wire::far_host); });
        const raw_socket sender;
        static_cast<void>(sender.begin_connect({listener.local().port, wire::far_host}));
        until("the handshake is over", [&] {
            wire_.carry();
            return sender.is(tcp_state::established) && listener.readable();
        });
        const raw_socket receiver = listener.accept();
        flight_log made;
        made.no_threshold = sender.info().tcpi_snd_ssthresh >= no_threshold_yet;
        static_cast<void>(sender.try_send(std::string(1 << 20, 'x')));
        for (int i = 0; i < 4; ++i)
            made.flights.push_back(pass(sender, false));
        made.before_loss = sender.info();
        pass(sender, true);
        made.after_loss = sender.info();
        until("all has arrived", [&] {
            pass(sender, false);
            while (receiver.try_receive(1 << 20) > 0) {
            }
            return sender.unacknowledged() == 0;
        });
        made.end = sender.info();
        return made;
    }

private:
    /// One flight of the sender arrives, but for its first packet if that is lost. Then all that
    /// the receiver answers arrives.
    flight pass(const raw_socket& sender, bool loses_one) {
        flight seen{.window = sender.info().tcpi_snd_cwnd};
        wire_.carry([&](const packet& each) {
            if (!each.data().empty()) ++seen.segments;
            return !(loses_one && seen.segments == 1 && !each.data().empty());
        });
        wire_.carry();
        return seen;
    }

    own_network network_;
    wire wire_{network_};
};

/// In a network of its own: what an earlier run has learned is forgotten.
inline flight_log watch_flights() {
    return flight_experiment().make();
}

}  // namespace tcp_truth
