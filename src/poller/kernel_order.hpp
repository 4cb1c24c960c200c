// Tells ThreadSanitizer about the order that a socket makes: what happened before a send happened
// before the receive of its bytes. It sees system calls of libc, but not what goes through a ring.
#pragma once

// g++ defines __SANITIZE_THREAD__; clang tells through __has_feature.
#if defined(__SANITIZE_THREAD__)
#define CORO_KERNEL_ORDER_SEEN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define CORO_KERNEL_ORDER_SEEN 1
#endif
#endif

#ifdef CORO_KERNEL_ORDER_SEEN
// As in sanitizer/tsan_interface.h.
extern "C" void __tsan_acquire(void* address);
extern "C" void __tsan_release(void* address);
#endif

namespace coro { inline namespace v0 { namespace detail {

#ifdef CORO_KERNEL_ORDER_SEEN

/// One for the process, because nobody here knows which two sockets are the ends of a connection.
inline char kernel_order = 0;
inline void hand_to_kernel() noexcept { __tsan_release(&kernel_order); }
inline void take_from_kernel() noexcept { __tsan_acquire(&kernel_order); }

#else

inline void hand_to_kernel() noexcept {}
inline void take_from_kernel() noexcept {}

#endif

}}}  // namespace coro::v0::detail
