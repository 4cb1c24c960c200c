// Every way from one thread to another, at random and as tight as it goes: posts, children and
// their cancellation, waits for what lives on another loop, homes that are settled by a race,
// blocking calls, threads that wait, signals. Short each; the thread sanitizer is who looks.
#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <optional>
#include <stop_token>
#include <thread>
#include <vector>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/coro.hpp>
#include <coro/runtime/blocking.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>
#include <coro/runtime/stop_token.hpp>

#include "conformance/poller_test_support.hpp"
#include "stress/race_support.hpp"
#include "stress/storm_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

class loops_storm : public storm_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, loops_storm, ::testing::ValuesIn(conformance::real_worlds()),
                         conformance::parameter_name);

// --- posts

constexpr unsigned foreigners = 2;
constexpr unsigned senders = storm_loops + foreigners;
constexpr unsigned posts_each = 1500;

/// What came to a loop, by sender; that loop's alone.
struct inbox_of_a_loop {
    std::optional<loop_handle> handle;
    std::array<unsigned, senders> next{};
    bool in_order = true;
};
struct all_inboxes {
    std::array<inbox_of_a_loop, storm_loops> loops;
    std::atomic<unsigned> arrived{0};

    void post(unsigned to, unsigned sender, unsigned number) {
        loops[to].handle->post([this, to, sender, number] {
            inbox_of_a_loop& mine = loops[to];
            mine.in_order = mine.in_order && mine.next[sender]++ == number;
            arrived.fetch_add(1, std::memory_order_relaxed);
        });
    }
};

task<> note_handle(all_inboxes& all) {
    all.loops[loop_index()].handle = loop_handle::of_this_loop();
    co_return;
}
task<> post_to_all(all_inboxes& all) {
    dice random(loop_index() + 1);
    for (unsigned i = 0; i < posts_each; ++i) {
        for (unsigned to = 0; to < storm_loops; ++to) all.post(to, loop_index(), i);
        // So that the others sleep now and then.
        if (random.below(3) == 0) co_await sleep_for(random.up_to(60us));
    }
}
void post_from_outside(all_inboxes& all, unsigned sender) {
    dice random(sender);
    for (unsigned i = 0; i < posts_each; ++i) {
        for (unsigned to = 0; to < storm_loops; ++to) all.post(to, sender, i);
        if (random.below(3) == 0) std::this_thread::sleep_for(random.up_to(60us));
    }
}

TEST_P(loops_storm, posts_come_once_and_in_order) {
    all_inboxes all;
    const auto body = [&]() -> task<> {
        co_await on_each_loop(note_handle, std::ref(all));
        std::vector<std::thread> outside;
        for (unsigned i = 0; i < foreigners; ++i)
            outside.emplace_back(post_from_outside, std::ref(all), storm_loops + i);
        co_await on_each_loop(post_to_all, std::ref(all));
        for (std::thread& one : outside) one.join();
        while (all.arrived.load() != storm_loops * senders * posts_each) co_await sleep_for(1ms);
    };
    storm(body);
    for (const inbox_of_a_loop& one : all.loops) EXPECT_TRUE(one.in_order);
}

// --- children elsewhere

struct census {
    std::atomic<unsigned> begun{0};
    std::atomic<unsigned> ended{0};
};
struct counted_in {
    explicit counted_in(census& in) : of(in) { of.begun.fetch_add(1); }
    counted_in(const counted_in&) = delete;
    counted_in& operator=(const counted_in&) = delete;
    ~counted_in() { of.ended.fetch_add(1); }
    census& of;
};

task<> some_child(census& all, unsigned seed, unsigned depth) {
    const counted_in here(all);
    dice random(seed);
    switch (random.below(5)) {
        case 0: break;
        case 1: co_await yield(); break;
        case 2: co_await sleep_for(random.up_to(80us)); break;
        case 3:
            while (!stop_requested()) co_await sleep_for(20us);
            break;
        default:
            if (depth == 0) break;
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 3; ++i)
                    group.spawn({.loop = i}, some_child, std::ref(all), random.next(), depth - 1);
                group.request_stop();
                co_return;
            };
            co_await with_task_group(in_group);
    }
}

