// Tasks that take turns on a pool of connections, beside as many tasks as there are connections,
// each with one of its own: windows of both in turn, against one echo server.
//
// Prints a line for each pair of windows: `pair EXCHANGES NANOSECONDS CPU_NANOSECONDS`, of the
// dedicated connections, and then the same three of the pool. CPU is that of this thread. Either is
// the first in every second pair.
#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>

#include "common/arguments.hpp"
#include "common/cpu_time.hpp"
#include "common/failure.hpp"
#include "contenders/coro_server.hpp"

#include <time.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <span>
#include <vector>

namespace {

using coro::net::endpoint;
using coro::net::tcp_stream;
using echo_pool = coro::connection_pool<tcp_stream>;

constexpr std::size_t message_bytes = 64;
constexpr coro::duration warm_up = std::chrono::milliseconds(50);

struct settings {
    endpoint server;
    unsigned connections = 16;
    unsigned tasks = 64;
    unsigned pairs = 31;
    coro::duration window{};
};

struct measured {
    std::uint64_t exchanges = 0;
    std::int64_t nanoseconds = 0;
    std::int64_t cpu = 0;
};

std::int64_t own_cpu() {
    timespec at{};
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
    return perf::to_nanoseconds(at);
}

coro::task<> exchange(tcp_stream& with, std::uint64_t number) {
    std::array<std::uint64_t, message_bytes / sizeof number> sent{number};
    auto heard = sent;
    heard[0] = ~number;
    co_await coro::net::write_all(with, std::as_bytes(std::span(sent)));
    co_await coro::net::read_exact(with, std::as_writable_bytes(std::span(heard)));
    if (heard != sent) perf::fail("compare an echo: it is of another message");
}

/// One window for all tasks.
struct window {
    coro::time_point end{};
    std::uint64_t exchanges = 0;
};

coro::task<> use_own(tcp_stream& with, window& of) {
    while (coro::now() < of.end) co_await exchange(with, of.exchanges++);
}
coro::task<> borrow(echo_pool& from, window& of) {
    while (coro::now() < of.end) {
        const auto lease = co_await from.acquire();
        co_await exchange(*lease, of.exchanges++);
    }
}

coro::task<> run_dedicated(std::vector<tcp_stream>& streams, window& of) {
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        for (tcp_stream& each : streams) group.spawn(use_own, std::ref(each), std::ref(of));
        co_return;
    };
    co_await coro::with_task_group(body);
}
coro::task<> run_pooled(echo_pool& pool, unsigned tasks, window& of) {
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        for (unsigned i = 0; i < tasks; ++i) group.spawn(borrow, std::ref(pool), std::ref(of));
        co_return;
    };
    co_await coro::with_task_group(body);
}

coro::task<> compare(const settings& chosen, echo_pool& pool) {
    std::vector<tcp_stream> streams;
    for (unsigned i = 0; i < chosen.connections; ++i)
        streams.push_back(co_await tcp_stream::connect(chosen.server));
    const auto measure = [&](bool pooled, coro::duration span) -> coro::task<measured> {
        window of;
        const auto start = coro::now();
        const std::int64_t cpu = own_cpu();
        of.end = start + span;
        if (pooled) co_await run_pooled(pool, chosen.tasks, of);
        else co_await run_dedicated(streams, of);
        co_return measured{of.exchanges, (coro::now() - start).count(), own_cpu() - cpu};
    };
    for (const bool pooled : {false, true}) co_await measure(pooled, warm_up);
    for (unsigned i = 0; i < chosen.pairs; ++i) {
        std::array<measured, 2> pair{};
        for (unsigned turn = 0; turn < 2; ++turn) {
            const bool pooled = (i + turn) % 2 == 1;
            pair[pooled ? 1 : 0] = co_await measure(pooled, chosen.window);
        }
        std::printf("pair");
        for (const measured& each : pair)
            std::printf(" %llu %lld %lld", static_cast<unsigned long long>(each.exchanges),
                        static_cast<long long>(each.nanoseconds),
                        static_cast<long long>(each.cpu));
        std::printf("\n");
    }
}

coro::task<> with_pool(const settings& chosen) {
    const auto connect = [&chosen]() -> coro::task<tcp_stream> {
        co_return co_await tcp_stream::connect(chosen.server);
    };
    const auto body = [&](echo_pool& pool) -> coro::task<> { co_await compare(chosen, pool); };
    co_await coro::with_connection_pool(
        connect, {.max_size = chosen.connections, .max_waiters = 100'000}, body);
}

}  // namespace

int main(int argc, char** argv) {
    using perf::option;
    constexpr option port{"port", "P", "port of an echo server on 127.0.0.1"};
    constexpr option connections{"connections", "N", "of the pool, and dedicated ones (16)"};
    constexpr option tasks{"tasks", "N", "that share the pool (64)"};
    constexpr option pairs{"pairs", "N", "pairs of windows (31)"};
    constexpr option seconds{"seconds", "S", "length of a window (0.25)"};
    constexpr option poller{"poller", "NAME", "io_uring, epoll or automatic (automatic)"};
    constexpr std::array known{port, connections, tasks, pairs, seconds, poller};
    const perf::arguments given("coro_pool", known, argc, argv);
    settings chosen;
    const auto where = static_cast<std::uint16_t>(given.whole("port", 0, 1, 65535));
    chosen.server = endpoint::loopback(where);
    chosen.connections = static_cast<unsigned>(given.whole("connections", 16, 1, 10'000));
    chosen.tasks = static_cast<unsigned>(given.whole("tasks", 64, 1, 100'000));
    chosen.pairs = static_cast<unsigned>(given.whole("pairs", 31, 1, 10'000));
    const std::chrono::duration<double> window(given.real("seconds", 0.25, 0.001, 3600));
    chosen.window = std::chrono::duration_cast<coro::duration>(window);
    coro::run_options options;
    options.poller = perf::poller_named(given.text("poller", "automatic"));
    options.strict = options.poller != coro::poller_choice::automatic;
    return coro::run_main(with_pool(chosen), options);
}
