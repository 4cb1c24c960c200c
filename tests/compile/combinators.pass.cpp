// What a combinator owns, or what outlives it, may be stored, returned and combined.
#include <coro/coro.hpp>

#include <stop_token>
#include <string>

using namespace std::chrono_literals;

coro::task<int> work();

// It owns tasks, so a function may return it.
auto bounded() { return coro::with_timeout(10ms, work()); }
auto until() { return coro::with_deadline(coro::never, work()); }
auto perhaps() { return coro::move_on_after(10ms, work()); }
auto safely() { return coro::shield(work()); }
auto checked() { return coro::as_result(work()); }
auto between() { return coro::until_stop(work()); }
auto stopped(std::stop_token token) { return coro::with_stop_token(token, work()); }
auto stopping(std::stop_source source) { return coro::with_stop_source(source, work()); }
auto both() { return coro::when_all(work(), work()); }
auto either() { return coro::when_any(work(), work()); }

coro::task<> main_task(coro::event& e, coro::channel<std::string>& c, std::string text) {
    static_cast<void>(co_await bounded());
    static_cast<void>(co_await until());
    static_cast<void>(co_await perhaps());
    static_cast<void>(co_await safely());
    static_cast<void>(co_await checked());
    static_cast<void>(co_await between());
    static_cast<void>(co_await stopped({}));
    static_cast<void>(co_await stopping({}));
    static_cast<void>(co_await both());
    static_cast<void>(co_await either());
    auto later = coro::with_timeout(10ms, work());
    static_cast<void>(co_await std::move(later));

    // In one expression everything lives.
    co_await coro::with_timeout(1s, e.wait());
    static_cast<void>(co_await coro::as_result(coro::when_all(e.wait(), work())));
    co_await c.send(std::string("text"));
    co_await coro::with_timeout(1s, c.send(std::move(text)));

    // An operation that has a name outlives what refers to it.
    auto named = e.wait();
    static_cast<void>(co_await coro::when_any(named, coro::sleep_for(1s)));
    auto copied = c.send(text);
    co_await copied;
}