TEST_P(loops_storm, children_end_and_are_cancelled_at_once) {
    census all;
    const auto body = [&]() -> task<> {
        dice random(1);
        for (unsigned round = 0; round < 800; ++round) {
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 6; ++i)
                    group.spawn({.loop = i % storm_loops}, some_child, std::ref(all),
                                random.next(), 2u);
                if (random.below(2) == 0) co_await sleep_for(random.up_to(80us));
                if (random.below(2) == 0) group.request_stop();
                if (random.below(2) == 0) co_await yield();
                group.cancel();
            };
            co_await move_on_after(random.up_to(200us), with_task_group(in_group));
            EXPECT_EQ(all.begun.load(), all.ended.load()) << "a group ended before its children";
        }
    };
    storm(body);
    EXPECT_GT(all.begun.load(), 600u);
}

// --- what lives on another loop

struct shared_things {
    mutex guard;
    int plain = 0;  // a lost update, or a race that the sanitizer sees, if the mutex fails
    std::atomic<int> locked{0};
    semaphore slots{2};
    std::atomic<int> inside{0};
    std::atomic<bool> too_many{false};
    channel<int> numbers{2};
    std::atomic<int> sent{0};
    std::atomic<int> received{0};
    event ping;
};

task<> lock_and_add(shared_things& all, bool lingers) {
    const auto lock = co_await all.guard.lock();
    ++all.plain;
    all.locked.fetch_add(1, std::memory_order_relaxed);
    if (lingers) co_await yield();
}
task<> enter(shared_things& all) {
    const auto permit = co_await all.slots.acquire(1);
    if (all.inside.fetch_add(1) >= 2) all.too_many.store(true);
    all.inside.fetch_sub(1);
}
task<> send_one(shared_things& all) {
    co_await all.numbers.send(1);
    all.sent.fetch_add(1);
}
task<> receive_one(shared_things& all) {
    const auto got = co_await all.numbers.receive();
    if (got) all.received.fetch_add(*got);
}
task<> wait_for_ping(shared_things& all) { co_await all.ping.wait(); }

/// A wait or another, for a while that is often shorter than the way there and back.
task<> wait_impatiently(shared_things& all, dice& random) {
    const duration patience = random.up_to(120us);
    switch (random.below(6)) {
        case 0: co_await move_on_after(patience, lock_and_add(all, random.below(2) == 0)); break;
        case 1: co_await move_on_after(patience, enter(all)); break;
        case 2: co_await move_on_after(patience, send_one(all)); break;
        case 3: co_await move_on_after(patience, receive_one(all)); break;
        case 4: co_await move_on_after(patience, wait_for_ping(all)); break;
        default: all.ping.set(); break;
    }
}
task<> wait_again_and_again(shared_things& all) {
    dice random(loop_index() + 7);
    for (int i = 0; i < 300; ++i) co_await wait_impatiently(all, random);
}
task<> take_what_is_left(shared_things& all) {
    while (all.numbers.try_receive()) all.received.fetch_add(1);
    EXPECT_EQ(all.sent.load(), all.received.load()) << "an item was lost or doubled";
    EXPECT_EQ(all.plain, all.locked.load());
    EXPECT_FALSE(all.guard.is_locked());
    EXPECT_EQ(all.slots.available(), 2u);
    EXPECT_FALSE(all.too_many.load());
    co_return;
}

TEST_P(loops_storm, cancelled_waits_for_what_lives_elsewhere_lose_nothing) {
    const auto body = []() -> task<> {
        shared_things all;
        for (int round = 0; round < 10; ++round) {
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned i = 0; i < 2 * storm_loops; ++i)
                    group.spawn({.loop = i % storm_loops}, wait_again_and_again, std::ref(all));
                co_return;
            };
            co_await with_task_group(in_group);
            all.ping.reset();
        }
        co_await take_what_is_left(all);
    };
    storm(body);
}

/// Two loops give a permit back at once. The task that waits for both destroys the semaphore at
/// once, again and again for some seconds.
task<> drop_permit(semaphore::permit) { co_return; }
task<> destroy_what_came_back(unsigned& rounds) {
    const auto body = [&rounds](task_group& group) -> task<> {
        const time_point end = now() + 2s;
        for (; rounds < 10'000 && (rounds == 0 || now() < end); ++rounds) {
            const auto slots = std::make_unique<semaphore>(2);
            for (unsigned loop = 1; loop <= 2; ++loop)
                group.spawn({.loop = loop}, drop_permit, slots->try_acquire());
            const auto both = co_await slots->acquire(2);
        }
    };
    co_await with_task_group(body);
}

