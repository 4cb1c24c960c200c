// Symbol visibility: the library is built with everything hidden; this marks what is public.
#pragma once

#if !defined(__cpp_exceptions)
#error "coro reports errors and cancellation by exceptions: compile without -fno-exceptions"
#endif

/// Gives a function or class default visibility, also in the static build. So exceptions that one
/// side of a shared-object boundary throws are caught on the other.
#define CORO_EXPORT [[gnu::visibility("default")]]

/// Behind a parameter to which the returned object refers: clang then warns of an object that
/// outlives the argument. g++ has no such attribute.
#if defined(__clang__)
#define CORO_LIFETIMEBOUND [[clang::lifetimebound]]
#else
#define CORO_LIFETIMEBOUND
#endif
