// The library coro::checked_statics: tells the loop when a local static of the program that links
// it is being initialised, so that a fiber that waits there is refused. The linker's --wrap leads
// the program's own calls here; what the C++ runtime has stays what it is. An initialised static
// calls nobody, so that this costs once per static.
#include <coro/core/fiber.hpp>

extern "C" {

// The guards of the C++ ABI, as the program's C++ runtime, or a sanitizer, defines them.
int __real___cxa_guard_acquire(void* guard);
void __real___cxa_guard_release(void* guard);
void __real___cxa_guard_abort(void* guard);

/// 1: the caller initialises the static, and then releases or aborts; 0: it is initialised.
int __wrap___cxa_guard_acquire(void* guard) {
    const int is_ours = __real___cxa_guard_acquire(guard);
    if (is_ours != 0) coro::detail::static_begins();
    return is_ours;
}

void __wrap___cxa_guard_release(void* guard) {
    coro::detail::static_ends();
    __real___cxa_guard_release(guard);
}

void __wrap___cxa_guard_abort(void* guard) {
    coro::detail::static_ends();
    __real___cxa_guard_abort(guard);
}

}
