// The context of a strand: who runs, in which scope, where it waits and on what.
#pragma once

#include <coroutine>
#include <cstdint>
#include <source_location>
#include <string_view>

#include <coro/base/intrusive_list.hpp>
#include <coro/base/time.hpp>
#include <coro/core/loop.hpp>

namespace coro::inline v0 {
class cancel_scope;
}

namespace coro::inline v0::detail {

class frame_link;

/// Receives text piece by piece; what dumps and descriptions are written to.
class text_sink {
public:
    virtual void write(std::string_view text) noexcept = 0;

protected:
    ~text_sink() = default;
};

/// What a strand waits on. Lives in the awaiter.
class wait_point {
public:
    /// Asks for the wait to end: either synchronously (the strand is made ready with `cancelled` as
    /// its outcome) or by a request whose completion makes it ready later. Called at most once a
    /// wait.
    virtual void cancel_wait() noexcept = 0;
    /// Writes verb and object for the task dump: `recv 127.0.0.1:5012`.
    virtual void describe(text_sink& out) const noexcept = 0;

protected:
    wait_point() = default;
    wait_point(const wait_point&) = delete;
    wait_point& operator=(const wait_point&) = delete;
    ~wait_point() = default;
};

class context;

/// What a kind of strand does; one constant per kind, so that each strand carries one word of it.
struct strand_kind {
    /// Runs the strand on; called by the loop only.
    void (*resume)(context& self) noexcept;
    /// The outermost frame has ended; may destroy the context.
    void (*finished)(context& self) noexcept;
    /// nullptr, or told at the moment at which a wait is granted: a branch of when_any whose wait
    /// is a library wait withdraws its siblings before anything else can be granted to them.
    void (*granted)(context& self) noexcept;
};

/// A strand is a chain of frames that await each other, of which one runs or waits at a time: the
/// task given to run(), a spawned task, a branch of when_all or when_any, or a fiber. The context
/// is the one thing that the scheduler queues, a scope cancels and a dump names.
class context : public list_node<context> {
public:
    context(loop_core& on, cancel_scope& in) noexcept;  // in cancel_scope.hpp
    ~context() {
        if (loop->running == this) loop->running = nullptr;
    }

    const strand_kind* kind = nullptr;
    loop_core* loop;
    cancel_scope* scope;  ///< the innermost scope that the strand is in
    context* next_ready = nullptr;
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

/// One frame in the chain: what promises derive from. Read by the dump, written by awaits.
class frame_link {
public:
    frame_link* parent = nullptr;   ///< the frame that awaits this one
    context* strand = nullptr;      ///< nullptr until started
    std::source_location created;   ///< the coroutine; its function_name() names the frame
    std::source_location awaiting;  ///< the co_await at which it is, or was last
};

inline void loop_core::make_ready(context& strand) noexcept {
    strand.waiting = nullptr;
    strand.next_ready = nullptr;
    if (ready_head == nullptr) ready_head = &strand;
    else ready_tail->next_ready = &strand;
    ready_tail = &strand;
}

inline context* loop_core::pop_ready() noexcept {
    context* first = ready_head;
    if (first != nullptr) ready_head = first->next_ready;
    return first;
}

/// Ends a wait with a grant (not by cancellation): the strand goes to the run queue.
inline void grant(context& strand) noexcept {
    strand.loop->make_ready(strand);
    if (strand.kind->granted != nullptr) [[unlikely]] strand.kind->granted(strand);
}

/// Tells the observers, if there are any, that a strand exists.
inline void strand_spawned(context& strand) noexcept {
    const task_hooks* hooks = strand.loop->hooks;
    if (hooks != nullptr && hooks->spawned != nullptr) [[unlikely]]
        hooks->spawned(strand, hooks->user);
}
/// Tells them that `strand` has ended. It is still the one that runs: its task is destroyed in it.
inline void tell_hooks_of_end(context& strand) noexcept {
    const task_hooks* hooks = strand.loop->hooks;
    if (hooks != nullptr && hooks->ended != nullptr) [[unlikely]]
        hooks->ended(strand, hooks->user);
}
/// The same of one that lives on: nothing runs in it any more.
inline void strand_ended(context& strand) noexcept {
    tell_hooks_of_end(strand);
    strand.loop->running = nullptr;
}

}  // namespace coro::inline v0::detail
