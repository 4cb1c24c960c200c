// The task may take references and views of the arguments: spawn keeps them until it has ended.
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
