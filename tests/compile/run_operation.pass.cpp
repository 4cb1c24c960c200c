// A combinator of nothing but tasks can be run, waited for from another thread, and spawned.
#include <coro/coro.hpp>

#include <memory>
#include <optional>
#include <stop_token>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;

coro::task<int> answer();
coro::task<int&> reference();
coro::task<std::unique_ptr<int>> owner();
coro::task<> nothing();

int run_them(std::stop_source source) {
    int sum = coro::run(coro::with_timeout(1s, answer()));
    coro::run(coro::with_deadline(coro::never, nothing()));
    int& named = coro::run(coro::with_timeout(1s, reference()), {.strict = true});
    const std::unique_ptr<int> owned = coro::run(coro::shield(owner()));
    const std::optional<int> perhaps = coro::run(coro::move_on_after(1s, answer()));
    if (coro::run(coro::move_on_after(1s, nothing()))) ++sum;
    const coro::result<int> checked = coro::run(coro::as_result(answer()));
    if (coro::run(coro::until_stop(nothing()))) ++sum;
    if (coro::run(coro::with_stop_token(source.get_token(), nothing()))) ++sum;
    coro::run(coro::with_stop_source(source, nothing()));
    const std::tuple<int, std::unique_ptr<int>> both = coro::run(coro::when_all(answer(), owner()));
    auto either = coro::run(coro::when_any(answer(), nothing()));
    std::vector<coro::task<int>> many;
    many.push_back(answer());
    const std::vector<int> all = coro::run(coro::when_all(std::move(many)));
    auto later = coro::with_timeout(1s, answer());
    sum += coro::run(std::move(later));
    return sum + named + *owned + *perhaps + *checked + std::get<0>(both) + either.get<0>() +
           all.front();
}
int run_main_of_them() {
    return coro::run_main(coro::with_timeout(1s, answer())) +
           coro::run_main(coro::with_timeout(1s, nothing()));
}
int wait_for_them(const coro::loop_handle& loop) {
    coro::sync_wait(loop, coro::with_timeout(1s, nothing()));
    return coro::sync_wait(loop, coro::with_timeout(1s, answer()));
}
void spawn_them(coro::task_group& group, std::stop_source source) {
    group.spawn(coro::with_timeout(1s, nothing()));
    group.spawn({.name = "named"}, coro::with_deadline(coro::never, nothing()));
    group.spawn(coro::move_on_after(1s, nothing()));
    group.spawn(coro::shield(nothing()));
    group.spawn(coro::when_all(nothing(), nothing()));
    group.spawn(coro::when_any(nothing(), nothing()));
    group.spawn(coro::until_stop(nothing()));
    group.spawn(coro::with_stop_token(source.get_token(), nothing()));
    group.spawn(coro::with_stop_source(source, nothing()));
    std::vector<coro::task<>> many;
    many.push_back(nothing());
    group.spawn(coro::when_any(std::move(many)));
}
