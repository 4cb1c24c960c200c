// The idle guard of serve in virtual time: whom it ends, when, and what is reported of it.
#include <array>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <coro/net/exact.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/service/server.hpp>

#include "net/idle_watch.hpp"
#include "support/stalling_poller.hpp"
#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::duration;
using coro::task;
using coro::time_point;
namespace net = coro::net;

class guardian_test : public core_test {};

/// Runs `client(where)` beside a server with that handler, for which a client may be silent from
/// the beginning.
template <typename Handler, typename Client>
task<> beside_server(Handler& handler, coro::serve_options limits, Client& client,
                     net::listen_options options = {}) {
    limits.limits.first_byte = duration::max();
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), options);
    const auto body = [&](coro::task_group& group) -> task<> {
        group.spawn(coro::serve(listener, handler, limits));
        co_await client(listener.local_endpoint());
        group.request_stop();
    };
    co_await coro::with_task_group(body);
}

task<> read_until_end(net::tcp_stream& stream, std::size_t& bytes) {
    std::array<std::byte, 4096> into{};
    while (const std::size_t n = co_await stream.read_some(into)) bytes += n;
}

task<> swallow(net::tcp_stream peer) {
    std::size_t bytes = 0;
    co_await read_until_end(peer, bytes);
}

// --- who is not idle

constexpr std::size_t download = 1 << 20;

/// All bytes are in the buffers at once; the handler waits for the answer of its client.
task<> hand_out(net::tcp_stream peer) {
    const std::vector<std::byte> all(download);
    co_await net::write_all(peer, all);
    std::array<std::byte, 1> thanks{};
    if (co_await peer.read_some(thanks) == 1) co_await net::write_all(peer, thanks);
}

TEST_F(guardian_test, who_reads_a_download_slowly_is_not_idle) {
    std::size_t read = 0;
    bool answered = false;
    const auto client = [&](net::endpoint where) -> task<> {
        net::connect_options small;
        small.stream.receive_buffer_bytes = 8192;
        auto stream = co_await net::tcp_stream::connect(where, small);
        std::array<std::byte, 8192> into{};
        while (read < download) {
            co_await coro::sleep_for(80ms);
            const std::size_t n = co_await stream.read_some(into);
            if (n == 0) co_return;
            read += n;
        }
        co_await net::write_all(stream, std::span(into).first(1));
        answered = co_await stream.read_some(into) == 1;
    };
    net::listen_options large;
    large.accepted.send_buffer_bytes = 2 << 20;
    simulate(beside_server(hand_out, {.limits = {.idle = 1s}}, client, large));
    EXPECT_EQ(read, download);
    EXPECT_TRUE(answered);
}

/// What becomes of a client that sends a byte after each of `pauses`, and then none.
struct sender {
    int sent = 0;
    duration silent{};  ///< from its last byte to the end of the stream
};

task<> send_with_pauses(net::endpoint where, const std::vector<duration>& pauses, sender& of) {
    auto stream = co_await net::tcp_stream::connect(where);
    const std::array<std::byte, 1> byte{};
    for (const duration pause : pauses) {
        co_await coro::sleep_for(pause);
        co_await net::write_all(stream, byte);
        ++of.sent;
    }
    const time_point last = coro::now();
    std::size_t bytes = 0;
    co_await read_until_end(stream, bytes);
    of.silent = coro::now() - last;
}

/// The pauses are 50 to 95 % of the limit, and bytes come at every moment between two looks.
TEST_F(guardian_test, who_only_sends_is_ended_one_limit_after_its_last_byte_and_not_before) {
    constexpr duration limit = 1s;
    for (int percent = 50; percent <= 95; percent += 5) {
        for (const duration first : {0ms, 13ms, 77ms, 124ms, 125ms, 126ms}) {
            std::vector<duration> pauses(12, limit * percent / 100);
            pauses.front() = first;
            sender seen;
            const auto client = [&](net::endpoint where) -> task<> {
                co_await send_with_pauses(where, pauses, seen);
            };
            simulate(beside_server(swallow, {.limits = {.idle = limit}}, client));
            EXPECT_EQ(seen.sent, 12) << percent;
            EXPECT_GE(seen.silent, limit) << percent << " %, first after " << first / 1ms;
            EXPECT_LE(seen.silent, limit + limit / 8 + 2ms) << "one look later at most";
        }
    }
}

