// expect: a handler of serve returns a task<>
#include <coro/coro.hpp>

coro::task<> main_task(coro::net::tcp_listener& listener) {
    co_await coro::serve(listener, [](coro::net::tcp_stream) {});
}
