// expect: this takes a task, or a combinator of nothing but tasks
#include <coro/coro.hpp>

int main() { return coro::run_main(coro::shield(coro::yield())); }
