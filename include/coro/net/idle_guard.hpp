// idle_guard: ends streams on which no byte has moved for a span; what serve watches with.
#pragma once

#include <string_view>
#include <utility>

#include <coro/base/time.hpp>
#include <coro/net/detail/idle_look.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 { namespace net {

/// Ends streams of its loop that are silent. It shuts both directions down, as if the peer had
/// left, so that reads return the end of the stream. A stream that is made of nothing but a
/// transport is closed; of one that stands on another stream that one is ended. One guard has one
/// timer for all that it watches, and looks at each stream eight times in the span: a message costs
/// it nothing. A silent stream ends after the span at least, and an eighth of it later at most.
/// After the loop stood still for longer than half of the span every stream has a fresh span, once
/// in a silence.
class idle_guard {
public:
    class watch;

    /// For streams of the running loop. A span of zero or less ends a silent stream at once. A
    /// span of duration::max() ends no stream. A stream that moves to another loop is ended there,
    /// where this guard learns nothing of it. With a `verb`, a literal such as "serve", the report
    /// hook is told then, as report_end() does; with nullptr nobody is told.
    /// Requires: called inside of run().
    CORO_EXPORT explicit idle_guard(time_span span, const char* verb = nullptr) noexcept;
    idle_guard(const idle_guard&) = delete;
    idle_guard& operator=(const idle_guard&) = delete;
    /// Requires: no watch of it is alive (aborts).
    CORO_EXPORT ~idle_guard();

    /// Watches over `stream` from now on, as long as the watch lives. The stream may be moved, and
    /// closed, meanwhile. One that moves to another loop while it is watched takes its span along.
    /// It is watched there until it is closed or another guard watches over it.
    /// Requires: `stream` belongs to this loop (aborts).
    [[nodiscard]] CORO_EXPORT watch watch_over(const stream& which) noexcept;

    [[nodiscard]] duration span() const noexcept { return span_; }
    /// Tells the report hook, as a notice: `verb: idle for 60 s, ended [peer]`.
    CORO_EXPORT void report_end(std::string_view verb, std::string_view peer) const noexcept;

private:
    void put_last(watch& which, time_point looked_at) noexcept;
    void arm_for_first() noexcept;
    void look() noexcept;
    void look_at(watch& which) noexcept;

    detail::loop& loop_;
    duration span_;
    const char* verb_;
    duration step_;             ///< between two looks at one stream
    time_point due_{};          ///< the time for which the timer was armed
    time_point stood_until_{};  ///< until then the loop stood still
    detail::intrusive_list<watch> watches_;
    detail::member_timer<&idle_guard::look> timer_;
};

/// A stream as its guard sees it. Movable; one moved from watches over nothing. Belongs to the loop
/// of the guard.
class idle_guard::watch : private detail::list_node<idle_guard::watch> {
public:
    watch(watch&& other) noexcept
        : look_(other.look_),
          look_at_(other.look_at_),
          noted_(std::exchange(other.noted_, duration::max())) {
        take_place_of(other);
    }
    watch& operator=(watch&& other) noexcept {
        if (this == &other) return *this;
        unlink();
        forget();
        look_ = other.look_;
        look_at_ = other.look_at_;
        noted_ = std::exchange(other.noted_, duration::max());
        take_place_of(other);
        return *this;
    }
    ~watch() { forget(); }

    /// Whether the guard has ended the stream.
    [[nodiscard]] bool has_ended() const noexcept { return look_.found_idle(); }

private:
    friend class idle_guard;
    friend class detail::intrusive_list<watch>;
    explicit watch(detail::handle of) noexcept : look_(of) {}
    void forget() noexcept {
        if (noted_ != duration::max()) take_note_back();
    }
    CORO_EXPORT void take_note_back() noexcept;

    detail::idle_look look_;
    time_point look_at_{};  ///< when it is to be looked at next; one step after the last look
    duration noted_ = duration::max();  ///< the span that the stream would take to another loop
};

}}}  // namespace coro::v0::net
