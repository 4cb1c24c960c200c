// Load generator for echo servers on 127.0.0.1; it verifies every byte that comes back.
//
// Run:  coro_load --port 7000 --connections 64 --size 64 --server-pid $(pidof epoll_echo)
// See:  messages per second, latency percentiles, and the server's CPU time per message, which is
//       the figure to compare: rates depend on this program too, CPU per message hardly does.
// Exit: 0 all came back right; 1 a wrong byte, a lost connection, no message; 2 a bad option.
#include "common/cpu_time.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"
#include "load/corrupt_server.hpp"
#include "load/generator.hpp"
#include "load/options.hpp"
#include "load/report.hpp"

#include <sys/prctl.h>

#include <cmath>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <string>

namespace {

void measure(load::generator& generator, const load::load_options& options) {
    const load::outcome found = generator.run();
    load::print_outcome(options, found);
    load::refuse_losses(found);
    if (found.window.messages == 0 && found.window.latency.count() == 0) {
        perf::fail("measure: no message came back in the window; give more --seconds or --rate");
    }
}

/// A window for each line of stdin. The first line that this program prints says that all
/// connections are open.
void measure_on_cue(load::generator& generator, load::load_options options) {
    std::printf("open %zu connections\n", options.connections);
    std::fflush(stdout);
    std::string line;
    while (std::getline(std::cin, line)) {
        std::istringstream words(line);
        std::string more;
        const bool fits = words >> options.rate >> options.seconds && !(words >> more) &&
                          std::isfinite(options.rate) && options.rate >= 0 &&
                          options.seconds >= 0.001 && options.seconds <= 1e6;
        if (!fits) {
            perf::fail("read cue \"" + line +
                       "\": it is not RATE SECONDS; write \"0 2\" for a "
                       "closed loop of 2 s, or \"500 2\" for 500 messages a second");
        }
        generator.change(options.rate, options.seconds);
        measure(generator, options);
    }
}

}  // namespace

int main(int argc, char** argv) {
    const load::load_options options = load::read_options(argc, argv);
    if (options.processor >= 0) {
        perf::pin_to_processor(static_cast<unsigned>(options.processor));
    }
    perf::raise_descriptor_limit();
    if (options.serve_corrupt) load::serve_corrupt(options.port, options.kind);

    prctl(PR_SET_TIMERSLACK, 1UL);  // the default of 50 us would blur the schedule of --rate
    load::generator generator(options);
    generator.open_all();
    if (options.hold > 0) {
        const load::idle_memory found = generator.hold();
        load::print_memory(options, found);
        load::refuse_losses(found);
    } else if (options.cues) {
        measure_on_cue(generator, options);
    } else {
        measure(generator, options);
    }
    return 0;
}
