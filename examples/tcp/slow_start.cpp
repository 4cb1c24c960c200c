// How much does a sender send before the first acknowledgement?
//
// Run:   build/debug/examples/tcp_truth slow_start
//
// Two hosts have a wire between them that this program holds. It hands over all packets of one side
// and then all of the other: so each flight of the sender is seen by itself. Then one packet is
// lost.
#include <cstddef>
#include <string>

#include "flight_log.hpp"
#include "own_network.hpp"
#include "questions.hpp"

namespace tcp_truth::slow_start {

void answer(timeline& line) {
    flight_log seen;
    until("a run without a timeout: the machine may be busy for longer than 200 ms", [&] {
        seen = watch_flights();
        return seen.before_loss.tcpi_total_retrans == 0 && seen.end.tcpi_total_retrans == 1;
    });
    line.at("sender", "writes 1 MiB; each flight arrives whole, and is then acknowledged");
    bool doubles = true;
    for (std::size_t i = 0; i < seen.flights.size(); ++i) {
        const auto [window, segments] = seen.flights[i];
        line.draw("           flight " + std::to_string(i + 1) + "  window " +
                  std::to_string(window) + "  " + std::string(segments / 2, '#') + " " +
                  count_of(segments, "segment"));
        doubles = doubles && segments == window &&
                  (i == 0 || segments == 2 * seen.flights[i - 1].segments);
    }
    const tcp_info& before = seen.before_loss;
    const tcp_info& after = seen.after_loss;
    line.at("wire", "loses one packet of the next flight");
    line.at("sender", "window " + std::to_string(before.tcpi_snd_cwnd) +
                          " before; the threshold is " + std::to_string(after.tcpi_snd_ssthresh));
    line.at("sender", "window " + std::to_string(seen.end.tcpi_snd_cwnd) + " when all has arrived");
    line.holds("The first flight has 10 segments, whatever the program writes.",
               seen.flights[0].segments == 10);
    line.holds("Each flight that is acknowledged is followed by one of twice the size.", doubles);
    line.holds("A lost packet halves the window, and the doubling ends there.",
               after.tcpi_snd_ssthresh == before.tcpi_snd_cwnd / 2 &&
                   seen.end.tcpi_snd_cwnd < before.tcpi_snd_cwnd);
    line.holds("Before the first loss there is no threshold.", seen.no_threshold);
}

}  // namespace tcp_truth::slow_start
