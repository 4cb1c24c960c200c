// Tasks side by side: a group that waits for all, one whose child fails, and values by when_all.
//
// Run:   build/debug/examples/04_task_groups
// See:   == all of a group
//        fast 1, fast 2, slow 1, fast 3, slow 2, and then: the group has ended
//        == one child fails
//        printer: out of paper; the patient sibling is told, and the error comes out of the group
//        == values
//        6 * 7 = 42
//        It takes half a second and ends with 0.
#include <coro/coro.hpp>
#include <coro/core/when_all.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <stdexcept>

using namespace std::chrono_literals;

coro::task<> count(const char* name, int upto, coro::duration pause, int& total) {
    for (int i = 1; i <= upto; ++i) {
        co_await coro::sleep_for(pause);
        std::printf("%s %d\n", name, i);
        ++total;
    }
}

/// The group cannot end before its children: `total` outlives them, so std::ref is safe. Arguments
/// without std::ref are copied into the task.
coro::task<> all_of_a_group() {
    int total = 0;
    co_await coro::with_task_group([&total](coro::task_group& group) -> coro::task<> {
        group.spawn({.name = "fast"}, count, "fast", 3, 40ms, std::ref(total));
        group.spawn({.name = "slow"}, count, "slow", 2, 100ms, std::ref(total));
        co_return;
    });
    std::printf("the group has ended: %d in all\n", total);
}

coro::task<> printer() {
    co_await coro::sleep_for(20ms);
    throw std::runtime_error("out of paper");
}

coro::task<> patient() {
    try {
        co_await coro::sleep_for(1h);
    } catch (const coro::cancelled&) {
        std::printf("patient: cancelled\n");
        throw;  // always: the group waits for this end
    }
}

coro::task<> one_child_fails() {
    try {
        co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
            group.spawn(patient);
            group.spawn(printer);
            co_return;
        });
    } catch (const std::runtime_error& error) {
        std::printf("the group threw: %s\n", error.what());
    }
}

coro::task<int> after(coro::duration pause, int value) {
    co_await coro::sleep_for(pause);
    co_return value;
}

coro::task<> values() {
    const auto [six, seven] = co_await coro::when_all(after(20ms, 6), after(10ms, 7));
    std::printf("%d * %d = %d\n", six, seven, six * seven);
}

coro::task<> tell() {
    std::printf("== all of a group\n");
    co_await all_of_a_group();
    std::printf("== one child fails\n");
    co_await one_child_fails();
    std::printf("== values\n");
    co_await values();
}

int main() {
    return coro::run_main(tell());
}
