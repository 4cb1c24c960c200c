// expect: this takes a task, and an operation lives in the await of one
#include <coro/coro.hpp>

coro::task<int> answer();
int main() { return coro::run_main(coro::shield(answer())); }
