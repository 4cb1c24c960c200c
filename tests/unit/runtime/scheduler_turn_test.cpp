// What one turn of the loop does at most: posts, timers, resumptions, and bytes moved at once. All
// by counts.
#include <gtest/gtest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include <coro/core/task.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "runtime/scheduler.hpp"
#include "support/alone.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

using namespace std::chrono_literals;

std::unique_ptr<scheduler> make_virtual_loop(std::unique_ptr<poller> world) {
    scheduler_options how;
    how.virtual_time = true;
    return std::make_unique<scheduler>(std::move(world), std::move(how));
}

class scheduler_turn : public testing::Test {
protected:
    scheduler_turn() : loop_(make_virtual_loop(std::make_unique<lone_sim_poller>())) {}

    /// One more turn; if it sleeps, for an hour.
    void turn() {
        timer_node end_of_sleep([](timer_node&) noexcept {});
        loop_->arm_timer(end_of_sleep, loop_->read_clock() + 1h);
        loop_->turn();
        loop_->disarm_timer(end_of_sleep);
    }

    std::unique_ptr<scheduler> loop_;
};

// --- posts

/// Notes when it was run, and may post itself once more.
struct numbered_post : posted {
    numbered_post(scheduler& on, std::vector<int>& order, int own) noexcept
        : loop(on), ran(order), number(own) {
        run = [](posted& self) noexcept {
            auto& mine = static_cast<numbered_post&>(self);
            mine.ran.push_back(mine.number);
            if (mine.again == 0) return;
            --mine.again;
            mine.number += 10'000;
            mine.loop.post(mine);
        };
    }
    scheduler& loop;
    std::vector<int>& ran;
    int number;
    int again = 0;
};

class scheduler_posts : public scheduler_turn {
protected:
    void post(int count) {
        for (int i = 0; i < count; ++i) {
            work_.push_back(std::make_unique<numbered_post>(*loop_, ran_, posted_++));
            loop_->post(*work_.back());
        }
    }
    /// How many ran in one more turn.
    std::size_t run_in_a_turn() {
        const std::size_t before = ran_.size();
        turn();
        return ran_.size() - before;
    }
    void expect_in_order(int count) {
        std::vector<int> all;
        for (int i = 0; i < count; ++i) all.push_back(i);
        EXPECT_EQ(ran_, all);
    }

    std::vector<std::unique_ptr<numbered_post>> work_;
    std::vector<int> ran_;
    int posted_ = 0;
};

TEST_F(scheduler_posts, at_most_256_run_in_a_turn_in_order_and_none_is_slept_over) {
    post(1000);
    EXPECT_EQ(run_in_a_turn(), 256u);
    EXPECT_EQ(run_in_a_turn(), 256u);
    EXPECT_EQ(run_in_a_turn(), 256u);
    EXPECT_EQ(loop_->stats().sleeps, 0u) << "the loop slept over posts that it had put off";
    EXPECT_EQ(run_in_a_turn(), 232u);
    EXPECT_EQ(loop_->stats().sleeps, 1u);
    expect_in_order(1000);
    EXPECT_EQ(loop_->stats().posts, 1000u);
    EXPECT_EQ(loop_->stats().posts_put_off, 3u);
}

TEST_F(scheduler_posts, a_turn_that_can_run_all_puts_nothing_off) {
    post(256);
    EXPECT_EQ(run_in_a_turn(), 256u);
    EXPECT_EQ(loop_->stats().sleeps, 1u);
    EXPECT_EQ(loop_->stats().posts_put_off, 0u);
}

TEST_F(scheduler_posts, what_comes_later_runs_behind_what_was_put_off) {
    post(300);
    EXPECT_EQ(run_in_a_turn(), 256u);
    post(300);
    while (ran_.size() < 600) EXPECT_LE(run_in_a_turn(), 256u);
    expect_in_order(600);
}

TEST_F(scheduler_posts, timers_fire_between_them) {
    post(1000);
    turn();
    timer_node due([](timer_node&) noexcept {});
    loop_->arm_timer(due, loop_->read_clock());
    turn();
    EXPECT_FALSE(due.armed());
    EXPECT_EQ(ran_.size(), 512u);
    loop_->run_all_posted();
}

