// The hook table: spawn, resume, suspend, end, in order, for every kind of strand.
#include <coro/core/detail/loop.hpp>

#include <string>
#include <type_traits>

#include <coro/core/when_any.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class hooks_test : public core_test {};

static_assert(std::is_trivially_destructible_v<coro::detail::task_hooks>);

std::string& log_of(void* user) { return *static_cast<std::string*>(user); }
void write(void* user, char what, const coro::detail::strand& strand) {
    log_of(user) += what + std::to_string(strand.number) + " ";
}

coro::detail::task_hooks hooks_into(std::string& log) {
    using coro::detail::strand;
    return {
        .spawned = [](detail::strand& strand, void* user) noexcept { write(user, '+', strand); },
        .resumed = [](detail::strand& strand, void* user) noexcept { write(user, '>', strand); },
        .suspended = [](detail::strand& strand, void* user) noexcept { write(user, '<', strand); },
        .ended = [](detail::strand& strand, void* user) noexcept { write(user, '-', strand); },
        .user = &log,
    };
}

std::string trace(coro::task<> main) {
    std::string log;
    const coro::detail::task_hooks hooks = hooks_into(log);
    coro::run(std::move(main), {.poller = coro::poller_choice::simulation, .hooks = &hooks});
    return log;
}

TEST_F(hooks_test, the_root_task_begins_waits_goes_on_and_ends) {
    EXPECT_EQ(trace([]() -> coro::task<> { co_return; }()), "+1 >1 -1 ");
    EXPECT_EQ(trace(sleep_task(1ms)), "+1 >1 <1 >1 -1 ");
}

TEST_F(hooks_test, children_of_a_group) {
    EXPECT_EQ(trace([]() -> coro::task<> {
                  co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
                      group.spawn(sleep_task, 2ms);
                      group.spawn([]() -> coro::task<> { co_return; });
                      co_return;
                  });
              }()),
              "+1 >1 +2 +3 <1 >2 <2 >3 -3 >2 -2 >1 -1 ");
}

TEST_F(hooks_test, branches_are_strands_as_well) {
    EXPECT_EQ(trace([]() -> coro::task<> {
                  (void)co_await coro::when_any(sleep_task(1ms), coro::sleep_for(2ms));
              }()),
              "+1 >1 +2 +3 <1 >2 <2 >3 <3 >2 -2 >3 -3 >1 -1 ");
}

TEST_F(hooks_test, each_member_may_be_missing) {
    const coro::detail::task_hooks none;
    coro::run(sleep_task(1ms), {.poller = coro::poller_choice::simulation, .hooks = &none});
    std::string log;
    coro::detail::task_hooks some = hooks_into(log);
    some.resumed = nullptr;
    some.suspended = nullptr;
    coro::run(sleep_task(1ms), {.poller = coro::poller_choice::simulation, .hooks = &some});
    EXPECT_EQ(log, "+1 -1 ");
}

}  // namespace
}  // namespace coro_test
