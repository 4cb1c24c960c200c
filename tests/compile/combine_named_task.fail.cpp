// expect: error: static.*a named one must be std::move'd [10 times]
// A named task is used up by the combinator that awaits it: say std::move.
#include <coro/coro.hpp>

#include <stop_token>
#include <string>

using namespace std::chrono_literals;

template <int>
struct value {};
template <int N>
coro::task<value<N>> work();

coro::task<> name_with_timeout() {
    auto named = work<0>();
    static_cast<void>(co_await coro::with_timeout(1s, named));
}

coro::task<> name_with_deadline() {
    auto named = work<1>();
    static_cast<void>(co_await coro::with_deadline(coro::never, named));
}

coro::task<> name_move_on_after() {
    auto named = work<2>();
    static_cast<void>(co_await coro::move_on_after(1s, named));
}

coro::task<> name_shield() {
    auto named = work<3>();
    static_cast<void>(co_await coro::shield(named));
}

coro::task<> name_as_result() {
    auto named = work<4>();
    static_cast<void>(co_await coro::as_result(named));
}

coro::task<> name_until_stop() {
    auto named = work<9>();
    static_cast<void>(co_await coro::until_stop(named));
}

coro::task<> name_with_stop_token() {
    auto named = work<5>();
    static_cast<void>(co_await coro::with_stop_token(std::stop_token(), named));
}

coro::task<> name_with_stop_source() {
    auto named = work<6>();
    static_cast<void>(co_await coro::with_stop_source(std::stop_source(), named));
}

coro::task<> name_when_all() {
    auto named = work<7>();
    static_cast<void>(co_await coro::when_all(named));
}

coro::task<> name_when_any() {
    auto named = work<8>();
    static_cast<void>(co_await coro::when_any(named));
}