TEST_F(scheduler_posts, work_that_posts_itself_runs_once_a_turn) {
    post(2);
    work_[0]->again = 2;
    EXPECT_EQ(run_in_a_turn(), 2u);
    EXPECT_EQ(run_in_a_turn(), 1u);
    EXPECT_EQ(run_in_a_turn(), 1u);
    EXPECT_EQ(ran_, (std::vector<int>{0, 1, 10'000, 20'000}));
}

TEST_F(scheduler_posts, the_end_of_a_run_runs_what_was_put_off_and_what_came_since) {
    post(700);
    EXPECT_EQ(run_in_a_turn(), 256u);
    post(700);
    loop_->run_all_posted();
    expect_in_order(1400);
}

// --- timers

TEST_F(scheduler_turn, at_most_1024_timers_fire_in_a_turn_and_none_is_slept_over) {
    const time_point due = loop_->read_clock();
    std::vector<std::unique_ptr<timer_node>> timers;
    for (int i = 0; i < 2500; ++i) {
        timers.push_back(std::make_unique<timer_node>([](timer_node&) noexcept {}));
        loop_->arm_timer(*timers.back(), due);
    }
    std::uint64_t fired = 0;
    while (fired < 2500) {
        turn();
        const std::uint64_t now_fired = loop_->stats().timers_fired;
        ASSERT_GT(now_fired, fired) << "a turn has fired none of those that are due";
        EXPECT_LE(now_fired - fired, 1024u);
        fired = now_fired;
        EXPECT_EQ(loop_->stats().sleeps, fired == 2500 ? 1u : 0u)
            << "the loop slept while timers were due";
    }
}

// --- a turn that is late

/// Its clock jumps as the test says. Each wait() takes one batch, and some are left.
class jumping_world final : public forwarding_poller {
public:
    jumping_world() : forwarding_poller(std::make_unique<lone_sim_poller>()) {}

    [[nodiscard]] time_point now() noexcept override { return forwarding_poller::now() + jumped; }
    void wait(time_point, operation_list&) noexcept override {
        ++waits;
        if (batches_left != 0) --batches_left;
    }
    [[nodiscard]] bool has_more() const noexcept override { return batches_left != 0; }

    duration jumped{};
    unsigned waits = 0;
    unsigned batches_left = 0;
};

class scheduler_late_turn : public testing::Test {
protected:
    scheduler_late_turn() {
        auto world = std::make_unique<jumping_world>();
        world_ = world.get();
        loop_ = make_virtual_loop(std::move(world));
    }

    /// How often the poller is asked in a turn that comes so much after a deadline; it has so many
    /// batches then.
    unsigned waits_of_turn(duration late, unsigned batches) {
        timer_node due([](timer_node&) noexcept {});
        loop_->arm_timer(due, loop_->read_clock() + 1ms);
        world_->jumped += 1ms + late;
        world_->batches_left = batches;
        const unsigned before = world_->waits;
        loop_->turn(false);
        EXPECT_FALSE(due.armed());
        return world_->waits - before;
    }

    std::unique_ptr<scheduler> loop_;
    jumping_world* world_ = nullptr;
};

TEST_F(scheduler_late_turn, one_that_is_in_time_asks_the_poller_once) {
    EXPECT_EQ(waits_of_turn(0ms, 3), 1u);
    EXPECT_EQ(waits_of_turn(1ms, 3), 1u);
    loop_->turn(false);  // no deadline at all
    EXPECT_EQ(world_->waits, 3u);
}

TEST_F(scheduler_late_turn, one_that_is_late_asks_until_nothing_is_left) {
    EXPECT_EQ(waits_of_turn(2ms, 0), 2u);
    EXPECT_EQ(waits_of_turn(2ms, 1), 2u);
    EXPECT_EQ(waits_of_turn(2ms, 3), 4u);
    EXPECT_EQ(world_->batches_left, 0u);
}

