// channel: order, capacity, the end, cancellation, deadlines.
#include <coro/runtime/channel.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/as_result.hpp>
#include <coro/core/when_any.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

static_assert(!std::is_move_constructible_v<channel<int>>);

task<> send_all(channel<box>& to, int from, int until) {
    for (int i = from; i < until; ++i) co_await to.send(boxed(i));
}
task<> receive_all(channel<box>& from, std::vector<int>& into) {
    while (const auto item = co_await from.receive()) into.push_back(**item);
}
task<> receive_one(channel<box>& from, std::vector<int>& into) {
    if (const auto item = co_await from.receive()) into.push_back(**item);
    else into.push_back(-1);
}

std::vector<int> numbers(int count) {
    std::vector<int> all;
    for (int i = 0; i < count; ++i) all.push_back(i);
    return all;
}

class channel_of : public ::testing::TestWithParam<std::size_t> {};

TEST_P(channel_of, carries_everything_in_order) {
    simulate([]() -> task<> {
        channel<box> pipe(GetParam());
        std::vector<int> received;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(receive_all, std::ref(pipe), std::ref(received));
            co_await send_all(pipe, 0, 500);
            pipe.close();
        };
        co_await with_task_group(body);
        EXPECT_EQ(received, numbers(500));
        EXPECT_EQ(pipe.size(), 0U);
        EXPECT_EQ(pipe.capacity(), GetParam());
    });
}

TEST_P(channel_of, holds_as_much_as_it_says_and_blocks_then) {
    simulate([]() -> task<> {
        channel<box> pipe(GetParam());
        const int room = static_cast<int>(GetParam());
        for (int i = 0; i < room; ++i) co_await pipe.send(boxed(i));
        EXPECT_EQ(pipe.size(), GetParam());
        box extra = boxed(room);
        EXPECT_FALSE(pipe.try_send(std::move(extra)));
        EXPECT_FALSE(co_await move_on_after(1ms, pipe.send(std::move(extra))));
        EXPECT_EQ(*extra, room);  // not taken: still the sender's
        for (int i = 0; i < room; ++i) EXPECT_EQ(**pipe.try_receive(), i);
        EXPECT_FALSE(pipe.try_receive());
        EXPECT_FALSE(co_await move_on_after(1ms, pipe.receive()));
    });
}

TEST_P(channel_of, after_close_what_is_left_and_then_the_end) {
    simulate([]() -> task<> {
        channel<box> pipe(GetParam());
        const int room = static_cast<int>(GetParam());
        for (int i = 0; i < room; ++i) co_await pipe.send(boxed(i));
        pipe.close();
        pipe.close();
        EXPECT_TRUE(pipe.is_closed());
        box late = boxed(99);
        EXPECT_FALSE(pipe.try_send(std::move(late)));
        const auto sent = co_await as_result(pipe.send(std::move(late)));
        EXPECT_EQ(sent.error().code(), errc::closed);
        EXPECT_EQ(*late, 99);
        std::vector<int> received;
        co_await receive_all(pipe, received);
        EXPECT_EQ(received, numbers(room));
        EXPECT_FALSE(pipe.try_receive());
    });
}

TEST_P(channel_of, waiting_receivers_get_items_in_the_order_in_which_they_came) {
    simulate([]() -> task<> {
        channel<box> pipe(GetParam());
        std::array<std::vector<int>, 4> got;
        const auto body = [&](task_group& group) -> task<> {
            for (auto& each : got) group.spawn(receive_one, std::ref(pipe), std::ref(each));
            co_await yield();
            for (int i = 0; i < 3; ++i) EXPECT_TRUE(pipe.try_send(boxed(i)));
            pipe.close();
        };
        co_await with_task_group(body);
        EXPECT_EQ(got, (std::array<std::vector<int>, 4>{{{0}, {1}, {2}, {-1}}}));
    });
}

TEST_P(channel_of, waiting_senders_are_granted_in_order_and_close_refuses_the_rest) {
    simulate([]() -> task<> {
        channel<box> pipe(GetParam());
        const int room = static_cast<int>(GetParam());
        std::vector<int> refused;
        const auto sender = [](channel<box>& to, int value, std::vector<int>& back) -> task<> {
            box mine = boxed(value);
            const auto sent = co_await as_result(to.send(std::move(mine)));
            if (sent.has_value()) co_return;
            EXPECT_EQ(sent.error().code(), errc::closed);
            EXPECT_STREQ(sent.error().what(), "send channel: closed while in use");
            back.push_back(*mine);
        };
        const auto body = [&](task_group& group) -> task<> {
            for (int i = 0; i < room + 4; ++i)
                group.spawn(sender, std::ref(pipe), i, std::ref(refused));
            co_await yield();
            for (int i = 0; i < 2; ++i) EXPECT_EQ(**pipe.try_receive(), i);
            EXPECT_EQ(pipe.size(), GetParam());
            pipe.close();
        };
        co_await with_task_group(body);
        EXPECT_EQ(refused, (std::vector{room + 2, room + 3}));
        for (int i = 2; i < room + 2; ++i) EXPECT_EQ(**pipe.try_receive(), i);
    });
}

