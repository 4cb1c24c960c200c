// expect: coro reports errors and cancellation by exceptions: compile without -fno-exceptions
// flags: -fno-exceptions
#include <coro/base/result.hpp>