/// More timers of one tick than a turn fires: the others are late where the turn after it is.
TEST_F(scheduler_late_turn, one_that_has_timers_left_of_a_turn_before_is_late_too) {
    std::vector<std::unique_ptr<timer_node>> timers;
    for (int i = 0; i < 2500; ++i) {
        timers.push_back(std::make_unique<timer_node>([](timer_node&) noexcept {}));
        loop_->arm_timer(*timers.back(), loop_->read_clock() + 50ms);
    }
    world_->jumped += 50ms;
    loop_->turn(false);
    EXPECT_EQ(world_->waits, 1u) << "that one was in time";
    loop_->turn(false);
    EXPECT_EQ(world_->waits, 2u) << "and so was the next";
    const std::uint64_t before = loop_->stats().timers_fired;
    ASSERT_LT(before, 2500u) << "none was left";
    world_->jumped += 1s;
    world_->batches_left = 3;
    loop_->turn(false);
    EXPECT_EQ(world_->waits, 6u) << "three batches before the timers, and the look of the turn";
    EXPECT_GT(loop_->stats().timers_fired, before);
    while (loop_->stats().timers_fired < 2500) loop_->turn(false);
}

/// Wake-ups of other threads may never end; without any socket four looks are enough.
TEST_F(scheduler_late_turn, what_comes_for_ever_does_not_hold_the_timers) {
    EXPECT_EQ(waits_of_turn(2ms, 1'000'000), 5u);
}

// --- resumptions

task<> note_turn(std::map<std::uint64_t, unsigned>& children_of_turn) {
    ++children_of_turn[current_loop_stats().turns];
    co_return;
}

TEST_F(scheduler_turn, at_most_256_strands_are_resumed_in_a_turn) {
    std::map<std::uint64_t, unsigned> children_of_turn;
    const auto main = [&]() -> task<> {
        const auto body = [&](task_group& group) -> task<> {
            for (int i = 0; i < 1000; ++i) group.spawn(note_turn, std::ref(children_of_turn));
            co_return;
        };
        co_await with_task_group(body);
    };
    run(main(), {.poller = poller_choice::simulation});
    std::vector<unsigned> counts;
    for (const auto& [turn, children] : children_of_turn) counts.push_back(children);
    // The first turn has resumed main too.
    EXPECT_EQ(counts, (std::vector<unsigned>{255, 256, 256, 233}));
}

// --- bytes

/// Completes each send at once, as if the kernel had taken all of it.
class open_mouthed_world final : public forwarding_poller {
public:
    open_mouthed_world() : forwarding_poller(std::make_unique<lone_sim_poller>()) {}

    [[nodiscard]] bool submit(operation& op) noexcept override {
        op.result = static_cast<std::int32_t>(op.buffer.size);
        op.phase = operation_phase::completed;
        return true;
    }
};

/// How many sends of `bytes` one resumption has answered at once.
unsigned answered_at_once(std::size_t bytes) {
    const auto loop = make_virtual_loop(std::make_unique<open_mouthed_world>());
    struct nobody final : strand {
        explicit nobody(scheduler& on) : strand(on, on.root_scope()) {}
    } strand(*loop);
    loop->inline_budget = inline_completions;
    std::vector<std::unique_ptr<operation>> sends;
    unsigned answered = 0;
    for (;;) {
        sends.push_back(std::make_unique<operation>(opcode::send));
        sends.back()->buffer.size = bytes;
        if (loop->submit(*sends.back(), strand)) return answered;
        if (++answered == 1000) return answered;
    }
}

/// Completes in each wait() all that was asked for since the one before.
class moving_world final : public forwarding_poller {
public:
    moving_world() : forwarding_poller(std::make_unique<lone_sim_poller>()) {}

    [[nodiscard]] time_point now() noexcept override { return forwarding_poller::now() + jumped; }
    [[nodiscard]] bool submit(operation& op) noexcept override {
        op.phase = operation_phase::submitted;
        asked.push(op);
        return false;
    }
    void wait(time_point, operation_list& completed) noexcept override {
        while (operation* op = asked.pop()) {
            op->result = static_cast<std::int32_t>(op->buffer.size);
            op->phase = operation_phase::completed;
            completed.push(*op);
        }
    }

