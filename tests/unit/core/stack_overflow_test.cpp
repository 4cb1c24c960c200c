// What a fiber that overflows its stack says, and that its neighbours and other faults are spared.
#include "core/stack_overflow.hpp"

#include <csignal>
#include <cstdlib>
#include <sys/mman.h>
#include <unistd.h>

#include <coro/runtime/await.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using stack_overflow_death_test = core_test;

/// Uses the stack up, `step` bytes at a time.
[[gnu::noinline]] int recurse(int depth, std::size_t step) {
    auto* frame = static_cast<volatile char*>(__builtin_alloca(step));
    frame[0] = static_cast<char>(depth);
    const int below = depth == 0 ? 0 : recurse(depth - 1, step);
    return below + frame[0];
}

void overflow_as(const char* name, std::size_t step) {
    simulate([](const char* called, std::size_t by) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber([] { coro::await(coro::sleep_for(1h)); });  // a neighbour
            group.spawn_fiber({.name = called}, [by] {
                coro::await(coro::yield());
                recurse(1'000'000, by);
            });
            group.spawn_fiber([] { coro::await(coro::sleep_for(1h)); });
            co_return;
        };
        co_await coro::with_task_group(body);
    }(name, step));
}

// The address sanitizer has its own report after ours, and its own way to end.
bool ended_by_the_fault(int status) {
    if (sanitized) return !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV;
}

TEST_F(stack_overflow_death_test, an_overflow_names_the_fiber_its_await_and_its_size) {
    EXPECT_EXIT(overflow_as("deep", 100), ended_by_the_fault,
                "coro: fiber stack overflow in deep, after its await at "
                ".*stack_overflow_test.cpp:[0-9]+: it has 64 KiB; give it more with stack_bytes");
}

TEST_F(stack_overflow_death_test, frames_smaller_than_the_guard_cannot_jump_over_it) {
    EXPECT_EXIT(overflow_as("wide", 50'000), ended_by_the_fault, "fiber stack overflow in wide");
}

TEST_F(stack_overflow_death_test, a_fiber_without_a_name_is_reported_too) {
    EXPECT_EXIT(overflow_as(nullptr, 100), ended_by_the_fault,
                "fiber stack overflow in .unnamed fiber.");
}

/// Touches what nobody may.
void fault_elsewhere() {
    auto* const nowhere = static_cast<volatile int*>(
        ::mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    *nowhere = 1;
}

TEST_F(stack_overflow_death_test, other_faults_go_to_who_handled_them_before) {
    const auto fault = [] {
        std::signal(SIGSEGV, [](int) {
            [[maybe_unused]] const auto n = ::write(2, "the old handler\n", 16);
            std::_Exit(7);
        });
        simulate(coro::fiber(fault_elsewhere));
    };
    EXPECT_EXIT(fault(), testing::ExitedWithCode(7), "the old handler");
}

#if !CORO_TEST_SANITIZED  // their own handlers are in the way of the default action
TEST_F(stack_overflow_death_test, without_a_handler_before_other_faults_have_the_default_action) {
    EXPECT_EXIT(simulate(coro::fiber(fault_elsewhere)), testing::KilledBySignal(SIGSEGV), "");
    EXPECT_EXIT(simulate(coro::fiber([] {
                    std::raise(SIGSEGV);
                    std::_Exit(3);
                })),
                testing::KilledBySignal(SIGSEGV), "");
}
#endif

TEST_F(stack_overflow_death_test, the_handler_goes_with_the_last_loop) {
    struct sigaction before {};
    struct sigaction inside {};
    struct sigaction after {};
    ::sigaction(SIGSEGV, nullptr, &before);
    simulate(coro::fiber([&] { ::sigaction(SIGSEGV, nullptr, &inside); }));
    ::sigaction(SIGSEGV, nullptr, &after);
    EXPECT_NE(inside.sa_sigaction, before.sa_sigaction);
    EXPECT_EQ(after.sa_sigaction, before.sa_sigaction);
}

}  // namespace
}  // namespace coro_test
