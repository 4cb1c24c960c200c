// A debug registry of the buffers that the kernel may still write into.
//
// No sanitizer sees the kernel write: a buffer that is freed while a receive is pending is
// corrupted in silence. Tests switch the registry on. Then each pending receive records its range.
// Code that gives memory back (a frame, a pool, a test's allocator) asks here first. Switched off,
// it costs one read of a bool for each receive.
#pragma once

#include <atomic>
#include <cstddef>

namespace coro { inline namespace v0 { namespace detail {

struct io_slice;

/// Thread-safe: the loops of a process share it.
class inflight_registry {
public:
    [[nodiscard]] static bool enabled() noexcept {
        return enabled_.load(std::memory_order_relaxed);
    }
    /// Switching it off forgets all ranges. Requires: nothing is pending when it is switched on.
    static void enable(bool on) noexcept;

    /// `owner` is the pending operation. An empty range is not recorded.
    static void add(const void* owner, const void* data, std::size_t size) noexcept;
    static void add(const void* owner, const io_slice* slices, std::size_t count) noexcept;
    static void remove(const void* owner) noexcept;

    /// Whether no pending receive may write into [data, data + size).
    [[nodiscard]] static bool check_free(const void* data, std::size_t size) noexcept;
    /// Aborts with a sentence unless check_free().
    static void assert_none_in(const void* data, std::size_t size) noexcept;

    /// How many ranges are recorded.
    [[nodiscard]] static std::size_t count() noexcept;

private:
    static std::atomic<bool> enabled_;
};

}}}  // namespace coro::v0::detail
