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

#include <string>

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
    const bool holding = options.hold > 0;
    const load::outcome found = holding ? generator.hold() : generator.run();
    if (!holding) load::print_outcome(options, found);

    if (const auto lost = found.ended_by_eof + found.ended_by_error; lost != 0) {
        perf::fail(found.first_end + "; in all " + std::to_string(lost) + " connections ended (" +
                   std::to_string(found.ended_by_eof) + " by end of stream, " +
                   std::to_string(found.ended_by_error) + " by reset or another error)");
    }
    if (!holding && found.window.messages == 0) {
        perf::fail("measure: no message came back in the window; give more --seconds or --rate");
    }
    return 0;
}
