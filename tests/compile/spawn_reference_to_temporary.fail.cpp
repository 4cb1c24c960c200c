// expect: this task takes a reference to an argument that dies when spawn returns
// `text` would refer to spawn's copy.
#include <coro/coro.hpp>

#include <string>

coro::task<> child(const std::string& text) {
    (void)text;
    co_return;
}
coro::task<> body(coro::task_group& group) {
    group.spawn(child, std::string("temporary"));
    co_return;
}
