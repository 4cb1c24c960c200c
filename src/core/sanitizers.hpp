// News for the sanitizers: of stacks, of switches between them, of objects that one thread hands to
// another. The library itself may be built without: whether a sanitizer is there depends on the
// program, and shows when the program is linked. So these functions of theirs are weak here.
#pragma once

#include <cstddef>

extern "C" {
// <sanitizer/common_interface_defs.h>, asan_interface.h, lsan_interface.h
[[gnu::weak, gnu::visibility("default")]] void __sanitizer_start_switch_fiber(
    void** shadow, const void* bottom, std::size_t size);
[[gnu::weak, gnu::visibility("default")]] void __sanitizer_finish_switch_fiber(
    void* shadow, const void** from_bottom, std::size_t* from_size);
[[gnu::weak, gnu::visibility("default")]] void __asan_unpoison_memory_region(
    const volatile void* base, std::size_t bytes);
[[gnu::weak, gnu::visibility("default")]] void __lsan_register_root_region(const void* base,
                                                                          std::size_t bytes);
[[gnu::weak, gnu::visibility("default")]] void __lsan_unregister_root_region(const void* base,
                                                                            std::size_t bytes);
[[gnu::weak, gnu::visibility("default")]] void* __asan_get_current_fake_stack(void);
[[gnu::weak, gnu::visibility("default")]] void* __asan_addr_is_in_fake_stack(
    void* fake_stack, void* address, void** begin, void** end);
// <sanitizer/tsan_interface.h>
[[gnu::weak, gnu::visibility("default")]] void* __tsan_get_current_fiber(void);
[[gnu::weak, gnu::visibility("default")]] void* __tsan_create_fiber(unsigned flags);
[[gnu::weak, gnu::visibility("default")]] void __tsan_destroy_fiber(void* fiber);
[[gnu::weak, gnu::visibility("default")]] void __tsan_switch_to_fiber(void* fiber, unsigned flags);
[[gnu::weak, gnu::visibility("default")]] void __tsan_acquire(void* address);
[[gnu::weak, gnu::visibility("default")]] void __tsan_release(void* address);
}

namespace coro { inline namespace v0 { namespace detail {

inline bool address_sanitizer_is_there() noexcept {
    return &__asan_unpoison_memory_region != nullptr;
}
/// It is there, or another one that follows the stack. The memory sanitizer has the functions of
/// switches, too, and none of those with "asan" in their names.
inline bool stack_switches_are_followed() noexcept {
    return &__sanitizer_start_switch_fiber != nullptr;
}
inline bool thread_sanitizer_is_there() noexcept { return &__tsan_switch_to_fiber != nullptr; }
inline bool switches_are_announced() noexcept {
    return stack_switches_are_followed() || thread_sanitizer_is_there();
}
/// The place that a variable would have on the running stack, if the address sanitizer had not put
/// it elsewhere; otherwise `address`. The stack is a fiber's or the thread's own.
inline const void* address_on_stack(const void* address) noexcept {
    if (&__asan_get_current_fake_stack == nullptr || &__asan_addr_is_in_fake_stack == nullptr)
        return address;
    void* const fake = __asan_get_current_fake_stack();
    if (fake == nullptr) return address;
    const void* const real =
        __asan_addr_is_in_fake_stack(fake, const_cast<void*>(address), nullptr, nullptr);
    return real != nullptr ? real : address;
}
/// The address sanitizer keeps a shadow of the context that is suspended: it must end with the
/// fiber and cannot be used for the next one.
inline bool contexts_are_reused() noexcept { return !stack_switches_are_followed(); }

/// One switch, seen from the stack that is left and comes back.
class stack_switch {
public:
    /// To the stack of a fiber, or back to the one that entered it. `last`: it never comes back.
    /// Always inline: the thread sanitizer counts the calls on each stack, and this one would be
    /// entered on the one stack and left on the other.
    [[gnu::always_inline]] void leave_to(const void* bottom, std::size_t size, void* tsan,
                                         bool last) noexcept {
        if (stack_switches_are_followed())
            __sanitizer_start_switch_fiber(last ? nullptr : &shadow_, bottom, size);
        if (thread_sanitizer_is_there()) __tsan_switch_to_fiber(tsan, 0);
    }
    void back(const void** from_bottom, std::size_t* from_size) noexcept {
        if (stack_switches_are_followed())
            __sanitizer_finish_switch_fiber(shadow_, from_bottom, from_size);
    }

private:
    void* shadow_ = nullptr;
};

/// The thread sanitizer's name of the stack on which this thread is.
inline void* sanitizer_here() noexcept {
    return thread_sanitizer_is_there() ? __tsan_get_current_fiber() : nullptr;
}
inline void sanitizer_unpoison(const void* base, std::size_t bytes) noexcept {
    if (address_sanitizer_is_there()) __asan_unpoison_memory_region(base, bytes);
}
/// Before the first frame of a stack: the fiber that had it before has left by a jump, not by
/// returning.
inline void sanitizer_begin(const void* bottom, std::size_t size, void*& tsan) noexcept {
    sanitizer_unpoison(bottom, size);
    if (thread_sanitizer_is_there() && tsan == nullptr) tsan = __tsan_create_fiber(0);
}
inline void sanitizer_forget(void*& tsan) noexcept {
    if (tsan == nullptr) return;
    __tsan_destroy_fiber(tsan);
    tsan = nullptr;
}
/// Memory that only a suspended fiber refers to is not leaked.
inline void sanitizer_map(const void* base, std::size_t bytes) noexcept {
    if (&__lsan_register_root_region != nullptr) __lsan_register_root_region(base, bytes);
}
inline void sanitizer_unmap(const void* base, std::size_t bytes) noexcept {
    if (&__lsan_unregister_root_region != nullptr) __lsan_unregister_root_region(base, bytes);
    sanitizer_unpoison(base, bytes);
}

// --- The taker of `object` sees all that this thread has written before it gives `object` away.
// The
//     thread sanitizer does not see the atomic words that say so where it did not compile them.
//     Where it did, it must judge them itself: then nothing is said here.
#if defined(__SANITIZE_THREAD__)
inline constexpr bool atomic_words_are_seen = true;
#elif defined(__has_feature)
inline constexpr bool atomic_words_are_seen = __has_feature(thread_sanitizer);
#else
inline constexpr bool atomic_words_are_seen = false;
#endif
inline void sanitizer_gives(void* object) noexcept {
    if constexpr (!atomic_words_are_seen)
        if (thread_sanitizer_is_there()) [[unlikely]] __tsan_release(object);
}
inline void sanitizer_takes(void* object) noexcept {
    if constexpr (!atomic_words_are_seen)
        if (thread_sanitizer_is_there()) [[unlikely]] __tsan_acquire(object);
}

}}}  // namespace coro::v0::detail
