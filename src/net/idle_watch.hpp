// How a silent connection is told from a busy one: what the guard of serve looks at, and the watch
// over a stream that has left its loop by rebind().
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

#include <coro/base/time.hpp>
#include <coro/runtime/detail/operation.hpp>

#include "base/text_line.hpp"
#include "runtime/poller.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Looks at the bytes that the kernel has counted for a connection. They are looked at every eighth
/// of the span; eight looks in a row that find no byte are a silence of one span at least. Who is
/// looked at late ages by one look all the same: a loop that stands still counts as one.
class idle_look {
public:
    enum class finding : std::uint8_t { gone, alive, idle };

    static constexpr unsigned looks_in_span = 8;
    static constexpr duration step_of(duration span) noexcept {
        return span <= duration::zero() ? duration(1) : (span - duration(1)) / looks_in_span +
                                                            duration(1);
    }
    /// A look that comes so late says that the loop stood still. Then peers had to wait for us, and
    /// all connections get a fresh span, each once until it moves a byte. A machine that is busy
    /// makes every loop late by less.
    static constexpr bool stood_still(duration late, duration span) noexcept {
        return late > std::max<duration>(span / 2, std::chrono::milliseconds(50));
    }

    explicit idle_look(detail::handle of) noexcept { socket = of; }

    finding look(detail::poller& poller, bool afresh) noexcept {
        std::uint64_t moved = 0;
        if (poller.moved_bytes(socket, moved) < 0) return finding::gone;
        // A silence is forgiven once: a loop that is late again and again must end it too.
        const bool has_moved = moved != seen_;
        if (has_moved || (afresh && !forgiven_)) {
            seen_ = moved;
            silent_looks_ = 0;
            forgiven_ = !has_moved;
            return finding::alive;
        }
        ++silent_looks_;
        return found_idle() ? finding::idle : finding::alive;
    }

    [[nodiscard]] bool found_idle() const noexcept { return silent_looks_ >= looks_in_span; }

    detail::handle socket;

private:
    std::uint64_t seen_ = UINT64_MAX;  ///< the first look only begins
    std::uint32_t silent_looks_ = 0;
    bool forgiven_ = false;  ///< a standstill was, since a byte moved
};

/// "idle for 60 s, ended".
class idle_sentence {
public:
    explicit idle_sentence(duration span) noexcept;
    [[nodiscard]] std::string_view view() const noexcept { return text_.view(); }

private:
    text_line<64> text_;
};

/// Tells that the connection to `peer` was ended after `span` without a byte.
void report_idle(duration span, std::string_view peer) noexcept;

/// Watches over a stream that has come to `loop` by rebind(), until it is closed: found so at most
/// one look later. False without memory.
[[nodiscard]] bool watch_moved_stream(scheduler& loop, detail::handle socket,
                                      duration span) noexcept;

}}}  // namespace coro::v0::detail