TEST_F(guardian_test, who_never_speaks_is_ended_one_limit_after_it_came) {
    for (const duration limit : {duration(3), duration(1ms), duration(60s), duration(24h)}) {
        sender seen;
        const auto client = [&](net::endpoint where) -> task<> {
            co_await send_with_pauses(where, {}, seen);
        };
        simulate(beside_server(swallow, {.limits = {.idle = limit}}, client));
        EXPECT_GE(seen.silent, limit);
        EXPECT_LE(seen.silent, limit + limit / 8 + 2ms);
    }
}

// --- a loop that stood still

task<> echo(net::tcp_stream peer) {
    std::array<std::byte, 64> buffer{};
    while (const std::size_t n = co_await peer.read_some(buffer))
        co_await net::write_all(peer, std::span(buffer).first(n));
}

/// Asks every tenth of a second, `times` times, and counts the answers.
task<> ask(net::endpoint where, int times, int& answers) {
    auto stream = co_await net::tcp_stream::connect(where);
    std::array<std::byte, 1> byte{};
    for (int i = 0; i < times; ++i) {
        co_await coro::sleep_for(100ms);
        co_await net::write_all(stream, byte);
        const std::size_t n = co_await stream.read_some(byte);
        if (n == 0) co_return;
        ++answers;
    }
}

/// Says nothing; `silent` is from the end of a standstill to the end of its stream.
task<> be_silent(net::endpoint where, const time_point& stood_until, duration& silent) {
    auto stream = co_await net::tcp_stream::connect(where);
    std::size_t bytes = 0;
    co_await read_until_end(stream, bytes);
    silent = coro::now() - stood_until;
}

