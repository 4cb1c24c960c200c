// The matrix of operations and endings: what a driver of one operation at one suspension point is,
// and the engine that starts it, waits until it hangs there, ends it, and looks at what is left.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <coro/coro.hpp>
#include <coro/runtime/event.hpp>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {

enum class ending : std::uint8_t {
    cancel,      ///< the scope around the operation is cancelled
    timeout,     ///< a deadline around it passes
    scope_end,   ///< a sibling, or the body of its group, fails
    peer_reset,  ///< the peer resets; for what has no peer: the event comes that completes it
    shutdown,    ///< what the signals of run() do: stop requested, then the root cancelled
};
inline constexpr std::array all_endings{ending::cancel, ending::timeout, ending::scope_end,
                                        ending::peer_reset, ending::shutdown};
[[nodiscard]] std::string_view ending_name(ending which);

/// When the event that completes the operation comes besides the ending.
enum class race : std::uint8_t { alone, event_first, event_last };

/// One cell of the matrix holds several of these.
struct case_kind {
    ending how = ending::cancel;
    race with = race::alone;
    bool at_once = true;  ///< as soon as the operation waits; otherwise some time later
    bool second_way = false;  ///< scope_end: the body fails; shutdown: no stop before the cancel
};
[[nodiscard]] std::string to_text(const case_kind& kind);
/// All kinds of cases with this ending.
[[nodiscard]] std::vector<case_kind> kinds_of(ending how);

enum class outcome_kind : std::uint8_t { pending, value, cancelled, error };

/// How the awaited operation ended.
struct outcome {
    outcome_kind kind = outcome_kind::pending;
    std::error_code error{};
    std::size_t bytes_transferred = 0;

    [[nodiscard]] bool is(outcome_kind other) const noexcept { return kind == other; }
};
[[nodiscard]] std::string to_text(const outcome& what);

/// Drives one operation to one of its suspension points. Made anew for each case; all members are
/// called inside of run(). Complaints are collected, not thrown.
class driver {
public:
    driver() = default;
    driver(const driver&) = delete;
    driver& operator=(const driver&) = delete;
    virtual ~driver() = default;

    /// Makes ready what the operation needs, so that it will wait.
    virtual task<> prepare(ending) { co_return; }
    /// Awaits the operation and keeps what it gave; lets out what it throws.
    virtual task<> operate() = 0;
    /// The event that completes it. Also called when it has ended already.
    virtual task<> complete() = 0;
    /// What happens under ending::peer_reset.
    virtual task<> reset() { co_await complete(); }
    /// The next use of the object works and sees all that was not taken.
    virtual task<> verify(const outcome& ended) = 0;

    /// Whether the operation is at the suspension point; `waits`: its task waits for something.
    virtual bool at_point(bool waits) { return waits; }
    /// It goes on in spite of cancellation, until it completes.
    [[nodiscard]] virtual bool shielded() const { return false; }
    /// Whether a limit of its own ends it: then it may have ended before anybody has looked.
    [[nodiscard]] virtual bool ends_by_itself(ending) const { return false; }
    /// Whether `ended` is what the documentation says of this case.
    [[nodiscard]] virtual bool documented(const case_kind& kind, const outcome& ended) const;

    [[nodiscard]] const std::vector<std::string>& complaints() const { return complaints_; }

protected:
    void check(bool holds, std::string_view otherwise) {
        if (!holds) complaints_.emplace_back(otherwise);
    }

private:
    std::vector<std::string> complaints_;
};

/// An operation at one of its suspension points.
struct point {
    std::string_view operation;
    std::string_view where;
    std::unique_ptr<driver> (*make)();
};

template <typename Driver, auto... Arguments>
point make_point(std::string_view operation, std::string_view where) {
    return {operation, where,
            []() -> std::unique_ptr<driver> { return std::make_unique<Driver>(Arguments...); }};
}

// The drivers, by file.
[[nodiscard]] std::vector<point> synchronisation_points();
[[nodiscard]] std::vector<point> gathering_points();
[[nodiscard]] std::vector<point> combinator_points();
[[nodiscard]] std::vector<point> stream_points();
[[nodiscard]] std::vector<point> buffered_points();
[[nodiscard]] std::vector<point> service_points();
[[nodiscard]] std::vector<point> copy_points();
[[nodiscard]] std::vector<point> local_points();
[[nodiscard]] std::vector<point> pool_points();
[[nodiscard]] std::vector<point> shared_points();
/// These are in the worlds over a kernel only.
[[nodiscard]] std::vector<point> descriptor_points();

/// What must be the same before and after a case.
struct alive_counts {
    std::int64_t frames = 0;
    std::uint64_t sockets = 0;
    std::uint64_t operations = 0;
    std::uint64_t leases = 0;
    std::uint64_t timers = 0;

    friend bool operator==(const alive_counts&, const alive_counts&) = default;
};
/// Requires: called inside of run().
[[nodiscard]] alive_counts count_alive();
/// One sentence for each kind of thing of which there is more (or less) than before.
[[nodiscard]] std::vector<std::string> leaks(const alive_counts& before, const alive_counts& after);

/// Runs one case in a world of its own and answers what was wrong with it. `before_end` is called
/// inside of the world, after the last look at what is alive: the canaries take back their leaks.
[[nodiscard]] std::vector<std::string> run_case(const point& where, const case_kind& kind,
                                                poller_choice world,
                                                void (*before_end)() = nullptr);

/// Two connected streams. Narrow ones hold some kilobytes only, so that a writer soon waits.
/// Keeps the address of a scope for a driver, as long as the body that was given it is there.
class known_scope {
public:
    known_scope(cancel_scope*& place, cancel_scope& scope) : place_(place) { place_ = &scope; }
    ~known_scope() { place_ = nullptr; }
    known_scope(const known_scope&) = delete;
    known_scope& operator=(const known_scope&) = delete;

private:
    cancel_scope*& place_;
};

class stream_pair {
public:
    stream_pair() = default;
    task<> open(bool narrow = false);
    /// The far end goes away with a reset.
    void reset_far();

    net::tcp_stream near;
    net::tcp_stream far;
};

}}}  // namespace coro::v0::detail::conformance
