// guardian: ends connections whose peers are silent, slow or too long there; serve watches with it.
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <type_traits>
#include <utility>

#include <coro/base/report.hpp>
#include <coro/base/time.hpp>
#include <coro/net/detail/idle_look.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 { namespace net {

/// The spans of one connection. `duration::max()`, or any span as great, is no limit; a span of
/// zero or less is reached at once. "Moved" is what the kernel counts: bytes that have come, read
/// or not, and bytes that the peer's system has acknowledged.
struct guardian_limits {
    /// No byte has moved yet, in either direction. Exact. For connections that were accepted: of
    /// one that connected the kernel counts the handshake as a byte.
    time_span first_byte = std::chrono::seconds(10);
    /// A guarded::header() lasts no longer, from the turn of the loop in which it began. Exact.
    time_span header = std::chrono::seconds(20);
    /// No byte has moved for so long. Ended an eighth of it later at most.
    time_span idle = std::chrono::seconds(60);
    /// Since it was watched, whatever moves. Ended as much later as the loop was late at its looks;
    /// an eighth of `idle` later at most.
    time_span total = duration::max();
    /// In a guarded::transfer(): bytes a second that must move, in both directions together. They
    /// are counted after the first eighth of `rate_grace`, over seven eighths of it each time, so
    /// a transfer that is too slow ends after `rate_grace`. 0: none is too slow.
    std::size_t minimum_rate = 256;
    time_span rate_grace = std::chrono::seconds(10);
    /// The peer has closed, or ended its direction, and no byte has moved for so long: its handler
    /// does not read (CLOSE_WAIT). The report tells it, and of one connection a second where its
    /// handler waits. Found at a look, a quarter of `idle` later at most.
    time_span half_closed = std::chrono::seconds(30);
    /// Such a connection is ended too.
    bool end_half_closed = false;
};
static_assert(std::is_trivially_destructible_v<guardian_limits>);

/// What a guardian has ended a connection for.
enum class end_cause : std::uint8_t {
    none, first_byte, header, idle, total, rate, half_closed, evicted,
};
inline constexpr std::size_t end_causes = 8;

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {
class guard_phase;
}}}

namespace coro { inline namespace v0 { namespace net {

class guarded;

/// Ends streams of its loop by its limits. It shuts both directions down, as if the peer had left,
/// so that reads return the end of the stream. A stream that is made of nothing but a transport is
/// closed; of one that stands on another stream that one is ended. One guardian has one timer for
/// all that it watches, and looks at each stream eight times in the idle span: a message costs it
/// nothing. Its work for one connection takes the same time however many there are; end_quietest
/// and the reports of places take time for each. After the loop stood still for longer than half of
/// a span every stream has that span afresh, once in a silence.
class guardian {
public:
    class watch;

    /// Watches for silence alone: all limits but `idle` are off. Otherwise as below.
    CORO_EXPORT explicit guardian(time_span idle, const char* verb = nullptr) noexcept;
    /// For streams of the running loop. A stream that moves to another loop is watched there for
    /// silence alone, where this guardian learns nothing of it. With a `verb`, a literal such as
    /// "serve", the report hook is told then, as report_end() does; with nullptr nobody is told.
    /// Requires: called inside of run().
    CORO_EXPORT explicit guardian(const guardian_limits& limits,
                                  const char* verb = nullptr) noexcept;
    guardian(const guardian&) = delete;
    guardian& operator=(const guardian&) = delete;
    /// Requires: no watch of it is alive (aborts).
    CORO_EXPORT ~guardian();

    /// Watches over `stream` from now on, as long as the watch lives. The stream may be moved, and
    /// closed, meanwhile. One that moves to another loop while it is watched takes its span along.
    /// It is watched there until it is closed or another guardian watches over it.
    /// Requires: `stream` belongs to this loop (aborts).
    [[nodiscard]] CORO_EXPORT watch watch_over(const stream& which) noexcept;

    [[nodiscard]] const guardian_limits& limits() const noexcept { return limits_; }
    /// Tells the report hook, as a notice: `verb: idle for 60 s, ended [peer]`, and the like for
    /// each cause.
    CORO_EXPORT void report_end(std::string_view verb, std::string_view peer,
                                end_cause why = end_cause::idle) const noexcept;

