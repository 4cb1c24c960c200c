// The table of misuse_place_test.cpp: the parts that servers are made of.
#include "misuse_table.hpp"

namespace misuse_tests {
namespace {

struct ignoring {
    void failed(const std::exception_ptr&) noexcept {}
};
using travelling = coro::net::detached_stream<tcp_stream>;

const misuse of_servers[] = {
    {"companion_on_another_loop",
     "spawn_with onto another loop: a companion stays on the loop of its group", says::or_later,
     [] {
         in_task([]() -> task<> {
             const auto body = [](coro::task_group& group) -> task<> {
                 group.spawn_with<ignoring>({.loop = 1}, nothing());
                 co_return;
             };
             co_await coro::with_task_group(body);
         }, 2);
     }},
    {"guard_on_another_loop", "an idle_guard was used on another loop than its own",
     says::or_later,
     [] {
         in_another_loop<coro::net::idle_guard>(
             [](task<> (*touch)(coro::net::idle_guard&)) -> task<> {
                 coro::net::idle_guard guard(1s);
                 co_await elsewhere(guard, touch);
             },
             [](coro::net::idle_guard& guard) -> task<> {
                 auto ends = coro::net::memory_stream::pair();
                 const auto watch = guard.watch_over(ends.first);
                 co_return;
             });
     }},
    {"detached_stream_after_its_run", "a detached_stream was destroyed outside of run()",
     says::no_task,
     [] {
         static std::optional<travelling> kept;
         in_task([]() -> task<> {
             stream_pair pair;
             co_await pair.open();
             kept.emplace(std::move(*pair.near));
         });
         kept.reset();
     }},
};

INSTANTIATE_TEST_SUITE_P(servers, misuse_place_death_test, testing::ValuesIn(of_servers), name_of);

}  // namespace
}  // namespace misuse_tests
