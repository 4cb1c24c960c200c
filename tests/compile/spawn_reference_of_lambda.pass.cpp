// A lambda may take references to the arguments: spawn keeps them until the child has ended.
#include <coro/coro.hpp>

#include <string>

coro::task<> body(coro::task_group& group) {
    std::string text = "named, but copied";
    group.spawn([](const std::string& copy) -> coro::task<> {
        (void)copy;
        co_return;
    }, text);
    co_return;
}
