// expect: a named one must be std::move'd
#include <coro/coro.hpp>

coro::task<> nothing();
void in_a_fiber() {
    auto named = nothing();
    coro::await(named);
}
