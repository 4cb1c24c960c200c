// thread_probe: asks the thread of a loop, by a signal, in which task it is and on what stack.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>

#include <coro/base/time.hpp>

#include "runtime/signals.hpp"
#include "runtime/thread.hpp"

namespace coro { inline namespace v0 { namespace detail {

class scheduler;
class world;

/// What the thread of a loop was doing when it was asked.
struct thread_picture {
    enum class answer : std::uint8_t {
        none,       ///< no answer came in time
        not_asked,  ///< the signal could not be sent
        went_on,    ///< the turn in question had ended
        stands,
    };
    answer kind = answer::none;
    std::array<void*, 40> frames{};  ///< return addresses, the innermost first
    std::size_t first = 0;  ///< those before it are the handler's
    std::size_t count = 0;
    std::uint32_t task = 0;         ///< its number; 0: none is running
    std::array<char, 64> name{};    ///< of the task; empty: it has none
    std::source_location awaited{};  ///< the last await of the task before this turn

    /// `nanosleep ← shop::count(int) ← server+0x1234`: names that the dynamic linker knows, and for
    /// others the place in the file, as addr2line(1) takes it. Throws: std::bad_alloc.
    [[nodiscard]] std::string stack() const;
};

/// The signal does no harm but this: a system call of the program that may end early by a signal
/// (nanosleep, poll: signal(7)) ends early.
class thread_probe {
public:
    /// Throws: io_error (device_or_resource_busy).
    thread_probe();
    thread_probe(const thread_probe&) = delete;
    thread_probe& operator=(const thread_probe&) = delete;
    ~thread_probe() = default;

    /// Asks the thread `thread`, which was seen to run `loop` with that word in its pulse. Waits
    /// for the answer by `rung`. Requires: this thread runs no loop.
    [[nodiscard]] static thread_picture ask(const scheduler& loop, std::uint64_t beat,
                                            std::int32_t thread, bell& rung, world& in) noexcept;

private:
    probe_signal_guard signal_;
};

}}}  // namespace coro::v0::detail
