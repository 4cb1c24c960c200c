#include <coro/coro.hpp>

#include <functional>
#include <memory>
#include <string>

coro::task<> by_value(std::string, std::unique_ptr<int>) { co_return; }
coro::task<> by_reference(std::string&) { co_return; }
coro::task<> body(coro::task_group& group) {
    std::string outlives;
    group.spawn(by_value, "copied", std::make_unique<int>(1));
    group.spawn({.name = "child"}, by_reference, std::ref(outlives));
    group.spawn([](std::string copy) -> coro::task<> {
        (void)copy;
        co_return;
    }, outlives);
    group.spawn(by_reference(outlives));
    co_return;
}
