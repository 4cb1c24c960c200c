// The table of misuse_place_test.cpp: the parts that servers are made of.
#include "misuse_table.hpp"

namespace misuse_tests {
namespace {

struct ignoring {
    void failed(const std::exception_ptr&) noexcept {}
};
using travelling = coro::net::detached_stream<tcp_stream>;

/// A connection in memory under whose reader something is done to it.
template <typename Do>
task<> under_a_reader(Do what) {
    auto ends = coro::net::memory_stream::pair();
    coro::net::connection near(std::move(ends.first));
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn([](coro::net::connection& from) -> task<> {
            static_cast<void>(co_await from.in.read_line());
        }, std::ref(near));
        co_await coro::yield();
        co_await coro::yield();
        what(near);
    };
    co_await coro::with_task_group(children);
}

const misuse of_servers[] = {
    {"reader_that_is_moved_under_a_task",
     "a buffered_stream was moved while a task waits in its read", says::or_later,
     [] {
         in_task([]() -> task<> {
             co_await under_a_reader([](coro::net::connection& of) {
                 const coro::net::connection moved(std::move(of));
             });
         });
     }},
    {"reader_that_is_replaced_under_a_task",
     "a buffered_stream was replaced while a task waits in its read", says::or_later,
     [] {
         in_task([]() -> task<> {
             co_await under_a_reader([](coro::net::connection& of) {
                 auto ends = coro::net::memory_stream::pair();
                 of = coro::net::connection(std::move(ends.first));
             });
         });
     }},
    {"writer_that_was_moved_from", "a buffered_writer was used that was moved from",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             auto ends = coro::net::memory_stream::pair();
             coro::net::buffered_writer out(ends.first);
             const coro::net::buffered_writer moved(std::move(out));
             co_await out.flush();
         });
     }},
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
    {"guard_that_ends_before_its_watch", "a guardian was destroyed while it watched a stream",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             auto ends = coro::net::memory_stream::pair();
             std::optional<coro::net::guardian> guard(std::in_place, 1s);
             const coro::net::guardian::watch watch = guard->watch_over(ends.first);
             guard.reset();
             co_return;
         });
     }},
    {"guard_on_another_loop", "a guardian was used on another loop than its own",
     says::or_later,
     [] {
         in_another_loop<coro::net::guardian>(
             [](task<> (*touch)(coro::net::guardian&)) -> task<> {
                 coro::net::guardian guard(1s);
                 co_await elsewhere(guard, touch);
             },
             [](coro::net::guardian& guard) -> task<> {
                 auto ends = coro::net::memory_stream::pair();
                 const auto watch = guard.watch_over(ends.first);
                 co_return;
             });
     }},
    {"guarded_twice", "a watch of a guardian has two guarded objects at once", says::or_later,
     [] {
         in_task([]() -> task<> {
             auto ends = coro::net::memory_stream::pair();
             coro::net::guardian guard(1s);
             coro::net::guardian::watch watch = guard.watch_over(ends.first);
             const coro::net::guarded first(watch);
             const coro::net::guarded second(watch);
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
