// expect: error: static.*coro: this refers to temporaries .*await it there [11 times]
// The same when another combinator is to await it.
#include <coro/coro.hpp>

#include <stop_token>
#include <string>

using namespace std::chrono_literals;

coro::task<> combine_with_timeout(coro::event& e) {
    auto named = coro::with_timeout(1s, e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_with_deadline() {
    auto named = coro::with_deadline(coro::never, coro::sleep_for(1ms));
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_move_on_after(coro::event& e) {
    auto named = coro::move_on_after(1s, e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_shield() {
    auto named = coro::shield(coro::yield());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_as_result(coro::event& e) {
    auto named = coro::as_result(e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_until_stop(coro::event& e) {
    auto named = coro::until_stop(e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_with_stop_token(coro::event& e) {
    auto named = coro::with_stop_token(std::stop_token(), e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_with_stop_source(coro::event& e) {
    auto named = coro::with_stop_source(std::stop_source(), e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_when_all(coro::event& e) {
    auto named = coro::when_all(e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_when_any(coro::event& e) {
    auto named = coro::when_any(e.wait());
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> combine_send(coro::channel<std::string>& c) {
    auto named = c.send(std::string("text"));
    static_cast<void>(co_await coro::shield(named));
}
