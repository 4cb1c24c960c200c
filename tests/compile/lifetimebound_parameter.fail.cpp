// expect: temporary .*will be destroyed at the end of the full-expression [clang only]
// A parameter that is marked keeps clang's warning for a task that is stored with a temporary.
#include <coro/coro.hpp>

#include <string>

coro::task<> refer(const std::string& name [[clang::lifetimebound]]);
coro::task<> main_task() {
    auto stored = refer("text");
    co_await std::move(stored);
}
