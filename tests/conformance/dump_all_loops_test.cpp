// The dump over all loops: from any thread, while a loop stands, and while others ask too.
#include <atomic>
#include <latch>
#include <memory>
#include <new>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "net_test_support.hpp"
#include "runtime/make_poller.hpp"

// Not in the library's namespace: its own frames are not named.
namespace all_loops_program {

using namespace std::chrono_literals;

static coro::task<> park(coro::event& gate, std::atomic<int>& parked) {
    parked.fetch_add(1);
    co_await gate.wait();
}
static coro::task<> step_4(coro::event& gate, std::atomic<int>& parked) {
    co_await park(gate, parked);
}
static coro::task<> step_3(coro::event& gate, std::atomic<int>& parked) {
    co_await step_4(gate, parked);
}
static coro::task<> step_2(coro::event& gate, std::atomic<int>& parked) {
    co_await step_3(gate, parked);
}
static coro::task<> step_1(coro::event& gate, std::atomic<int>& parked) {
    co_await step_2(gate, parked);
}

/// Holds the thread of its loop until it is told to go on.
static coro::task<> hold_the_thread(std::atomic<bool>& holds, std::atomic<bool>& go_on) {
    co_await coro::yield();
    holds = true;
    while (!go_on) std::this_thread::sleep_for(1ms);
}

}  // namespace all_loops_program

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using namespace all_loops_program;

class dump_all_loops_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, dump_all_loops_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);
class dump_of_threads_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, dump_of_threads_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

std::vector<std::string> lines_with(const std::string& text, std::string_view part) {
    std::vector<std::string> lines;
    std::size_t from = 0;
    for (std::size_t end; (end = text.find('\n', from)) != std::string::npos; from = end + 1) {
        std::string line = text.substr(from, end - from);
        if (line.find(part) != std::string::npos) lines.push_back(std::move(line));
    }
    EXPECT_EQ(from, text.size()) << "the last line has no end";
    return lines;
}
bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}
task<> sleep_a_little() { co_await sleep_for(1ms); }

/// Without the number in front, the lines of the places, and the span.
std::string chain_of(std::string line) {
    line.erase(0, line.find(' '));
    const std::size_t since = line.find(" since ");
    const std::size_t after = line.find(" ← ");
    EXPECT_LT(since, after) << line;
    line.erase(since, after - since);
    const std::string_view away = " of another loop";
    const std::size_t at_away = line.find(away);
    if (at_away != std::string::npos) line.erase(at_away, away.size());
    for (std::size_t at = 0; (at = line.find(".cpp:", at)) != std::string::npos;) {
        at += 5;
        const std::size_t end = line.find_first_not_of("0123456789", at);
        line.erase(at, (end == std::string::npos ? line.size() : end) - at);
    }
    return line;
}

TEST_P(dump_all_loops_test, names_each_of_ten_thousand_tasks_with_its_five_frames) {
    constexpr int tasks = sanitized ? 1'000 : 10'000;
    const auto body = [&]() -> task<> {
        event gate;
        std::atomic<int> parked{0};
        const auto spawn_all = [&](task_group& group) -> task<> {
            for (int i = 0; i < tasks; ++i)
                group.spawn({.name = "parked", .loop = static_cast<unsigned>(i) % 2}, step_1,
                            std::ref(gate), std::ref(parked));
            while (parked != tasks) co_await sleep_for(1ms);
            const std::string text = dump_all_loops(1min);
            std::set<std::string> numbers;
            const std::string file = " dump_all_loops_test.cpp:";
            for (const std::string& line : lines_with(text, " parked ")) {
                numbers.insert(line.substr(0, line.find(' ')));
                const std::string expected = " parked" + file + " wait for event" + " ← " +
                                             "all_loops_program::step_4" + file + " ← " +
                                             "all_loops_program::step_3" + file + " ← " +
                                             "all_loops_program::step_2" + file + " ← " +
                                             "all_loops_program::step_1" + file;
                const std::string chain = chain_of(line);
                EXPECT_EQ(chain.substr(0, expected.size()), expected);
                if (chain.substr(0, expected.size()) != expected) break;
            }
            EXPECT_EQ(lines_with(text, " parked ").size(), static_cast<std::size_t>(tasks));
            EXPECT_GE(numbers.size(), static_cast<std::size_t>(tasks) / 2);
            EXPECT_EQ(lines_with(text, "loop 0 of 2, run ").size(), 1u) << text.substr(0, 200);
            EXPECT_EQ(lines_with(text, "loop 1 of 2, run ").size(), 1u);
            EXPECT_EQ(lines_with(text, "counters: turns ").size(), 2u);
            gate.set();
        };
        co_await with_task_group(spawn_all);
    };
    in_loops(2, body());
}

TEST_P(dump_all_loops_test, a_dump_is_no_post_of_the_program) {
    const auto body = []() -> task<> {
        const std::uint64_t before = current_loop_stats().posts;
        std::string text;
        std::atomic<bool> answered{false};
        // Not on the loop's thread, so that the loop is asked by a message.
        std::jthread asker([&] {
            text = dump_all_loops(1min);
            answered = true;
        });
        while (!answered) co_await yield();
        EXPECT_TRUE(contains(text, "counters: turns ")) << text;
        EXPECT_EQ(current_loop_stats().posts, before);
    };
    in_loops(1, body());
}

