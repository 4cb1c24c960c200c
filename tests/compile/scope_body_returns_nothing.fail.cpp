// expect: this body returns no task: a lambda that waits says -> coro::task<>
#include <coro/coro.hpp>

coro::task<> main_task() {
    co_await coro::with_cancel_scope([](coro::cancel_scope& scope) { scope.cancel(); });
}
