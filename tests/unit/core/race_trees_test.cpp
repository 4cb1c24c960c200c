// Random trees of when_any, when_all, timeouts, shields and scopes, from seeds: nothing is left
// over, nothing is lost, and of waits that race at most one takes.
#include <cstdint>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/runtime/with_cleanup.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class race_trees_test : public core_test {};

/// What one tree shares: where its choices come from, and what its leaves took.
struct forest {
    explicit forest(std::uint64_t seed) : random(seed) {}
    int pick(int below) { return static_cast<int>(random() % static_cast<unsigned>(below)); }
    coro::duration span() { return std::chrono::microseconds(pick(3) * 700); }

    std::mt19937_64 random;
    mailbox box;
    int put = 0;
    int taken = 0;
};

coro::task<int> tree(forest& in, int depth);

coro::task<int> leaf(forest& in) {
    switch (in.pick(7)) {
        case 0: co_return 1;
        case 1: throw std::runtime_error("a leaf");
        case 2: co_await coro::yield(); co_return 2;
        case 3: {
            (void)co_await in.box.take();
            ++in.taken;
            co_return 3;
        }
        case 4: {  // swallows a cancellation and goes on
            try {
                co_await coro::sleep_for(in.span());
            } catch (const coro::cancelled&) {
            }
            co_await coro::sleep_for(in.span());
            co_return 4;
        }
        default: co_await coro::sleep_for(in.span()); co_return 5;
    }
}

coro::task<int> race(forest& in, int depth) {
    if (in.pick(2) == 0) {
        auto done = co_await coro::when_any(tree(in, depth), coro::sleep_for(in.span()),
                                            in.box.take());
        if (done.has_value<2>()) ++in.taken;
        if (done.has_value<0>()) co_return done.get<0>();
        co_return 6;
    }
    std::vector<coro::task<int>> branches;
    for (int i = in.pick(3); i >= 0; --i) branches.push_back(tree(in, depth));
    auto done = co_await coro::when_any(std::move(branches));
    co_return done.get(done.index());
}

coro::task<int> together(forest& in, int depth) {
    if (in.pick(2) == 0) {
        auto [a, b, c] = co_await coro::when_all(tree(in, depth), coro::sleep_for(in.span()),
                                                 coro::with_timeout(in.span(), tree(in, depth)));
        co_return a + c;
    }
    std::vector<coro::task<int>> branches;
    for (int i = in.pick(4); i > 0; --i) branches.push_back(tree(in, depth));
    co_return static_cast<int>((co_await coro::when_all(std::move(branches))).size());
}

coro::task<int> grouped(forest& in, int depth) {
    auto body = [&in, depth](coro::task_group& group) -> coro::task<int> {
        auto child = [](forest& of, int below) -> coro::task<> { (void)co_await tree(of, below); };
        for (int i = in.pick(3); i > 0; --i) group.spawn(child, std::ref(in), depth);
        if (in.pick(4) == 0) group.cancel();
        co_return co_await tree(in, depth);
    };
    co_return co_await coro::with_task_group(body);
}

coro::task<int> scoped(forest& in, int depth) {
    auto body = [&in, depth](coro::cancel_scope& scope) -> coro::task<int> {
        if (in.pick(3) == 0) scope.cancel();
        if (in.pick(3) == 0) scope.request_stop();
        co_return co_await tree(in, depth);
    };
    co_return (co_await coro::with_cancel_scope(body)).value_or(7);
}

coro::task<int> tree(forest& in, int depth) {
    if (depth == 0) co_return co_await leaf(in);
    switch (in.pick(8)) {
        case 0:
        case 1: co_return co_await race(in, depth - 1);
        case 2: co_return co_await together(in, depth - 1);
        case 3: co_return co_await grouped(in, depth - 1);
        case 4: co_return co_await scoped(in, depth - 1);
        case 5: {
            auto value = co_await coro::move_on_after(in.span(), tree(in, depth - 1));
            co_return value.value_or(8);
        }
        case 6: {
            auto value = co_await coro::as_result(coro::shield(tree(in, depth - 1), in.span()));
            co_return value ? *value : 9;
        }
        default: co_return co_await coro::with_cleanup(tree(in, depth - 1), tree(in, 0), in.span());
    }
}