TEST_P(loops_storm, a_semaphore_is_not_touched_once_its_permits_are_back) {
    unsigned rounds = 0;
    const auto body = [&rounds]() -> task<> { co_await destroy_what_came_back(rounds); };
    storm(body);
    EXPECT_GT(rounds, 0u);
}

task<> lock_until_stopped(shared_things& all, std::stop_token until) {
    co_await with_stop_token(until, lock_and_add(all, true));
    co_await with_stop_token(until, enter(all));
    co_await with_stop_token(until, wait_for_ping(all));
}

TEST_P(loops_storm, a_foreign_thread_stops_waits_for_what_lives_elsewhere) {
    const auto body = []() -> task<> {
        shared_things all;
        dice random(3);
        for (int round = 0; round < 300; ++round) {
            std::stop_source source;
            std::thread stopper([source, after = random.up_to(100us)]() mutable {
                std::this_thread::sleep_for(after);
                source.request_stop();
            });
            co_await on_each_loop(lock_until_stopped, std::ref(all), source.get_token());
            stopper.join();
        }
        co_await take_what_is_left(all);
    };
    storm(body);
}

/// Few rounds wait: most take it where they are, against who frees it and who is told of it.
task<> lock_impatiently(shared_things& all) {
    dice random(loop_index() + 23);
    for (int i = 0; i < 1500; ++i) {
        const duration patience = random.below(8) == 0 ? random.up_to(60us) : duration(1h);
        co_await move_on_after(patience, lock_and_add(all, random.below(16) == 0));
        if (random.below(64) == 0) co_await sleep_for(random.up_to(40us));
    }
}

TEST_P(loops_storm, a_lock_that_is_taken_on_every_loop_is_held_by_one) {
    const auto body = []() -> task<> {
        shared_things all;
        const auto in_group = [&](task_group& group) -> task<> {
            for (unsigned i = 0; i < 4 * storm_loops; ++i)
                group.spawn({.loop = i % storm_loops}, lock_impatiently, std::ref(all));
            co_return;
        };
        co_await with_task_group(in_group);
        co_await take_what_is_left(all);
        EXPECT_GT(all.plain, 1500 * static_cast<int>(storm_loops));
    };
    storm(body);
}

// --- one message for the news of several

constexpr unsigned news_each = 3000;

struct bulletin {
    event changed;
    std::array<std::atomic<unsigned>, storm_loops> news{};  // relaxed: the event orders them
};
task<> announce(bulletin& board) {
    if (loop_index() == 0) co_return;
    dice random(loop_index());
    for (unsigned i = 1; i <= news_each; ++i) {
        board.news[loop_index()].store(i, std::memory_order_relaxed);
        board.changed.set();
        if (random.below(8) == 0) co_await yield();
    }
}

/// Whoever is told that a message is under way relies on it: if it stood for news that are not
/// seen when it arrives, the last ones would never be heard of, and this would hang.
TEST_P(loops_storm, no_news_are_missed_that_relied_on_a_message_under_way) {
    const auto body = []() -> task<> {
        for (int round = 0; round < 20; ++round) {
            bulletin board;
            const auto in_group = [&](task_group& group) -> task<> {
                for (unsigned loop = 1; loop < storm_loops; ++loop)
                    group.spawn({.loop = loop}, announce, std::ref(board));
                for (unsigned seen = 0; seen != (storm_loops - 1) * news_each;) {
                    co_await board.changed.wait();
                    board.changed.reset();
                    seen = 0;
                    for (const auto& one : board.news) seen += one.load(std::memory_order_relaxed);
                }
            };
            co_await with_task_group(in_group);
        }
    };
    storm(body);
}

// --- homes

struct homeless {
    mutex guard;
    int plain = 0;
};
task<> lock_each(std::vector<std::unique_ptr<homeless>>& all) {
    for (const auto& one : all) {
        const auto lock = co_await one->guard.lock();
        ++one->plain;
    }
}

TEST_P(loops_storm, the_home_of_what_was_made_outside_is_settled_once) {
    std::vector<std::unique_ptr<homeless>> all;  // outside of run(), so without a home
    for (int i = 0; i < 500; ++i) all.push_back(std::make_unique<homeless>());
    const auto body = [&]() -> task<> { co_await on_each_loop(lock_each, std::ref(all)); };
    storm(body);
    for (const auto& one : all) EXPECT_EQ(one->plain, static_cast<int>(storm_loops));
}

