// What the sanitizers are told of stacks and of switches between them; nothing in other builds.
#pragma once

#include <cstddef>

#include "core/stack_pool.hpp"

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define CORO_SWITCH_ASAN 1
#endif
#if __has_feature(thread_sanitizer)
#define CORO_SWITCH_TSAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define CORO_SWITCH_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define CORO_SWITCH_TSAN 1
#endif

#if defined(CORO_SWITCH_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#include <sanitizer/lsan_interface.h>
#elif defined(CORO_SWITCH_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace coro::inline v0::detail {

#if defined(CORO_SWITCH_ASAN)

/// The address sanitizer keeps a shadow of the context that is suspended: it must end with the
/// fiber and cannot be used for the next one.
inline constexpr bool contexts_are_reused = false;
inline constexpr bool switches_are_announced = true;

/// One switch, seen from the stack that is left and comes back.
class stack_switch {
public:
    /// To the stack of a fiber, or back to the one that entered it. `last`: it never comes back.
    void leave_to(const void* bottom, std::size_t size, void* /*tsan*/, bool last) noexcept {
        __sanitizer_start_switch_fiber(last ? nullptr : &shadow_, bottom, size);
    }
    void back(const void** from_bottom, std::size_t* from_size) noexcept {
        __sanitizer_finish_switch_fiber(shadow_, from_bottom, from_size);
    }

private:
    void* shadow_ = nullptr;
};
inline void* sanitizer_here() noexcept { return nullptr; }
/// Before the first frame: whoever had the stack before has left by a jump, not by returning.
inline void sanitizer_begin(fiber_stack& stack) noexcept {
    __asan_unpoison_memory_region(stack.bottom, stack.size);
}
inline void sanitizer_forget(fiber_stack&) noexcept {}
/// What only a suspended fiber refers to is not leaked.
inline void sanitizer_map(const void* base, std::size_t bytes) noexcept {
    __lsan_register_root_region(base, bytes);
}
inline void sanitizer_unmap(const void* base, std::size_t bytes) noexcept {
    __lsan_unregister_root_region(base, bytes);
    __asan_unpoison_memory_region(base, bytes);
}

#else

inline constexpr bool contexts_are_reused = true;
#if defined(CORO_SWITCH_TSAN)
inline constexpr bool switches_are_announced = true;
#else
inline constexpr bool switches_are_announced = false;
#endif

class stack_switch {
public:
    void leave_to(const void*, std::size_t, [[maybe_unused]] void* tsan, bool) noexcept {
#if defined(CORO_SWITCH_TSAN)
        __tsan_switch_to_fiber(tsan, 0);
#endif
    }
    void back(const void**, std::size_t*) noexcept {}
};

inline void sanitizer_map(const void*, std::size_t) noexcept {}
inline void sanitizer_unmap(const void*, std::size_t) noexcept {}

#if defined(CORO_SWITCH_TSAN)
inline void* sanitizer_here() noexcept { return __tsan_get_current_fiber(); }
inline void sanitizer_begin(fiber_stack& stack) noexcept {
    if (stack.tsan == nullptr) stack.tsan = __tsan_create_fiber(0);
}
inline void sanitizer_forget(fiber_stack& stack) noexcept {
    if (stack.tsan != nullptr) __tsan_destroy_fiber(stack.tsan);
    stack.tsan = nullptr;
}
#else
inline void* sanitizer_here() noexcept { return nullptr; }
inline void sanitizer_begin(fiber_stack&) noexcept {}
inline void sanitizer_forget(fiber_stack&) noexcept {}
#endif

#endif

}  // namespace coro::inline v0::detail