TEST_P(dump_of_threads_test, a_loop_that_stands_is_named_and_the_others_answer) {
    std::atomic<bool> holds{false};
    std::atomic<bool> go_on{false};
    std::string text;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.name = "holder", .loop = 1}, hold_the_thread, std::ref(holds),
                    std::ref(go_on));
        while (!holds) co_await sleep_for(1ms);
        co_await blocking([&] {
            while (!contains(text, " blocking ")) text = dump_all_loops(50ms);
        });
        go_on = true;
    };
    in_loops(2, with_task_group(body));
    ASSERT_EQ(lines_with(text, "loop 0 of 2, run ").size(), 1u) << text;
    EXPECT_TRUE(contains(text, " blocking ")) << text;
    const std::vector<std::string> stands = lines_with(text, "loop 1 of 2, run ");
    ASSERT_EQ(stands.size(), 1u) << text;
    EXPECT_TRUE(contains(stands[0], " has not turned for ")) << stands[0];
    EXPECT_TRUE(contains(stands[0], "; it last resumed task #1")) << stands[0];
}

TEST_P(dump_of_threads_test, loops_that_ask_each_other_both_answer) {
    std::latch both(2);
    std::vector<std::string> texts(2);
    const auto ask = [&](unsigned place) -> task<> {
        both.arrive_and_wait();
        texts[place] = dump_all_loops(1min);
        co_return;
    };
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.name = "asker", .loop = 0}, std::ref(ask), 0u);
        group.spawn({.name = "asker", .loop = 1}, std::ref(ask), 1u);
        co_return;
    };
    in_loops(2, with_task_group(body));
    for (const std::string& text : texts) {
        EXPECT_EQ(lines_with(text, "counters: turns ").size(), 2u) << text;
        EXPECT_TRUE(contains(text, " asker ")) << text;
    }
}

TEST_P(dump_of_threads_test, threads_ask_while_runs_begin_and_end) {
    std::atomic<bool> over{false};
    std::atomic<int> dumps{0};
    const auto ask = [&] {
        while (!over) {
            const std::string text = dump_all_loops(1min);
            EXPECT_FALSE(contains(text, "did not answer")) << text;
            dumps.fetch_add(1);
        }
    };
    std::vector<std::jthread> askers;
    for (int i = 0; i < 2; ++i) askers.emplace_back(ask);
    std::vector<std::jthread> runners;
    for (int i = 0; i < 2; ++i)
        runners.emplace_back([this] {
            for (int round = 0; round < 10; ++round) in_loops(2, sleep_a_little());
        });
    runners.clear();
    while (dumps < 10) std::this_thread::yield();
    over = true;
}

std::thread::id runs_begin_on;

/// Loop 0 of each run is in the list, and goes again: no other loop can be made.
TEST_P(dump_of_threads_test, threads_ask_while_runs_cannot_begin) {
    const auto begin_in_vain = [this] {
        runs_begin_on = std::this_thread::get_id();
        wrap_poller = [](std::unique_ptr<poller> made) {
            if (std::this_thread::get_id() != runs_begin_on) throw std::bad_alloc();
            return made;
        };
        std::atomic<bool> over{false};
        std::atomic<int> dumps{0};
        std::vector<std::jthread> askers;
        for (int i = 0; i < 2; ++i)
            askers.emplace_back([&] {
                while (!over) {
                    EXPECT_TRUE(contains(dump_all_loops(1min), "loop 3 of 4, run "));
                    dumps.fetch_add(1);
                }
            });
        for (int round = 0; round < 30 || dumps < 30; ++round)
            EXPECT_THROW(in_loops(2, sleep_a_little()), std::bad_alloc);
        over = true;
        askers.clear();
        wrap_poller = nullptr;
    };
    // Loops that are asked first make it long from the look at the list to the post.
    const auto body = [&]() -> task<> { co_await blocking(begin_in_vain); };
    in_loops(4, body());
}

TEST_P(dump_of_threads_test, a_loop_goes_on_while_threads_ask_all_the_time) {
    const auto body = [](task_group& group) -> task<> {
        event gate;
        std::atomic<int> parked{0};
        for (int i = 0; i < 300; ++i) group.spawn(park, std::ref(gate), std::ref(parked));
        std::atomic<bool> over{false};
        std::atomic<int> asked{0};
        std::vector<std::jthread> askers;
        for (int i = 0; i < 3; ++i)
            askers.emplace_back([&] {
                while (!over) {
                    static_cast<void>(dump_all_loops(0ms));
                    asked.fetch_add(1);
                }
            });
        while (asked < 30) co_await yield();
        for (int i = 0; i < 30; ++i) co_await yield();
        over = true;
        gate.set();
        askers.clear();
        while (group.size() != 0) co_await yield();
    };
    in_loops(1, with_task_group(body));
}

struct dump_at_end {
    void operator()(std::string* into) const { *into = dump_tasks(); }
};

TEST_P(dump_all_loops_test, a_child_on_another_loop_has_no_name_when_its_arguments_end) {
    std::string text;
    const auto body = [&](task_group& group) -> task<> {
        const auto child = [](std::unique_ptr<std::string, dump_at_end>) -> task<> { co_return; };
        group.spawn({.name = "called_so", .loop = 1}, child,
                    std::unique_ptr<std::string, dump_at_end>(&text));
        co_return;
    };
    in_loops(2, with_task_group(body));
    EXPECT_EQ(lines_with(text, "#").size(), 1u) << text;
    EXPECT_FALSE(contains(text, "called_so")) << text;
}

TEST_P(dump_of_threads_test, no_run_is_no_text) {
    in_loops(2, sleep_a_little());
    EXPECT_EQ(dump_all_loops(), "");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
