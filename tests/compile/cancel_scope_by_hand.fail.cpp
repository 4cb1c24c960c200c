// expect: no matching (function|constructor) for .*cancel_scope
// Scopes open and close with an awaited call; none can be left open by hand.
#include <coro/coro.hpp>

void open() { coro::cancel_scope scope; }