    operation_list asked;
    duration jumped{};
};

class scheduler_bytes_of_a_turn : public testing::Test {
protected:
    /// A transfer that goes on whenever a part of it has moved.
    struct endless : operation {
        endless(scheduler_bytes_of_a_turn& of, std::size_t bytes)
            : operation(opcode::send), all(of) {
            buffer.size = bytes;
            advance = [](operation& op) noexcept {
                auto& self = static_cast<endless&>(op);
                ++self.parts;
                self.all.moved_ += self.buffer.size;
                if (!self.all.ends_) static_cast<void>(self.all.world_->submit(self));
                return false;  // nobody owns it
            };
            static_cast<void>(all.world_->submit(*this));
        }
        scheduler_bytes_of_a_turn& all;
        unsigned parts = 0;
    };

    scheduler_bytes_of_a_turn() {
        auto world = std::make_unique<moving_world>();
        world_ = world.get();
        loop_ = make_virtual_loop(std::move(world));
    }
    ~scheduler_bytes_of_a_turn() override {
        ends_ = true;
        while (loop_->has_operations() || !world_->asked.empty()) loop_->turn(false);
    }

    void begin(int count, std::size_t bytes) {
        for (int i = 0; i < count; ++i)
            transfers_.push_back(std::make_unique<endless>(*this, bytes));
    }
    /// The bytes whose end one more turn has told.
    std::size_t told_in_a_turn() {
        const std::size_t before = moved_;
        loop_->turn();
        return moved_ - before;
    }

    std::unique_ptr<scheduler> loop_;
    moving_world* world_ = nullptr;
    std::vector<std::unique_ptr<endless>> transfers_;
    std::size_t moved_ = 0;
    bool ends_ = false;
};

TEST_F(scheduler_bytes_of_a_turn, of_many_large_transfers_go_on_for_a_mib_in_turn) {
    constexpr std::size_t part = 256 * 1024;
    begin(16, part);
    for (int i = 0; i < 40; ++i) EXPECT_EQ(told_in_a_turn(), 4 * part);
    // 160 parts: each has had its ten.
    for (const auto& each : transfers_) EXPECT_EQ(each->parts, 10u);
    EXPECT_EQ(loop_->stats().sleeps, 1u) << "after the first turn there was always an end to tell";
}

TEST_F(scheduler_bytes_of_a_turn, the_one_that_reaches_the_bound_is_the_last) {
    begin(100, 100'000);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(told_in_a_turn(), 11u * 100'000);
}

TEST_F(scheduler_bytes_of_a_turn, small_transfers_are_not_held_up) {
    begin(16, 256 * 1024);
    begin(1000, 32 * 1024 - 1);
    for (int i = 0; i < 5; ++i)
        EXPECT_EQ(told_in_a_turn(), 4u * 256 * 1024 + 1000u * (32 * 1024 - 1));
}

/// What came before a deadline wins over it, however much that is.
TEST_F(scheduler_bytes_of_a_turn, a_late_turn_tells_of_all_before_timers_fire) {
    begin(16, 256 * 1024);
    timer_node due([](timer_node&) noexcept {});
    loop_->arm_timer(due, loop_->read_clock() + 1ms);
    world_->jumped += 3ms;
    EXPECT_EQ(told_in_a_turn(), 16u * 256 * 1024 + 4u * 256 * 1024);
    EXPECT_FALSE(due.armed());
}

TEST(scheduler_bytes, a_resumption_is_answered_at_once_32_times_or_for_64_kib) {
    EXPECT_EQ(answered_at_once(0), 32u);
    EXPECT_EQ(answered_at_once(100), 32u);
    EXPECT_EQ(answered_at_once(2048), 16u);
    EXPECT_EQ(answered_at_once(30 * 1024), 2u);
    EXPECT_EQ(answered_at_once(64 * 1024), 1u);
    EXPECT_EQ(answered_at_once(1024 * 1024), 1u);
}

}  // namespace
}}}  // namespace coro::v0::detail
