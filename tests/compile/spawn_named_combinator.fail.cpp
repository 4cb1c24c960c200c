// expect: this refers to temporaries of the expression that made it
#include <coro/coro.hpp>

coro::task<> nothing();
void spawn_a_name(coro::task_group& group) {
    auto named = coro::shield(nothing());
    group.spawn(named);
}
