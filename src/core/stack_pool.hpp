// Stacks for fibers: mapped in slabs, each above a guard, taken and given back by one loop.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include <coro/core/detail/loop.hpp>

#include "core/stack_overflow.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// One stack and what is known of the context that is suspended on it.
struct fiber_stack {
    fiber_stack* next = nullptr;  ///< in a list of idle stacks
    std::byte* bottom = nullptr;  ///< the lowest byte that may be touched; the guard is below it
    std::size_t size = 0;
    std::size_t size_class = 0;
    void* context = nullptr;  ///< where to jump to; nullptr: a context must be made first
    void* tsan = nullptr;     ///< what the thread sanitizer knows the stack by
    /// The first frame begins so far below the end, differently from stack to stack. If all began
    /// at the same place of a page, a thousand of them would share a quarter of the cache's sets.
    std::uint16_t shift = 0;
    bool open = false;  ///< mapped for use, not only reserved

    [[nodiscard]] std::byte* top() const noexcept { return bottom + size - shift; }
    [[nodiscard]] std::size_t usable() const noexcept { return size - shift; }
};

/// The stacks of one loop. Idle stacks are used again, the last one first. Up to `warm_bytes` of
/// them keep their pages; the others give them back to the system, and keep the addresses only.
/// Stacks stay mapped until the loop ends.
class stack_pool {
public:
    /// Below each stack so many bytes cannot be touched: a jump over less is caught.
    static constexpr std::size_t guard_bytes = 64 * 1024;
    static constexpr std::size_t smallest = 16 * 1024;
    static constexpr std::size_t size_classes = 15;  ///< powers of two from `smallest`
    static constexpr std::size_t largest = smallest << (size_classes - 1);
    static constexpr std::size_t warm_bytes = std::size_t{8} * 1024 * 1024;

    /// `most`: so many stacks all pools of the process may have at once.
    explicit stack_pool(std::size_t most = stacks_allowed());
    stack_pool(const stack_pool&) = delete;
    stack_pool& operator=(const stack_pool&) = delete;
    ~stack_pool();

    /// A stack of at least `bytes`, of which up to 2 KiB at the beginning are left out (`shift`).
    /// Throws: io_error (invalid_argument beyond `largest`, not_enough_memory).
    fiber_stack& take(std::size_t bytes);
    void give(fiber_stack& stack) noexcept;

    /// Stacks that were ever taken, and how many bytes of them are in memory.
    [[nodiscard]] std::size_t stacks_open() const noexcept { return open_; }
    [[nodiscard]] std::size_t resident_bytes() const;

    /// How many stacks a process may have: the kernel allows so many mappings (vm.max_map_count),
    /// and a stack with its guard is two.
    [[nodiscard]] static std::size_t stacks_allowed() noexcept;

private:
    struct slab {
        std::byte* base = nullptr;
        std::size_t bytes = 0;
        std::unique_ptr<fiber_stack[]> stacks;
        std::size_t count = 0;
    };
    struct idle_stacks {
        fiber_stack* warm = nullptr;
        fiber_stack* cold = nullptr;
        std::size_t in_last_slab = 0;
    };

    void reserve(std::size_t size_class);
    void open(fiber_stack& stack);
    [[noreturn]] static void refuse(int code, std::size_t bytes, std::size_t in_use);

    std::array<idle_stacks, size_classes> idle_{};
    std::vector<slab> slabs_;
    std::size_t warm_ = 0;  ///< bytes of the idle stacks that keep their pages
    std::size_t open_ = 0;
    std::size_t most_;
    overflow_watch watch_;
};

}}}  // namespace coro::v0::detail
