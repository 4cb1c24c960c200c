// The echo server in coro, in fibers: one per connection, read buffers on lease.
#include "common/server.hpp"

#include <coro/coro.hpp>

#include <array>
#include <cinttypes>
#include <cstdio>
#include <string_view>

namespace {

constexpr perf::option poller_option{"poller", "NAME", "io_uring, epoll or automatic (automatic)"};
constexpr perf::option stats_option{"stats", "yes|no", "print the loop's counters at the end (no)"};
constexpr perf::option spin_option{"spin", "yes|no", "poll for up to 100 us before sleeping (yes)"};

void echo(coro::net::tcp_stream peer) {
    while (const coro::net::read_lease lease = coro::await(peer.read_leased()))
        coro::await(coro::net::write_all(peer, lease.bytes()));
}

coro::task<> handle(coro::net::tcp_stream peer) {
    co_await coro::fiber(echo, std::move(peer));
}

/// Prints the counters when the server's task ends, in whatever way it ends.
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

coro::task<> serve_echo(std::uint16_t port, bool print_counters) {
    const counters_at_end at_end{print_counters};
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(port));
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);
    co_await coro::serve(listener, handle,
                         {.connections = 1'000'000, .idle = coro::duration::max()});
}

coro::poller_choice poller_named(std::string_view name) {
    if (name == "automatic") return coro::poller_choice::automatic;
    if (name == "io_uring") return coro::poller_choice::io_uring;
    if (name == "epoll") return coro::poller_choice::epoll;
    perf::arguments::refuse("--poller", "there is no such poller",
                            "give io_uring, epoll or automatic");
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array known{perf::port_option, perf::loops_option, poller_option, stats_option,
                               spin_option};
    const perf::arguments given("fiber_echo", known, argc, argv);
    coro::set_report_hook([](const coro::report_event&, void*) noexcept {}, nullptr);
    coro::run_options options;
    options.poller = poller_named(given.text("poller", "automatic"));
    options.strict = options.poller != coro::poller_choice::automatic;
    options.spin = given.text("spin", "yes") == "yes";
    perf::require_one_loop(given);
    return coro::run_main(serve_echo(perf::read_port(given), given.text("stats", "no") == "yes"),
                          options);
}
