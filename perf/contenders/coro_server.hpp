// What the echo servers in coro have in common: all but the handler of a connection.
#pragma once

#include "common/server.hpp"

#include <coro/coro.hpp>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string_view>

namespace perf {

/// Prints the counters of its loop when the server's task ends, in whatever way it ends.
struct counters_at_end {
    bool wanted;
    ~counters_at_end() {
        if (!wanted) return;
        const coro::loop_stats all = coro::current_loop_stats();
        std::printf("poller %.*s receives %" PRIu64 " sends %" PRIu64 " would_block %" PRIu64
                    " waits %" PRIu64 " enters %" PRIu64 " controls %" PRIu64 " turns %" PRIu64
                    " spins %" PRIu64 " sleeps %" PRIu64 "\n",
                    static_cast<int>(all.poller.size()), all.poller.data(), all.receive_calls,
                    all.send_calls, all.would_block, all.wait_calls, all.enter_calls,
                    all.control_calls, all.turns, all.spins, all.sleeps);
    }
};

template <typename Handler>
coro::task<> serve_all(std::uint16_t port, bool print_counters, Handler handler) {
    const counters_at_end at_end{print_counters};
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(port));
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);
    co_await coro::serve(listener, handler,
                         {.limits = {.connections = 1'000'000,
                                     .first_byte = coro::duration::max(),
                                     .idle = coro::duration::max(),
                                     .half_closed = coro::duration::max()}});
}

inline coro::poller_choice poller_named(std::string_view name) {
    if (name == "automatic") return coro::poller_choice::automatic;
    if (name == "io_uring") return coro::poller_choice::io_uring;
    if (name == "epoll") return coro::poller_choice::epoll;
    arguments::refuse("--poller", "there is no such poller", "give io_uring, epoll or automatic");
}

/// The program `name`: a server that gives each connection to `handler`, with the usual options.
template <typename Handler>
int run_coro_server(const char* name, Handler handler, int argc, char** argv) {
    constexpr option loops{"loops", "N", "event loops, each on a thread (1)"};
    constexpr option poller{"poller", "NAME", "io_uring, epoll or automatic (automatic)"};
    constexpr option stats{"stats", "yes|no", "print the first loop's counters at the end (no)"};
    constexpr option spin{"spin", "yes|no", "poll for up to 100 us before sleeping (yes)"};
    constexpr std::array known{port_option, loops, poller, stats, spin};
    const arguments given(name, known, argc, argv);
    coro::set_report_hook([](const coro::report_event&, void*) noexcept {}, nullptr);
    coro::run_options options;
    options.poller = poller_named(given.text("poller", "automatic"));
    options.strict = options.poller != coro::poller_choice::automatic;
    options.spin = given.text("spin", "yes") == "yes";
    options.loops = static_cast<unsigned>(given.whole("loops", 1, 1, 1024));
    const bool print_counters = given.text("stats", "no") == "yes";
    return coro::run_main(serve_all(read_port(given), print_counters, handler), options);
}

}  // namespace perf