// --- threads

struct call_counts {
    std::atomic<unsigned> executed{0};
    std::atomic<unsigned> answered{0};
};
task<> call_impatiently(std::shared_ptr<call_counts> counts) {
    dice random(loop_index() + 11);
    for (int i = 0; i < 200; ++i) {
        const auto call = [counts, i](duration takes) {
            if (i % 4 == 0) std::this_thread::sleep_for(takes);
            counts->executed.fetch_add(1);
            return i;
        };
        const auto one = [&]() -> task<> {
            const int got = co_await blocking(call, random.up_to(60us));
            EXPECT_EQ(got, i);
            counts->answered.fetch_add(1);
        };
        co_await move_on_after(random.up_to(120us), one());
    }
}

TEST_P(loops_storm, blocking_calls_are_left_behind_at_every_moment) {
    const auto counts = std::make_shared<call_counts>();
    const auto body = [&]() -> task<> {
        for (int round = 0; round < 6; ++round) co_await on_each_loop(call_impatiently, counts);
    };
    storm(body);
    EXPECT_GE(counts->executed.load(), counts->answered.load());
    EXPECT_EQ(counts.use_count(), 1) << "a call was never freed";
}

task<unsigned> nap(duration takes) {
    co_await sleep_for(takes);
    co_return loop_index();
}

TEST_P(loops_storm, threads_wait_for_tasks_while_runs_end) {
    std::atomic<unsigned> answered{0};
    for (unsigned round = 0; round < 60; ++round) {
        std::vector<std::thread> outside;
        std::atomic<int> refused{0};
        const auto body = [&]() -> task<> {
            const loop_handle here = loop_handle::of_this_loop();
            for (unsigned i = 0; i < 2; ++i) {
                outside.emplace_back([&, here, i] {
                    dice random(round * 2 + i);
                    try {
                        for (;;) {
                            EXPECT_EQ(sync_wait(here, nap(random.up_to(50us))), 0u);
                            answered.fetch_add(1);
                        }
                    } catch (const io_error& error) {
                        if (error.code() == errc::closed) refused.fetch_add(1);
                    }
                });
            }
            // The first run stays until one was answered, so that one is for sure.
            while (round == 0 && answered.load() == 0) co_await sleep_for(50us);
            co_await sleep_for(dice(round).up_to(2ms));
        };
        storm(body);
        for (std::thread& one : outside) one.join();
        EXPECT_EQ(refused.load(), 2) << "a thread was left waiting, or told something else";
    }
    EXPECT_GT(answered.load(), 0u);
}

task<> nap_there(duration takes) { co_await sleep_for(takes); }

// --- signals

/// Handlers run on a thread of their own while the run begins, turns and ends. At most two signals
/// a run: the third one would have its default action.
TEST_P(loops_storm, signals_come_at_every_moment_of_a_run) {
    struct sigaction swallowed {};
    struct sigaction before {};
    swallowed.sa_handler = [](int) {};  // a run leaves SIGINT alone where it is ignored
    ASSERT_EQ(::sigaction(SIGINT, &swallowed, &before), 0);
    unsigned interruptions = 0;
    for (unsigned round = 0; round < 150; ++round) {
        dice random(round + 1);
        // The first run and its signals wait for each other, so that one interruption is for sure.
        const bool sure = round == 0;
        std::atomic<bool> begun{false};
        std::thread sender([&random, &begun, sure] {
            while (sure && !begun.load()) std::this_thread::yield();
            for (unsigned i = 0; i < 2; ++i) {
                std::this_thread::sleep_for(random.up_to(2ms));
                ::raise(SIGINT);
            }
        });
        const auto body = [&begun, sure, round]() -> task<> {
            begun.store(true);
            const duration nap_length = sure ? duration(1h) : dice(round).up_to(4ms);
            co_await on_each_loop(nap_there, nap_length);
            co_await yield();  // a cancelled child is none; this is a cancellation point
        };
        run_options how = options(storm_loops);
        how.signals = run_options{}.signals;
        try {
            run(body(), how);
        } catch (const interrupted& why) {
            EXPECT_EQ(why.signal(), SIGINT);
            ++interruptions;
        }
        sender.join();
    }
    ASSERT_EQ(::sigaction(SIGINT, &before, nullptr), 0);
    EXPECT_GT(interruptions, 0u);
    std::printf("%u of 150 runs were interrupted\n", interruptions);
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