INSTANTIATE_TEST_SUITE_P(capacities, channel_of, ::testing::Values(0U, 1U, 2U, 7U));

TEST(channel, at_capacity_0_try_send_needs_a_receiver_and_try_receive_a_sender) {
    simulate([]() -> task<> {
        channel<int> meeting(0);
        EXPECT_FALSE(meeting.try_send(1));
        EXPECT_FALSE(meeting.try_receive());
        const auto sender = [](channel<int>& to) -> task<> { co_await to.send(5); };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(sender, std::ref(meeting));
            co_await yield();
            EXPECT_EQ(meeting.size(), 0U);
            EXPECT_EQ(meeting.try_receive(), 5);
        };
        co_await with_task_group(body);
    });
}

TEST(channel, copies_what_is_not_moved) {
    simulate([]() -> task<> {
        channel<std::string> words(2);
        const std::string word = "a word that is too long for the small buffer";
        co_await words.send(word);
        EXPECT_TRUE(words.try_send(word));
        EXPECT_EQ(co_await words.receive(), word);
        EXPECT_EQ(co_await words.receive(), word);
        co_await words.send("made on the spot, and also too long for the buffer");
        EXPECT_EQ((co_await words.receive())->substr(0, 4), "made");
    });
}

TEST(channel, an_operation_may_have_a_name_and_is_awaited_by_it) {
    simulate([]() -> task<> {
        channel<box> pipe(3);
        auto next = pipe.receive();
        co_await pipe.send(boxed(1));
        const auto item = co_await next;
        EXPECT_EQ(**item, 1);
    });
}

TEST(channel, destroys_the_items_that_nobody_received) {
    simulate([]() -> task<> {
        const auto shared = std::make_shared<int>(1);
        {
            channel<std::shared_ptr<int>> pipe(3);
            for (int i = 0; i < 3; ++i) co_await pipe.send(shared);
            EXPECT_TRUE(pipe.try_receive());
            co_await pipe.send(shared);  // the ring has wrapped around
            EXPECT_EQ(shared.use_count(), 4);
        }
        EXPECT_EQ(shared.use_count(), 1);
    });
}

TEST(channel, may_be_destroyed_once_its_waiters_were_let_go) {
    simulate([]() -> task<> {
        auto pipe = std::make_unique<channel<box>>(0U);
        std::vector<int> received;
        const auto body = [&](task_group& group) -> task<> {
            for (int i = 0; i < 2; ++i)
                group.spawn(receive_one, std::ref(*pipe), std::ref(received));
            co_await yield();
            EXPECT_TRUE(pipe->try_send(boxed(1)));
            pipe->close();
            pipe.reset();
        };
        co_await with_task_group(body);
        EXPECT_EQ(received, (std::vector{1, -1}));
    });
}

TEST(channel, cancellation_wins_at_entry_and_takes_nothing) {
    simulate([]() -> task<> {
        channel<box> pipe(2);
        co_await pipe.send(boxed(1));
        box mine = boxed(2);
        int thrown = 0;
        const auto body = [&](task_group& group) -> task<> {
            group.cancel();
            try {
                static_cast<void>(co_await pipe.receive());
            } catch (const cancelled&) {
                ++thrown;
            }
            try {
                co_await pipe.send(std::move(mine));
            } catch (const cancelled&) {
                ++thrown;
            }
        };
        co_await with_task_group(body);
        EXPECT_EQ(thrown, 2);
        EXPECT_EQ(*mine, 2);
        EXPECT_EQ(pipe.size(), 1U);
    });
}

TEST(channel, an_item_that_was_handed_over_survives_a_later_cancellation) {
    simulate([]() -> task<> {
        channel<box> pipe(0);
        std::vector<int> received;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(receive_one, std::ref(pipe), std::ref(received));
            co_await yield();
            EXPECT_TRUE(pipe.try_send(boxed(4)));
            group.cancel();  // too late
        };
        co_await with_task_group(body);
        EXPECT_EQ(received, (std::vector{4}));
    });
}

/// What becomes of with_deadline around receive when the item falls into the very same instant.
task<bool> item_at_the_deadline(bool item_first) {
    channel<box> pipe(1);
    const time_point when = now() + 10ms;
    alarm bell([&] { EXPECT_TRUE(pipe.try_send(boxed(3))); });
    bool taken = false;
    const auto body = [&](task_group& group) -> task<> {
        if (item_first) bell.arm(when);
        else group.spawn(arm_later, std::ref(bell), when);
        try {
            const auto item = co_await with_deadline(when, pipe.receive());
            EXPECT_EQ(**item, 3);
            taken = true;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
        }
        EXPECT_EQ(now(), when);
    };
    co_await with_task_group(body);
    EXPECT_EQ(pipe.size(), taken ? 0U : 1U);
    co_return taken;
}

