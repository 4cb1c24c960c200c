// expect: (no matching (function|constructor)|private|deleted|use of deleted)
// Scopes open and close with an awaited call; none can be left open by hand.
#include <coro/coro.hpp>

void open() { coro::cancel_scope scope; }
