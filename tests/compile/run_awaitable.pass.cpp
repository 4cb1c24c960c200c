// What can be awaited can be run, and a callable that can only be moved can be handed over.
#include <coro/coro.hpp>

#include <chrono>
#include <memory>
#include <tuple>

using namespace std::chrono_literals;

coro::task<int> answer() { co_return 42; }
coro::task<> nothing() { co_return; }

int run_it(const coro::loop_handle& loop) {
    int sum = coro::run(coro::with_timeout(1s, answer()));
    const std::tuple<int, int> both = coro::run(coro::when_all(answer(), answer()));
    sum += std::get<0>(both);
    coro::run(coro::sleep_for(1ms), {.poller = coro::poller_choice::simulation});
    coro::run(coro::shield(nothing()));
    if (coro::sync_wait(loop, coro::move_on_after(1s, nothing()))) ++sum;
    return sum + coro::run_main(coro::with_timeout(1s, answer())) +
           coro::run_main(coro::with_timeout(1s, nothing()));
}
coro::task<int> move_it(std::unique_ptr<int> owned) {
    auto work = [mine = std::move(owned)] { return *mine; };
    auto more = [mine = std::make_unique<int>(1)](coro::task_group&) -> coro::task<> {
        (void)mine;
        co_return;
    };
    co_await coro::with_task_group(coro::moved(more));
    co_return co_await coro::blocking(coro::moved(work));
}
