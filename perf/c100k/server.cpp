// An echo server for more connections than one table of descriptors holds: a loop for each of
// several addresses, in one process.
//
// Run:  c100k_server --loops 8          perf/c100k.py runs it, with its clients
// See:  listening 127.0.0.1:<port>      loop k listens on 127.0.0.(k+1), on the same port
//
// RLIMIT_NOFILE bounds the highest descriptor of a table, and threads share a table unless one of
// them leaves it: unshare(2) with CLONE_FILES gives the thread a copy of its own. A loop uses no
// descriptor of another loop but the event that wakes it, and that was there before, so it has the
// same number in every copy. What moves descriptors between loops would not work any more: here
// `serve` has one listener a loop, and spreads nothing.
#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "contenders/coro_server.hpp"

#include <coro/coro.hpp>
#include <coro/runtime/event.hpp>

#include <sched.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>

namespace {

struct crowd {
    unsigned loops = 0;
    bool own_tables = false;
    coro::duration dead_peer = coro::duration::max();
    std::uint16_t port = 0;  // of all loops, once the first one listens
    std::atomic<unsigned> running{0};
    std::atomic<unsigned> listening{0};
    coro::event all_run{};
    coro::event first_listens{};
};

/// A million connections are allowed here, and a warning would say that a table has no room for
/// them; perf/c100k.py asks for as many as there is room for.
void report_errors(const coro::report_event& event, void*) noexcept {
    if (event.level != coro::severity::error) return;
    std::fprintf(stderr, "c100k_server: %.*s: %s%.*s\n", static_cast<int>(event.verb.size()),
                 event.verb.data(), event.error ? std::strerror(event.error.value()) : "",
                 static_cast<int>(event.text.size()), event.text.data());
}

coro::task<> echo(coro::net::tcp_stream peer) {
    while (const coro::net::read_lease lease = co_await peer.read_leased())
        co_await coro::net::write_all(peer, lease.bytes());
}

coro::net::tcp_listener bind_on_loop(const crowd& all) {
    const unsigned loop = coro::loop_index();
    const std::string where =
        "127.0.0." + std::to_string(loop + 1) + ":" + std::to_string(all.port);
    return coro::net::tcp_listener::bind(coro::net::endpoint::parse(where).value(),
                                         {.dead_peer = all.dead_peer});
}

/// Serves on this loop, with a table of its own if that was asked for. No loop leaves the table
/// before all loops run: until then their rings and events are not all in it.
coro::task<> serve_here(crowd& all) {
    if (++all.running == all.loops) all.all_run.set();
    co_await all.all_run.wait();
    if (all.own_tables && unshare(CLONE_FILES) != 0)
        perf::fail_errno("leave the table of descriptors", errno, "give --tables shared");
    if (coro::loop_index() != 0) co_await all.first_listens.wait();
    auto listener = bind_on_loop(all);
    if (coro::loop_index() == 0) {
        all.port = listener.local_endpoint().port();
        all.first_listens.set();
    }
    if (++all.listening == all.loops) {
        std::printf("listening 127.0.0.1:%u\n", unsigned{all.port});
        std::fflush(stdout);
    }
    co_await coro::serve(listener, echo,
                         {.limits = {.connections = 1'000'000,
                                     .first_byte = coro::duration::max(),
                                     .idle = coro::duration::max(),
                                     .half_closed = coro::duration::max()},
                          .spread = false});
}

coro::task<> serve_everywhere(crowd& all) {
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        for (unsigned loop = 0; loop < all.loops; ++loop)
            group.spawn({.name = "loop", .loop = loop}, serve_here, std::ref(all));
        co_return;
    });
}

/// The run makes its events, which belong to a loop.
coro::task<> serve_as_told(unsigned loops, bool own_tables, std::uint16_t port, double dead_peer) {
    crowd all{.loops = loops, .own_tables = own_tables, .port = port};
    if (dead_peer > 0)
        all.dead_peer = std::chrono::ceil<coro::duration>(std::chrono::duration<double>(dead_peer));
    co_await serve_everywhere(all);
}

}  // namespace

int main(int argc, char** argv) {
    constexpr perf::option loops{"loops", "N", "event loops, each on a thread (8)"};
    constexpr perf::option poller{"poller", "NAME", "io_uring, epoll or automatic (automatic)"};
    constexpr perf::option tables{"tables", "own|shared", "of descriptors, of each loop (own)"};
    constexpr perf::option dead_peer{"dead-peer", "S", "end peers silent to probes after S s"};
    constexpr std::array known{perf::port_option, loops, poller, tables, dead_peer};
    const perf::arguments given("c100k_server", known, argc, argv);
    const std::string_view table = given.text("tables", "own");
    if (table != "own" && table != "shared")
        perf::arguments::refuse("--tables", "there are no such tables", "give own or shared");
    coro::set_report_hook(report_errors, nullptr);
    coro::run_options options;
    options.poller = perf::poller_named(given.text("poller", "automatic"));
    options.strict = options.poller != coro::poller_choice::automatic;
    options.loops = static_cast<unsigned>(given.whole("loops", 8, 1, 250));
    return coro::run_main(serve_as_told(options.loops, table == "own", perf::read_port(given),
                                        given.real("dead-peer", 0, 1, 10'000)),
                          options);
}
