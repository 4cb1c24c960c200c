// The object behind a strand: how to resume it, in which scope it is, where it waits and on what.
#pragma once

#include <coroutine>
#include <cstdint>
#include <source_location>
#include <string_view>

#include <coro/base/detail/intrusive_list.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/loop.hpp>

namespace coro { inline namespace v0 {
class cancel_scope;
}}

namespace coro { inline namespace v0 { namespace detail {

class frame_link;

/// Receives the text of dumps and descriptions piece by piece.
class text_sink {
public:
    virtual void write(std::string_view text) noexcept = 0;

protected:
    ~text_sink() = default;
};

/// The wait of a strand. Lives in the awaiter.
class wait_point {
public:
    /// Asks for the wait to end. Either it makes the strand ready at once, with `cancelled` as its
    /// outcome, or it makes a request whose completion does so later. Called at most once a wait.
    virtual void cancel_wait() noexcept = 0;
    /// Writes verb and object for the task dump: `recv 127.0.0.1:5012`.
    virtual void describe(text_sink& out) const noexcept = 0;

protected:
    wait_point() = default;
    wait_point(const wait_point&) = delete;
    wait_point& operator=(const wait_point&) = delete;
    ~wait_point() = default;
};

class strand;

/// The functions of a kind of strand; one constant per kind, so that each strand carries one word
/// of it.
struct strand_kind {
    /// Runs the strand on; called by the loop only.
    void (*resume)(detail::strand& self) noexcept;
    /// The outermost frame has ended; may destroy the strand.
    void (*finished)(detail::strand& self) noexcept;
    /// nullptr, or called at the moment at which a wait is granted. A branch of when_any on a
    /// library wait withdraws its siblings before they can be granted anything else.
    void (*granted)(detail::strand& self) noexcept;
};

/// A strand is a chain of frames that await each other, of which one runs or waits at a time. The
/// task given to run() is one; so is a spawned task, and a branch of when_all or when_any. This
/// object is the one thing that the scheduler queues, a scope cancels and a dump names. (A strand
/// of Asio is something else: a queue whose handlers never run at the same time.)
class strand : public list_node<detail::strand> {
public:
    strand(detail::loop& on, cancel_scope& in) noexcept;  // in cancel_scope.hpp
    ~strand() {
        if (loop->running == this) loop->running = nullptr;
    }

    /// It begins to wait on `what`, which the caller has prepared or is about to.
    void wait_on(wait_point& what) noexcept;

    const strand_kind* kind = nullptr;
    detail::loop* loop;
    cancel_scope* scope;  ///< the innermost scope that the strand is in
    detail::strand* next_ready = nullptr;
    std::coroutine_handle<> resume_point{};
    /// nullptr while it runs or is ready. But one who was invited (remote_agent) is ready, and has
    /// it: cancellation and dumps still find the wait there.
    wait_point* waiting = nullptr;
    frame_link* leaf = nullptr;     ///< the innermost frame, from which the await chain is read
    time_point waiting_since{};     ///< turn time at which it began to wait
    const char* name = nullptr;     ///< a string that outlives the task, or nullptr
    std::uint32_t number;             ///< counts the strands of its loop, for dumps
    std::uint32_t cancellations = 0;  ///< how often `cancelled` was delivered
};

/// One frame in the chain; promises derive from it. Read by the dump, written by awaits.
class frame_link {
public:
    frame_link* parent = nullptr;   ///< the frame that awaits this one
    detail::strand* strand = nullptr;      ///< nullptr until started
    std::source_location created;   ///< the coroutine; its function_name() names the frame
    std::source_location awaiting;  ///< the co_await at which it is, or was last
};

inline void strand::wait_on(wait_point& what) noexcept {
    waiting = &what;
    waiting_since = loop->turn_time;
}

inline void loop::make_ready(detail::strand& strand) noexcept {
    strand.waiting = nullptr;
    strand.next_ready = nullptr;
    if (ready_head == nullptr) ready_head = &strand;
    else ready_tail->next_ready = &strand;
    ready_tail = &strand;
}

inline detail::strand* loop::pop_ready() noexcept {
    detail::strand* first = ready_head;
    if (first != nullptr) ready_head = first->next_ready;
    return first;
}

/// Ends a wait with a grant (not by cancellation): the strand goes to the run queue.
inline void grant(detail::strand& strand) noexcept {
    strand.loop->make_ready(strand);
    if (strand.kind->granted != nullptr) [[unlikely]] strand.kind->granted(strand);
}

/// Tells the observers, if there are any, that a strand exists.
inline void strand_spawned(detail::strand& strand) noexcept {
    const task_hooks* hooks = strand.loop->hooks;
    if (hooks != nullptr && hooks->spawned != nullptr) [[unlikely]]
        hooks->spawned(strand, hooks->user);
}
/// Tells them that `strand` has ended. It is still the one that runs: its task is destroyed in it.
inline void tell_hooks_of_end(detail::strand& strand) noexcept {
    const task_hooks* hooks = strand.loop->hooks;
    if (hooks != nullptr && hooks->ended != nullptr) [[unlikely]]
        hooks->ended(strand, hooks->user);
}
/// The same of one that lives on: nothing runs in it any more.
inline void strand_ended(detail::strand& strand) noexcept {
    tell_hooks_of_end(strand);
    strand.loop->running = nullptr;
}

}}}  // namespace coro::v0::detail
