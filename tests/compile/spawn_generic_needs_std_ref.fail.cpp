// expect: a parameter T& needs std::ref\(x\) of an x that outlives the group
#include <coro/coro.hpp>

#include <string>

void spawn(coro::task_group& group, std::string& text) {
    group.spawn([](auto& changed) -> coro::task<> {
        changed += "!";
        co_return;
    }, text);
}
