// The smallest program of a stranger: one task, one child, the answer as the exit status.
#include <cstdio>

#include <coro/coro.hpp>

static coro::task<int> answer() {
    co_return 42;
}

static coro::task<int> program() {
    const int value = co_await answer();
    std::printf("consumer: %d\n", value);
    co_return value - 42;
}

int main() {
    return coro::run_main(program());
}
