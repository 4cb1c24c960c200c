// expect: this task takes a reference to an argument that dies when spawn returns
// A lambda is looked into as well.
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
