// What waits its turn: tasks that always can go on, and floods of posts, stop nobody else. On real
// loops, by counts.
#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <map>
#include <optional>
#include <thread>
#include <vector>

#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/signal_set.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class turns_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, turns_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

// --- two tasks that always can go on

struct awaited_news {
    bool timer = false;
    bool bytes = false;
    bool signal = false;
    bool too_late = false;  ///< somebody has gone on for so long that they do not come at all
    [[nodiscard]] bool all() const { return timer && bytes && signal; }
};

/// Far more often than the news need: each is there already, or comes within a microsecond.
constexpr long most_yields = 5'000'000;

task<> yield_until_all_came(awaited_news& came) {
    long count = 0;
    for (; !came.all() && count < most_yields; ++count) co_await yield();
    if (count == most_yields) came.too_late = true;
}
task<> wait_for_timer(awaited_news& came) {
    co_await sleep_for(1us);
    came.timer = true;
}
task<> wait_for_bytes(net::tcp_stream& from, awaited_news& came) {
    std::array<std::byte, 16> into{};
    const std::size_t count = co_await from.read_some(mutable_bytes(into));
    came.bytes = count != 0;
}
task<> wait_for_signal(signal_set& signals, awaited_news& came) {
    const int number = co_await signals.next();
    came.signal = number == SIGUSR1;
}

TEST_P(turns_test, two_that_always_can_go_on_starve_neither_timers_nor_bytes_nor_signals) {
    awaited_news came;
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        signal_set signals{SIGUSR1};
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(wait_for_bytes, std::ref(pair.near), std::ref(came));
            group.spawn(wait_for_signal, std::ref(signals), std::ref(came));
            co_await sleep_for(1ms);  // now they wait
            group.spawn(yield_until_all_came, std::ref(came));
            group.spawn(yield_until_all_came, std::ref(came));
            group.spawn(wait_for_timer, std::ref(came));
            static_cast<void>(std::raise(SIGUSR1));
            co_await say(pair.far, "news");
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
    EXPECT_FALSE(came.too_late) << "timer " << came.timer << ", bytes " << came.bytes
                                << ", signal " << came.signal;
}

// --- a flood of posts

/// In which turn of its loop each post ran.
struct flood {
    std::vector<int> order;
    std::map<std::uint64_t, unsigned> posts_of_turn;

    void note(int number) {
        order.push_back(number);
        ++posts_of_turn[current_loop_stats().turns];
    }
    void expect_all_in_bounds(int count) const {
        EXPECT_EQ(order.size(), static_cast<std::size_t>(count));
        EXPECT_TRUE(std::is_sorted(order.begin(), order.end()));
        for (const auto& [turn, posts] : posts_of_turn)
            EXPECT_LE(posts, 256u) << "in turn " << turn;
    }
};

constexpr int flood_size = 2000;

void post_flood(const loop_handle& to, flood& notes) {
    for (int i = 0; i < flood_size; ++i) to.post([&notes, i] { notes.note(i); });
}

/// Holds its loop until all has been posted to it, so that one turn finds everything.
void hold_until(const std::atomic<bool>& posted) {
    while (!posted.load(std::memory_order_acquire)) std::this_thread::yield();
}

TEST_P(turns_test, a_flood_of_posts_of_a_thread_is_spread_over_turns) {
    flood notes;
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        std::atomic<bool> posted{false};
        event all;
        std::thread other([&] {
            post_flood(here, notes);
            here.post([&all] { all.set(); });
            posted.store(true, std::memory_order_release);
        });
        hold_until(posted);
        other.join();
        co_await all.wait();  // nobody is ready meanwhile: a loop could sleep over the rest
        EXPECT_EQ(current_loop_stats().posts, std::uint64_t{flood_size} + 1);
        EXPECT_EQ(current_loop_stats().posts_put_off, 7u);
    };
    in_loops(1, body());
    notes.expect_all_in_bounds(flood_size);
    EXPECT_EQ(notes.posts_of_turn.size(), 8u);
}

task<> flood_from_here(const loop_handle& to, flood& notes, std::atomic<bool>& posted) {
    post_flood(to, notes);
    posted.store(true, std::memory_order_release);
    co_return;
}

TEST_P(turns_test, a_flood_of_posts_of_another_loop_is_spread_over_turns_and_slept_over_by_none) {
    flood notes;
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        std::atomic<bool> posted{false};
        event all;
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, flood_from_here, std::cref(here), std::ref(notes),
                        std::ref(posted));
            hold_until(posted);
            here.post([&all] { all.set(); });
            co_await all.wait();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    notes.expect_all_in_bounds(flood_size);
}

task<> hold_and_end(std::atomic<bool>& holds, const std::atomic<bool>& posted) {
    holds.store(true, std::memory_order_release);
    hold_until(posted);
    co_return;
}

