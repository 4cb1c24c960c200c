// expect: this takes a task, or a combinator of nothing but tasks [4 times]
// It refers to a temporary, to another one, or is known by its address; or it has a name.
#include <coro/coro.hpp>

coro::task<int> answer();
void run_a_deadline() { coro::run(coro::with_timeout(std::chrono::seconds(1), coro::yield())); }
void run_a_sleep() { coro::run(coro::sleep_for(std::chrono::seconds(1))); }
void run_a_combination() {
    coro::run(coro::with_timeout(std::chrono::seconds(1), coro::when_all(answer(), answer())));
}
void run_a_name() {
    auto named = coro::when_all(answer(), answer());
    coro::run(named);
}