    /// Ends the connections that have been silent for longest, to an eighth of the idle span;
    /// `at_most` of them. Returns how many: a connection on which a byte has moved since the last
    /// look is spared. For a program that runs out of descriptors or memory. Takes time for each
    /// connection that is watched. Without a limit of silence nobody is ended.
    CORO_EXPORT std::size_t end_quietest(std::size_t at_most) noexcept;
    /// Tells the report hook of each connection that is still watched, `at_most` of them: `why`,
    /// where its task waits, and its peer. Returns how many are watched.
    CORO_EXPORT std::size_t report_watched(std::string_view verb, std::string_view why,
                                           std::size_t at_most) const noexcept;

    /// Connections that it has ended for that cause.
    [[nodiscard]] std::uint64_t ended_by(end_cause why) const noexcept {
        return ended_[static_cast<std::size_t>(why)];
    }

private:
    friend class guarded;
    friend class detail::guard_phase;
    /// One of the looks at a stream. The time from being listed to the look is the same for all of
    /// one list, so each is in order, and its front is the next.
    enum class stage : std::uint8_t {
        step,   ///< an eighth of the idle span
        first,  ///< what is left of first_byte after whole steps
        rest,   ///< what is left of the step after `first`
        last,   ///< what is left of `total` after whole steps
        never,  ///< nothing is to be looked at
    };
    static constexpr std::size_t stages = 5;

    void enter(watch& which, stage next, time_point since) noexcept;
    [[nodiscard]] stage next_stage(const watch& which) const noexcept;
    CORO_EXPORT void begin(detail::guard_phase& which) noexcept;
    void enter(detail::guard_phase& which) noexcept;
    void arm_for_first() noexcept;
    void arm_for(time_point when) noexcept;
    void look() noexcept;
    void look_at(watch& which) noexcept;
    void look_at(detail::guard_phase& which) noexcept;
    void forgive_first_byte(watch& which) noexcept;
    void look_for_first_byte(watch& which, std::uint64_t moved, time_point listed) noexcept;
    void end(watch& which, end_cause why) noexcept;
    void report_half_closed(watch& which) noexcept;
    void report_place(const watch& which, severity level, std::string_view verb,
                      std::string_view why, bool with_place) const noexcept;

    detail::loop& loop_;
    guardian_limits limits_;
    const char* verb_;
    std::array<duration, stages> spans_{};
    std::uint32_t first_steps_ = UINT32_MAX;  ///< whole steps before `first`
    std::uint32_t last_steps_ = UINT32_MAX;   ///< whole steps before `last`
    std::uint32_t half_closed_looks_ = UINT32_MAX;
    time_point due_ = never;    ///< the time for which the timer is armed
    /// A span, and until when the loop stood still for longer than half of it.
    struct forgiving {
        duration span{};
        time_point until{};
        [[nodiscard]] bool forgives(time_point since) const noexcept { return since < until; }
    };
    forgiving idle_, first_byte_, header_, rate_;
    std::array<detail::intrusive_list<watch>, stages> watches_;
    /// Of one detail::guard_phase::part: the span until its look. duration::max(): there is none.
    struct phases {
        duration span{};
        detail::intrusive_list<detail::guard_phase> list;
    };
    std::array<phases, 3> phases_;
    std::array<std::uint64_t, end_causes> ended_{};
    time_point place_after_{};  ///< until then no report says where a task waits
    detail::member_timer<&guardian::look> timer_;
};

/// A stream as its guardian sees it. Movable; one moved from watches over nothing. Belongs to the
/// loop of the guardian.
class guardian::watch : private detail::list_node<guardian::watch> {
public:
    CORO_EXPORT watch(watch&& other) noexcept;
    CORO_EXPORT watch& operator=(watch&& other) noexcept;
    ~watch() {
        if (by_ != nullptr || words_ != nullptr) forget();
    }