/// On each of the two loops; the one that main runs on, and the other one.
TEST_P(turns_test, the_end_of_a_run_calls_every_post_of_a_flood) {
    std::array<flood, 2> notes;
    const auto body = [&]() -> task<> {
        const loop_handle here = loop_handle::of_this_loop();
        std::optional<loop_handle> there;
        event known;
        std::atomic<bool> holds{false};
        std::atomic<bool> posted{false};
        const auto tell = [&]() -> task<> {
            there = loop_handle::of_this_loop();
            co_return;
        };
        const auto find_it = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, std::ref(tell));
            co_return;
        };
        co_await with_task_group(find_it);
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, hold_and_end, std::ref(holds), std::cref(posted));
            hold_until(holds);
            post_flood(*there, notes[1]);
            post_flood(here, notes[0]);
            posted.store(true, std::memory_order_release);
            co_return;
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    for (const flood& each : notes) {
        EXPECT_EQ(each.order.size(), static_cast<std::size_t>(flood_size));
        EXPECT_TRUE(std::is_sorted(each.order.begin(), each.order.end()));
    }
}

// --- large transfers

constexpr std::size_t large = 32 * 1024 * 1024;
/// A turn moves two requests of a connection at most, and another one that it begins.
constexpr std::size_t most_of_a_turn = 4 * 256 * 1024;

/// Reads on another loop, as fast as it comes, until the end of the stream.
task<> drain(const net::endpoint& from, std::size_t& drained) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(from);
    std::vector<std::byte> into(1024 * 1024);
    while (const std::size_t count = co_await stream.read_some(mutable_bytes(into)))
        drained += count;
}

/// Runs `write` with a stream that somebody drains, and counts the turns that it took.
template <typename Write>
task<std::uint64_t> turns_of(Write& write) {
    net::tcp_listener listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    std::size_t drained = 0;
    std::uint64_t turns = 0;
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn({.loop = 1}, drain, std::cref(where), std::ref(drained));
        net::tcp_stream stream = co_await listener.accept();
        const std::uint64_t before = current_loop_stats().turns;
        co_await write(stream);
        turns = current_loop_stats().turns - before;
    };
    co_await with_task_group(in_group);
    EXPECT_EQ(drained, large);
    co_return turns;
}

TEST_P(turns_test, a_large_write_leaves_turns_to_everybody_else) {
    const std::vector<std::byte> bytes(large);
    const auto write = [&](net::tcp_stream& to) -> task<> {
        const std::uint64_t sends = current_loop_stats().send_calls;
        co_await net::write_all(to, bytes);
        EXPECT_GE(current_loop_stats().send_calls - sends, large / (256 * 1024));
    };
    const auto body = [&]() -> task<> {
        const std::uint64_t turns = co_await turns_of(write);
        EXPECT_GE(turns, large / most_of_a_turn);
    };
    in_loops(2, body());
}

TEST_P(turns_test, what_a_writer_has_collected_leaves_turns_to_everybody_else) {
    const std::vector<std::byte> bytes(1024 * 1024);
    const auto write = [&](net::tcp_stream& to) -> task<> {
        net::buffered_writer out(to, {.limit = large + 1});
        for (std::size_t i = 0; i < large / bytes.size(); ++i) co_await out.write(bytes);
        co_await out.flush();
    };
    const auto body = [&]() -> task<> {
        const std::uint64_t turns = co_await turns_of(write);
        EXPECT_GE(turns, large / most_of_a_turn);
    };
    in_loops(2, body());
}

TEST_P(turns_test, a_write_that_is_larger_than_its_writer_leaves_turns_to_everybody_else) {
    const std::vector<std::byte> bytes(large);
    const auto write = [&](net::tcp_stream& to) -> task<> {
        net::buffered_writer out(to);
        co_await out.write(bytes);
        co_await out.flush();
    };
    const auto body = [&]() -> task<> {
        const std::uint64_t turns = co_await turns_of(write);
        EXPECT_GE(turns, large / most_of_a_turn);
    };
    in_loops(2, body());
}

// --- large leases

constexpr std::size_t senders = 24;
constexpr std::size_t sent_by_each = 1024 * 1024;

task<> send_and_end(const net::endpoint& to, const std::vector<std::byte>& bytes) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(to);
    co_await net::write_all(stream, bytes);
}

/// Gives up again and again, also while a lease that has come waits for its turn.
task<> read_impatiently(net::tcp_stream stream, std::size_t& got, unsigned seed) {
    for (;; seed = seed * 1664525u + 1013904223u) {
        const auto patience = std::chrono::microseconds((seed >> 8) % 200);
        const auto lease = co_await move_on_after(patience, stream.read_leased());
        if (!lease.has_value()) continue;
        if (lease->empty()) co_return;
        got += lease->size();
    }
}

TEST_P(turns_test, leases_that_wait_for_the_next_turn_lose_nothing_when_their_tasks_give_up) {
    const std::vector<std::byte> bytes(sent_by_each);
    std::size_t got = 0;
    const auto body = [&]() -> task<> {
        net::tcp_listener listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < senders; ++i)
                group.spawn({.loop = 1}, send_and_end, std::cref(where), std::cref(bytes));
            for (unsigned i = 0; i < senders; ++i)
                group.spawn(read_impatiently, co_await listener.accept(), std::ref(got), i);
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(got, senders * sent_by_each);
        EXPECT_EQ(current_loop_stats().leases, 0u);
    };
    in_loops(2, body());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
