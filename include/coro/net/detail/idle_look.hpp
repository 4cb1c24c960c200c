// idle_look: the bytes by which the guard tells a silent stream from a busy one, and the watch over
// a stream that has left its loop by rebind().
#pragma once

#include <chrono>
#include <cstdint>

#include <coro/base/detail/export.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/loop.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Looks at the bytes that have moved on a stream. The guard looks at them every eighth of the
/// span. Eight looks in a row that find no byte are a silence of one span at least. A stream that
/// is looked at late ages by one look all the same: a loop that stands still counts as one.
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
        return late > span / 2 && late > std::chrono::milliseconds(50);
    }

    explicit idle_look(detail::handle of) noexcept { socket = of; }

    /// Requires: `home` is the running loop, and that of the stream.
    CORO_EXPORT finding look(detail::loop& home, bool afresh) noexcept;
    /// Ends the stream in both directions. Of one that stands on another one: that.
    CORO_EXPORT void end_stream(detail::loop& home) const noexcept;

    /// Reads how many bytes have moved on the stream. False: it is closed, or has left `home`.
    CORO_EXPORT bool count(detail::loop& home, std::uint64_t& moved) const noexcept;
    /// Whether the peer has ended its direction. False too where nobody can tell: for a transport,
    /// or after an error.
    CORO_EXPORT bool has_peer_ended(detail::loop& home) const noexcept;

    [[nodiscard]] bool found_idle() const noexcept { return silent_looks_ >= looks_in_span; }
    [[nodiscard]] std::uint32_t silent_looks() const noexcept { return silent_looks_; }
    [[nodiscard]] std::uint32_t looks() const noexcept { return looks_; }
    void count_looks_anew() noexcept { looks_ = 0; }
    /// Whether the last look has seen a byte that ever moved.
    [[nodiscard]] bool has_spoken() const noexcept { return seen_ != 0 && seen_ != UINT64_MAX; }
    /// Whether `moved` is more than what the last look has seen.
    [[nodiscard]] bool is_news(std::uint64_t moved) const noexcept { return moved != seen_; }

    detail::handle socket;

private:
    std::uint64_t seen_ = UINT64_MAX;  ///< the first look only begins
    std::uint32_t silent_looks_ : 31 = 0;
    std::uint32_t forgiven_ : 1 = 0;  ///< a standstill was, since a byte moved
    std::uint32_t looks_ = 0;
};

}}}  // namespace coro::v0::detail
