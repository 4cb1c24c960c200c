// expect: a parameter T& needs std::ref\(x\) of an x that outlives the group
#include <coro/coro.hpp>

#include <string>

coro::task<> child(std::string& text);
void spawn(coro::task_group& group, std::string& text) { group.spawn(child, text); }