TEST_F(guardian_test, after_a_standstill_everybody_has_a_fresh_span) {
    constexpr duration limit = 1s;
    // The standstills begin at every moment between two looks, and after many of silence.
    for (const duration before : {30ms, 240ms, 512ms, 730ms, 874ms, 876ms, 990ms}) {
        for (const duration still : {1100ms, 3000ms, 60'000ms}) {
            coro::detail::stalling world;
            int answers = 0;
            time_point stood_until{};
            duration silent{};
            const auto client = [&](net::endpoint where) -> task<> {
                const auto body = [&](coro::task_group& group) -> task<> {
                    group.spawn(be_silent, where, std::cref(stood_until), std::ref(silent));
                    for (int i = 0; i < 20; ++i) group.spawn(ask, where, 50, std::ref(answers));
                    co_await coro::sleep_for(before);
                    world.stand_still(still);
                    co_await coro::yield();
                    stood_until = coro::now();
                };
                co_await coro::with_task_group(body);
            };
            simulate(beside_server(echo, {.limits = {.idle = limit}}, client));
            EXPECT_EQ(answers, 20 * 50) << before / 1ms << " ms, " << still / 1ms << " ms";
            EXPECT_GE(silent, limit) << before / 1ms << " ms, " << still / 1ms << " ms";
            EXPECT_LE(silent, limit + limit / 4) << "it is ended all the same";
        }
    }
}

/// Nobody can tell a loop that is always late from one that is stopped again and again. It ends who
/// is silent all the same, and nobody who moves a byte between two looks. Looks are counted, since
/// each of them may be as late as one likes.
TEST_F(guardian_test, a_loop_that_is_late_in_every_turn_ends_who_is_silent) {
    constexpr duration limit = 1s;
    for (const duration late : {400ms, 600ms, 5000ms}) {
        coro::detail::stalling world;
        int answers = 0;
        duration silent{};
        unsigned looks = 0;
        const auto client = [&](net::endpoint where) -> task<> {
            const time_point begun = coro::now();
            const auto body = [&](coro::task_group& group) -> task<> {
                group.spawn(be_silent, where, std::cref(begun), std::ref(silent));
                for (int turn = 0; turn < 10'000 && silent == duration{}; ++turn) {
                    co_await coro::sleep_for(limit / 50);
                    world.stand_still(late);
                }
                EXPECT_NE(silent, duration{}) << "it is never ended";
                looks = world.seen.all_looks;
                group.cancel();
            };
            co_await coro::with_task_group(body);
            // One that asks in each turn is not ended, however late the turns are.
            const auto asking = [&](coro::task_group& group) -> task<> {
                group.spawn(ask, where, 100, std::ref(answers));
                for (int turn = 0; turn < 100; ++turn) {
                    co_await coro::sleep_for(limit / 10);
                    world.stand_still(late);
                }
            };
            co_await coro::with_task_group(asking);
        };
        simulate(beside_server(echo, {.limits = {.idle = limit}}, client));
        EXPECT_GE(silent, limit);
        EXPECT_LE(looks, 17u) << "the first, eight that may be forgiven by one, and eight more";
        EXPECT_EQ(answers, 100) << late / 1ms << " ms";
    }
}

// --- what it costs

TEST_F(guardian_test, looks_at_256_connections_in_a_turn_and_at_the_others_in_the_next) {
    constexpr int clients = 700;
    coro::detail::stalling world;
    const auto client = [&](net::endpoint where) -> task<> {
        const auto body = [&](coro::task_group& group) -> task<> {
            for (int i = 0; i < clients; ++i)
                group.spawn([](net::endpoint to) -> task<> {
                    sender one;
                    co_await send_with_pauses(to, {}, one);
                }, where);
            co_return;
        };
        co_await coro::with_task_group(body);
    };
    simulate(beside_server(swallow, {.limits = {.idle = 8s}}, client));
    EXPECT_EQ(world.seen.most_looks, 256u);
    EXPECT_EQ(world.seen.all_looks, clients * 9u) << "the first only begins, eight find silence";
}

/// A message costs the guard nothing: however many there are, looks are an eighth of a span apart.
TEST_F(guardian_test, a_busy_connection_is_looked_at_eight_times_in_a_span) {
    coro::detail::stalling world;
    int answers = 0;
    const auto client = [&](net::endpoint where) -> task<> {
        co_await ask(where, 100, answers);  // ten seconds and the way of the bytes
    };
    simulate(beside_server(echo, {.limits = {.idle = 4s}}, client));
    EXPECT_EQ(answers, 100);
    EXPECT_EQ(world.seen.all_looks, 20u);
}

// --- what is told

/// Sends without end to a client that reads nothing.
task<> flood(net::tcp_stream peer) {
    const std::vector<std::byte> all(download);
    for (;;) co_await net::write_all(peer, all);
}

TEST_F(guardian_test, the_report_names_the_guard_and_not_what_the_handler_met) {
    const report_log log;
    const auto client = [&](net::endpoint where) -> task<> {
        auto stream = co_await net::tcp_stream::connect(where);
        co_await coro::sleep_for(5s);
    };
    simulate(beside_server(flood, {.limits = {.idle = 1500ms}}, client));
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines.front(), "serve: idle for 1500 ms, ended []");
}

TEST_F(guardian_test, other_errors_of_a_handler_that_was_ended_are_its_own) {
    const report_log log;
    const auto handler = [](net::tcp_stream peer) -> task<> {
        std::size_t bytes = 0;
        co_await read_until_end(peer, bytes);
        throw std::runtime_error("another reason");
    };
    const auto client = [&](net::endpoint where) -> task<> {
        sender seen;
        co_await send_with_pauses(where, {}, seen);
    };
    simulate(beside_server(handler, {.limits = {.idle = 1s}}, client));
    ASSERT_EQ(log.lines.size(), 1u);
    EXPECT_EQ(log.lines.front(), "serve: another reason []");
}

TEST(end_sentence_test, says_the_span_in_its_largest_whole_unit) {
    const auto text = [](duration span) {
        coro::detail::end_sentence made;
        made.add("idle for ").add_span(span).add(", ended");
        return std::string(made.view());
    };
    EXPECT_EQ(text(60s), "idle for 60 s, ended");
    EXPECT_EQ(text(1500ms), "idle for 1500 ms, ended");
    EXPECT_EQ(text(7us), "idle for 7 us, ended");
    EXPECT_EQ(text(duration(1)), "idle for 1 ns, ended");
    EXPECT_EQ(text(0s), "idle for 0 s, ended");
    EXPECT_EQ(text(-1s), "idle for 0 s, ended");
}

}  // namespace
}  // namespace coro_test