    /// Whether the guardian has ended the stream, and what for.
    [[nodiscard]] bool has_ended() const noexcept { return cause_ != end_cause::none; }
    [[nodiscard]] end_cause cause() const noexcept { return cause_; }
    /// The task whose place the report names; at first the one that called watch_over().
    /// list_close_waits() names it too, until another task reads or writes.
    CORO_EXPORT void belongs_to(std::uint32_t task_number) noexcept;

private:
    friend class guardian;
    friend class guarded;
    friend class detail::intrusive_list<watch>;
    friend class detail::guard_phase;
    explicit watch(detail::handle of, std::uint32_t task) noexcept : look_(of), task_(task) {}
    CORO_EXPORT void forget() noexcept;
    void take(watch& other) noexcept;

    detail::idle_look look_;
    time_point since_{};    ///< when it was watched first
    time_point look_at_{};  ///< when it is to be looked at next
    guardian* by_ = nullptr;
    guarded* words_ = nullptr;  ///< what its handler has
    std::uint32_t task_;
    stage stage_ = stage::never;
    end_cause cause_ = end_cause::none;
    bool noted_ = false;     ///< the socket's notes have the span for another loop
    bool forgiven_ : 1 = false;  ///< it was given first_byte afresh
    bool told_ : 1 = false;      ///< that its peer has closed
};

/// What a handler says to the guardian of its connection: which part of the conversation it is in.
/// A handler of serve that takes a second parameter, `net::guarded`, gets it. Movable. What is said
/// by one that was moved from, or after its watch has ended, has no effect. Belongs to the loop of
/// the guardian.
class guarded {
public:
    /// As long as it lives that part goes on. Must not outlive the watch: in a handler of serve,
    /// its task.
    using phase = detail::guard_phase;

    /// Of a watch of your own, which may be moved while no phase is alive.
    /// Requires: the watch has no other one (aborts).
    CORO_EXPORT explicit guarded(guardian::watch& of) noexcept;
    guarded(guarded&& other) noexcept : of_(std::exchange(other.of_, nullptr)) { relink(); }
    guarded& operator=(guarded&& other) noexcept {
        if (this == &other) return *this;
        unlink();
        of_ = std::exchange(other.of_, nullptr);
        relink();
        return *this;
    }
    ~guarded() { unlink(); }

    /// A request is being read, up to the end of its header: guardian_limits::header counts until
    /// the phase ends. A timer that costs two list operations; with_timeout around the read costs
    /// more, and throws.
    [[nodiscard]] detail::guard_phase header() noexcept;
    /// A message is under way in either direction: guardian_limits::minimum_rate counts. A client
    /// that drips is ended, one that is slow and steady is not. For the time in which the handler
    /// waits for its peer: while it computes, no byte may move, and that is not the peer's fault.
    [[nodiscard]] detail::guard_phase transfer() noexcept;
    /// Whether the guardian has ended the stream, and what for.
    [[nodiscard]] end_cause cause() const noexcept {
        return of_ == nullptr ? end_cause::none : of_->cause();
    }

private:
    friend class guardian::watch;
    void relink() noexcept {
        if (of_ != nullptr) of_->words_ = this;
    }
    void unlink() noexcept {
        if (of_ != nullptr) of_->words_ = nullptr;
    }

    guardian::watch* of_;
};

}}}  // namespace coro::v0::net

namespace coro { inline namespace v0 { namespace detail {

class [[nodiscard("the phase ends with it: const auto header = guard.header();")]] guard_phase
    : private list_node<guard_phase> {
public:
    guard_phase(const guard_phase&) = delete;
    guard_phase& operator=(const guard_phase&) = delete;
    ~guard_phase() = default;

private:
    friend class net::guarded;
    friend class net::guardian;
    friend class intrusive_list<guard_phase>;
    /// A transfer is counted when its look has read the first count.
    enum class part : std::uint8_t { header, transfer, counted };
    guard_phase(net::guardian::watch* of, part which) noexcept : of_(of), part_(which) {
        if (of != nullptr && of->by_ != nullptr && !of->has_ended()) of->by_->begin(*this);
    }

    net::guardian::watch* of_;
    time_point deadline_{};
    std::uint64_t moved_ = 0;  ///< when the window began
    part part_;
    bool forgiven_ = false;
};

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

inline detail::guard_phase guarded::header() noexcept {
    return {of_, detail::guard_phase::part::header};
}
inline detail::guard_phase guarded::transfer() noexcept {
    return {of_, detail::guard_phase::part::transfer};
}

}}}  // namespace coro::v0::net
