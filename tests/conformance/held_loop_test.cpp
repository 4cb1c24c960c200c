// A task that blocks the thread of a real loop is named.
#include <algorithm>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "net_test_support.hpp"

namespace held_loop_program {
namespace {

using namespace std::chrono_literals;

// Not in the library's namespace: its own frames are not named.
int line_of_next_await = 0;

coro::task<> block_the_thread() {
    co_await coro::sleep_for(1ms);
    std::this_thread::sleep_for(60ms);
    line_of_next_await = __LINE__ + 1;
    co_await coro::sleep_for(1ms);
}

}  // namespace
}  // namespace held_loop_program

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using namespace held_loop_program;

class held_loop_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, held_loop_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Texts of reports from any loop.
struct told_texts {
    std::mutex guard;
    std::vector<std::string> all;
};

TEST_P(held_loop_test, a_task_that_blocks_the_thread_of_another_loop_is_named_with_its_line) {
    told_texts told;
    set_report_hook(
        [](const report_event& event, void* to) noexcept {
            auto& texts = *static_cast<told_texts*>(to);
            const std::lock_guard lock(texts.guard);
            texts.all.emplace_back(event.text);
        },
        &told);
    const auto body = [](task_group& group) -> task<> {
        group.spawn({.name = "blocker", .loop = 1}, block_the_thread);
        co_return;
    };
    run_options how = with_loops(2);
    how.hold_limit = 50ms;
    run(with_task_group(body), how);
    set_report_hook(nullptr, nullptr);
    // "before" that line; or "and" it, where the machine had held the loop up and each resumption
    // is measured. The loop that was held up may have been reported too.
    const std::string expected = " held_loop_test.cpp:" + std::to_string(line_of_next_await) + ":";
    EXPECT_TRUE(std::any_of(told.all.begin(), told.all.end(), [&](const std::string& text) {
        return text.starts_with("the loop stood ") &&
               text.find(" in blocker, ") != std::string::npos &&
               text.find(expected) != std::string::npos;
    })) << ::testing::PrintToString(told.all);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
