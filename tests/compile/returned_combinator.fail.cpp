// expect: error: returning address of local temporary [11 times] [clang only]
// A function that is no coroutine cannot return one: the operation ends with its body.
#include <coro/coro.hpp>

#include <stop_token>
#include <string>

using namespace std::chrono_literals;

auto return_with_timeout(coro::event& e) {
    return coro::with_timeout(1s, e.wait());
}

auto return_with_deadline() {
    return coro::with_deadline(coro::never, coro::sleep_for(1ms));
}

auto return_move_on_after(coro::event& e) {
    return coro::move_on_after(1s, e.wait());
}

auto return_shield() {
    return coro::shield(coro::yield());
}

auto return_as_result(coro::event& e) {
    return coro::as_result(e.wait());
}

auto return_until_stop(coro::event& e) {
    return coro::until_stop(e.wait());
}

auto return_with_stop_token(coro::event& e) {
    return coro::with_stop_token(std::stop_token(), e.wait());
}

auto return_with_stop_source(coro::event& e) {
    return coro::with_stop_source(std::stop_source(), e.wait());
}

auto return_when_all(coro::event& e) {
    return coro::when_all(e.wait());
}

auto return_when_any(coro::event& e) {
    return coro::when_any(e.wait());
}

auto return_send(coro::channel<std::string>& c) {
    return c.send(std::string("text"));
}