/// One tree, with somebody who fills the mailbox while it grows.
coro::task<> grow(std::uint64_t seed) {
    forest in(seed);
    auto feed = [](forest& to) -> coro::task<> {
        for (int i = to.pick(6); i > 0; --i) {
            co_await coro::sleep_for(to.span());
            to.box.put(++to.put);
        }
    };
    auto whole = [](forest& of) -> coro::task<> {
        try {
            (void)co_await coro::move_on_after(10ms, tree(of, 1 + of.pick(4)));
        } catch (const std::exception&) {
        } catch (const coro::cancelled&) {  // a group that cancelled itself and owes a value
        }
    };
    co_await coro::when_all(feed(in), whole(in));
    EXPECT_EQ(in.put, in.taken + static_cast<int>(in.box.size())) << "seed " << seed;
}

TEST_F(race_trees_test, ten_thousand_trees_leave_no_frame_and_lose_no_item) {
    const report_log quiet;
    coro::detail::frame_tracking = false;
    const std::uint64_t seeds = static_cast<std::uint64_t>(scaled(10'000));
    simulate([](std::uint64_t count) -> coro::task<> {
        const auto frames = coro::current_loop_stats().frames;
        for (std::uint64_t seed = 1; seed <= count; ++seed) {
            co_await grow(seed);
            const coro::loop_stats after = coro::current_loop_stats();
            EXPECT_EQ(after.frames, frames) << "seed " << seed;
            EXPECT_EQ(after.timers_armed, 0u) << "seed " << seed;
            if (HasFailure()) co_return;
        }
    }(seeds));
}

/// Direct waits on three mailboxes race while somebody fills them in bursts: every race takes at
/// most one item.
coro::task<> race_takers(std::uint64_t seed) {
    std::mt19937_64 random(seed);
    mailbox boxes[3];
    int put = 0;
    int taken = 0;
    auto feed = [](std::mt19937_64& from, mailbox* to, int& count) -> coro::task<> {
        for (int i = 0; i < 20; ++i) {
            for (auto burst = from() % 4; burst > 0; --burst) to[from() % 3].put(++count);
            co_await coro::sleep_for(std::chrono::milliseconds(from() % 3));
        }
    };
    auto take = [](std::mt19937_64& from, mailbox* all, int& count) -> coro::task<> {
        for (int i = 0; i < 30; ++i) {
            const std::chrono::milliseconds limit(from() % 4);
            auto done = co_await coro::when_any(
                all[0].take(), coro::when_any(all[1].take(), coro::sleep_for(limit)),
                coro::with_timeout(limit, all[2].take()));
            int here = (done.has_value<0>() ? 1 : 0) + (done.has_value<2>() ? 1 : 0);
            if (done.has_value<1>() && done.get<1>().has_value<0>()) ++here;
            EXPECT_LE(here, 1) << "at most one takes";
            count += here;
        }
    };
    co_await coro::when_all(feed(random, boxes, put), take(random, boxes, taken));
    std::size_t left = 0;
    for (const mailbox& box : boxes) left += box.size();
    EXPECT_EQ(static_cast<std::size_t>(put), static_cast<std::size_t>(taken) + left)
        << "seed " << seed;
}

TEST_F(race_trees_test, of_racing_waits_at_most_one_takes) {
    const report_log quiet;  // of deadlines that nobody reads
    simulate([]() -> coro::task<> {
        for (std::uint64_t seed = 1; seed <= static_cast<std::uint64_t>(scaled(1000)); ++seed)
            co_await race_takers(seed);
    }());
}

}  // namespace
}  // namespace coro_test