/// The same for send, when the room falls into the instant.
task<bool> room_at_the_deadline(bool room_first) {
    channel<box> pipe(1);
    EXPECT_TRUE(pipe.try_send(boxed(1)));
    const time_point when = now() + 10ms;
    alarm bell([&] { EXPECT_EQ(**pipe.try_receive(), 1); });
    box mine = boxed(2);
    const auto body = [&](task_group& group) -> task<> {
        if (room_first) bell.arm(when);
        else group.spawn(arm_later, std::ref(bell), when);
        try {
            co_await with_deadline(when, pipe.send(std::move(mine)));
            EXPECT_EQ(mine, nullptr);
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
            EXPECT_EQ(*mine, 2);
        }
    };
    co_await with_task_group(body);
    const auto left = pipe.try_receive();
    EXPECT_EQ(left.has_value(), mine == nullptr);
    co_return left.has_value();
}

TEST(channel, item_and_deadline_in_one_instant_lose_nothing) {
    simulate([]() -> task<> {
        EXPECT_TRUE(co_await item_at_the_deadline(true));
        EXPECT_FALSE(co_await item_at_the_deadline(false));
        EXPECT_TRUE(co_await room_at_the_deadline(true));
        EXPECT_FALSE(co_await room_at_the_deadline(false));
    });
}

TEST(channel, of_two_receives_in_when_any_one_takes) {
    simulate([]() -> task<> {
        channel<box> left(1);
        channel<box> right(1);
        const auto body = [&](task_group& group) -> task<> {
            const auto either = [](channel<box>& one, channel<box>& other) -> task<> {
                const auto got = co_await when_any(one.receive(), other.receive());
                EXPECT_EQ(got.index(), 1U);
                EXPECT_FALSE(got.has_value<0>());
            };
            group.spawn(either, std::ref(left), std::ref(right));
            co_await sleep_for(1ms);
            EXPECT_TRUE(right.try_send(boxed(1)));
            EXPECT_TRUE(left.try_send(boxed(2)));
            EXPECT_EQ(left.size(), 1U);  // nobody waits there any more
        };
        co_await with_task_group(body);
        EXPECT_EQ(**left.try_receive(), 2);
        EXPECT_EQ(right.size(), 0U);
    });
}

TEST(channel, of_two_that_are_ready_when_any_takes_from_the_first) {
    simulate([]() -> task<> {
        channel<box> left(1);
        channel<box> right(1);
        co_await left.send(boxed(1));
        co_await right.send(boxed(2));
        auto got = co_await when_any(left.receive(), right.receive());
        EXPECT_EQ(got.index(), 0U);
        EXPECT_EQ(**got.get<0>(), 1);
        EXPECT_FALSE(got.has_value<1>());
        EXPECT_EQ(right.size(), 1U);
    });
}

TEST(channel, one_that_is_always_ready_starves_nobody) {
    simulate([]() -> task<> {
        channel<int> pipe(1);
        int rounds = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(other, std::cref(rounds), std::ref(seen));
            for (; rounds < 1000; ++rounds) {
                co_await pipe.send(rounds);
                EXPECT_EQ(co_await pipe.receive(), rounds);
            }
        };
        co_await with_task_group(body);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    });
}

TEST(channel, a_dump_names_the_waits) {
    simulate([]() -> task<> {
        channel<box> pipe(0);
        channel<box> full(0);
        std::vector<int> received;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(receive_one, std::ref(pipe), std::ref(received));
            group.spawn(send_all, std::ref(full), 0, 1);
            co_await yield();
            const std::string dump = dump_tasks();
            EXPECT_NE(dump.find("receive from channel"), std::string::npos);
            EXPECT_NE(dump.find("send to channel"), std::string::npos);
            group.cancel();
        };
        co_await with_task_group(body);
    });
}

TEST(channel_death, destruction_while_a_task_waits_aborts) {
    const auto misuse = [] {
        simulate([]() -> task<> {
            auto pipe = std::make_unique<channel<box>>(0U);
            std::vector<int> received;
            const auto body = [&](task_group& group) -> task<> {
                group.spawn(receive_one, std::ref(*pipe), std::ref(received));
                co_await yield();
                pipe.reset();
            };
            co_await with_task_group(body);
        });
    };
    EXPECT_DEATH(misuse(), "a channel was destroyed while a task waits for it");
}

}  // namespace
}  // namespace coro
