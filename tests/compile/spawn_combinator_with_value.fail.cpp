// expect: nobody would see what this operation returns: await it, or spawn a task<> [5 times]
#include <coro/coro.hpp>

using namespace std::chrono_literals;

coro::task<int> answer();
coro::task<> nothing();
void spawn_a_value(coro::task_group& group) { group.spawn(coro::with_timeout(1s, answer())); }
void spawn_an_option(coro::task_group& group) { group.spawn(coro::move_on_after(1s, answer())); }
void spawn_values(coro::task_group& group) { group.spawn(coro::when_all(nothing(), answer())); }
void spawn_a_race(coro::task_group& group) { group.spawn(coro::when_any(answer(), nothing())); }
// The error would be lost.
void spawn_a_result(coro::task_group& group) { group.spawn(coro::as_result(nothing())); }
