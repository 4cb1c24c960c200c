// The loop as core knows it: a place to put strands that can be resumed. The scheduler derives from
// it.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <source_location>

#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail {

class strand;
class fiber_core;
class loan;
class loop_team;
class stack_pool;
class timer_node;
struct exception_state;

/// Recycles coroutine frames and strand records of one loop: free lists by 16-byte classes,
/// bounded. With malloc a child task costs about twice as much (docs/performance.md).
/// Every block is malloc'd with the size of its class, so that it may be freed by another loop or
/// outside of any.
class block_cache {
public:
    static constexpr std::size_t granule = 16;
    static constexpr std::size_t classes = 129;              ///< blocks up to 2 KiB are recycled
    static constexpr std::uint32_t blocks_per_class = 4096;  ///< beyond that they are freed

    block_cache() = default;
    block_cache(const block_cache&) = delete;
    block_cache& operator=(const block_cache&) = delete;
    ~block_cache() { release(); }

    void* take(std::size_t index) noexcept {
        block* head = lists_[index].head;
        if (head == nullptr) return nullptr;
        lists_[index].head = head->next;
        --lists_[index].count;
        return head;
    }
    bool give(void* memory, std::size_t index) noexcept {
        list& where = lists_[index];
        if (where.count >= most_of_class_) return false;
        auto* freed = ::new (memory) block{where.head};
        where.head = freed;
        ++where.count;
        return true;
    }
    /// For the address sanitizer, which sees the use of a frame after its end only if the frame is
    /// not recycled.
    void recycle_nothing() noexcept { most_of_class_ = 0; }
    /// Gives all recycled blocks back to malloc.
    void release() noexcept {
        for (std::size_t index = 0; index < classes; ++index)
            while (void* memory = take(index)) std::free(memory);
    }

private:
    struct block {
        block* next;
    };
    struct list {
        block* head = nullptr;
        std::uint32_t count = 0;
    };
    std::uint32_t most_of_class_ = blocks_per_class;
    std::array<list, classes> lists_{};
};

/// How deep children may be started inside their parents' await before the next one goes through
/// the next-slot. 64 levels of at most 400 B (ASan, -O0) leave a 64 KiB stack intact.
inline constexpr unsigned nesting_limit = 64;
/// The same on the smaller stack of a fiber.
inline constexpr unsigned fiber_nesting_limit = 8;
/// How many operations of one resumption may return at once before it goes through the run queue.
/// So a connection that always has data cannot starve the others.
inline constexpr int inline_completions = 32;
/// A task to which `cancelled` was delivered this often goes through the run queue each time.
inline constexpr std::uint32_t stubborn_after = 1000;
/// Added to the count when that was reported.
inline constexpr std::uint32_t stubborn_reported = 1u << 31;

/// Told of each strand: for task_observer and the hold watch. Each member may be nullptr; they
/// must not throw.
struct task_hooks {
    void (*spawned)(detail::strand& child, void* user) noexcept = nullptr;
    void (*resumed)(detail::strand& strand, void* user) noexcept = nullptr;
    void (*suspended)(detail::strand& strand, void* user) noexcept = nullptr;
    void (*ended)(detail::strand& strand, void* user) noexcept = nullptr;
    void* user = nullptr;
};

/// Work handed to a loop from another thread. `run` is called on the loop's thread.
struct posted {
    posted* next = nullptr;
    void (*run)(posted& self) noexcept = nullptr;
};

/// Work that an object hands over, which it is part of.
template <typename Owner>
struct message_of : posted {
    Owner* of = nullptr;

    /// Of a message of this kind that has arrived.
    static Owner& owner(posted& arrived) noexcept {
        return *static_cast<message_of&>(arrived).of;
    }
};

/// Work to be done once, after everything that is ready in this turn has run and before the loop
/// asks the poller. By it small writes of one turn become one send.
class turn_end : public list_node<turn_end> {
public:
    explicit turn_end(void (*on_end)(turn_end& self) noexcept) noexcept : call(on_end) {}
    void (*call)(turn_end& self) noexcept;
};

/// The stacks that a loop keeps for its fibers; all of it comes with the first one.
class CORO_EXPORT fiber_stacks {
public:
    fiber_stacks() = default;
    fiber_stacks(const fiber_stacks&) = delete;
    fiber_stacks& operator=(const fiber_stacks&) = delete;
    ~fiber_stacks();

    stack_pool* pool = nullptr;
    exception_state* exceptions = nullptr;  ///< of the thread that runs the loop
    void* jump = nullptr;  ///< the function that switches, where a jump alone can do it
    fiber_core* in_static = nullptr;  ///< the fiber that initialises a static and may not wait
    unsigned statics = 0;             ///< initialisers of statics in which it is
};

/// Names a loop for ever: a later loop may have its address, but never its id. Zero is no loop.
struct loop_id {
    /// The number of the run, from 1, and below that the index of the loop.
    static constexpr unsigned index_bits = 16;

    loop_id() = default;
    constexpr loop_id(std::uint64_t run, unsigned index) noexcept
        : word(run << index_bits | index) {}
    [[nodiscard]] std::uint64_t run() const noexcept { return word >> index_bits; }
    [[nodiscard]] unsigned index() const noexcept {
        return static_cast<unsigned>(word & ((1u << index_bits) - 1));
    }
    [[nodiscard]] explicit operator bool() const noexcept { return word != 0; }
    friend bool operator==(loop_id, loop_id) = default;

    std::uint64_t word = 0;
};

/// The part of a loop that awaiters touch. Belongs to the thread that runs the loop.
class loop {
public:
    loop(const detail::loop&) = delete;
    detail::loop& operator=(const detail::loop&) = delete;

    /// Appends `strand` to the run queue. Requires: it is in no queue.
    inline void make_ready(detail::strand& strand) noexcept;
    [[nodiscard]] bool has_ready() const noexcept { return ready_head != nullptr; }
    inline detail::strand* pop_ready() noexcept;

    /// Hands `work` to this loop, for loops of the same run. Thread-safe; `work` must live until
    /// its `run` was called.
    CORO_EXPORT void post(posted& work) noexcept;
    /// The same for any other thread: the loop may end as soon as it has seen the work.
    CORO_EXPORT void post_foreign(posted& work) noexcept;
    /// Reads the world's clock (turn_time is the time at which this turn of the loop began).
    [[nodiscard]] virtual time_point read_clock() noexcept = 0;
    virtual void arm_timer(timer_node& timer, time_point deadline) noexcept = 0;
    virtual void disarm_timer(timer_node& timer) noexcept = 0;
    /// Has `work` called at the end of this turn; does nothing if it is to be called already.
    virtual void at_turn_end(turn_end& work) noexcept = 0;
    /// Says once per task that it goes on awaiting although it is cancelled.
    virtual void report_stubborn(detail::strand& strand) noexcept = 0;

    detail::strand* ready_head = nullptr;
    detail::strand* ready_tail = nullptr;
    /// The next-slot: resumed as soon as what runs now returns to the loop; keeps the stack
    /// bounded.
    std::coroutine_handle<> next{};
    detail::strand* running = nullptr;
    unsigned depth = 0;  ///< children started inside their parents' await right now
    int inline_budget = inline_completions;
    time_point turn_time{};
    const task_hooks* hooks = nullptr;
    std::int64_t frames_alive = 0;  ///< created here minus destroyed here; may be negative
    std::uint32_t next_task_number = 1;
    /// Waits that something outside of the run may end: of awaitables of other libraries, for a
    /// std::stop_token, for a signal, or for the stop that a signal requests.
    std::uint32_t outside_waits = 0;
    unsigned index = 0;         ///< its number among the loops of its run
    loop_team* team = nullptr;  ///< those loops
    loop_id id{};               ///< what is kept of it beyond the run names it by this
    block_cache blocks;
    fiber_core* fiber = nullptr;  ///< that runs and may wait; nullptr: none
    fiber_stacks stacks;
    intrusive_list<loan> loans;  ///< of frames of this loop
    const void* stack_base = nullptr;  ///< below it on the thread's stack is what this turn runs

    /// On whose stack the thread is; nullptr: on its own.
    [[nodiscard]] fiber_core* fiber_of_stack() const noexcept {
        return fiber != nullptr ? fiber : stacks.in_static;
    }

protected:
    loop() = default;
    virtual ~loop() = default;
};

/// The running loop of this thread; nullptr outside of run(). The only thread-local of the library,
/// but for `destroying`: that is needed outside of run() too. initial-exec: one load, also from a
/// shared object.
[[gnu::tls_model("initial-exec")]] CORO_EXPORT extern constinit thread_local detail::loop* current;

/// Whether this thread runs the loop `id`.
[[nodiscard]] inline bool is_here(loop_id id) noexcept {
    return current != nullptr && current->id == id;
}
/// Whether this thread runs a loop of the run of `id`.
[[nodiscard]] inline bool is_of_this_run(loop_id id) noexcept {
    return current != nullptr && current->id.run() == id.run();
}
/// Requires: is_of_this_run(id).
[[nodiscard]] CORO_EXPORT detail::loop& loop_of_this_run(loop_id id) noexcept;
/// Whether the run of `id` has ended. Then what its loops did has happened before this call.
[[nodiscard]] CORO_EXPORT bool run_has_ended(loop_id id) noexcept;

/// While it is set, frames are remembered with their creation sites. Each block that is given back
/// is shown to `release_check`, if there is one. Tests ask there whether the kernel may still write
/// into it.
CORO_EXPORT extern bool frame_tracking;
CORO_EXPORT extern void (*release_check)(const void* memory, std::size_t size) noexcept;
CORO_EXPORT void check_released(const void* memory, std::size_t size) noexcept;

/// Memory for a coroutine frame or strand record. Throws std::bad_alloc.
inline void* allocate_block(std::size_t size) {
    const std::size_t index = (size + block_cache::granule - 1) / block_cache::granule;
    if (index < block_cache::classes && current != nullptr)
        if (void* recycled = current->blocks.take(index)) return recycled;
    void* fresh = std::malloc(index * block_cache::granule);
    if (fresh == nullptr) throw std::bad_alloc();
    return fresh;
}

/// Gives back what allocate_block(size) returned, from any loop or none.
inline void free_block(void* memory, std::size_t size) noexcept {
    if (frame_tracking) [[unlikely]] check_released(memory, size);
    const std::size_t index = (size + block_cache::granule - 1) / block_cache::granule;
    if (index < block_cache::classes && current != nullptr && current->blocks.give(memory, index))
        return;
    std::free(memory);
}

/// Counts a coroutine frame in or out, and remembers its creation site while tracking is on.
CORO_EXPORT void track_frame(const void* frame, std::source_location where) noexcept;
CORO_EXPORT void untrack_frame(const void* frame) noexcept;
CORO_EXPORT void count_frame_outside(int change) noexcept;

inline void frame_created(const void* frame, std::source_location where) noexcept {
    if (current != nullptr) ++current->frames_alive;
    else count_frame_outside(1);
    if (frame_tracking) [[unlikely]] track_frame(frame, where);
}
inline void frame_destroyed(const void* frame) noexcept {
    if (current != nullptr) --current->frames_alive;
    else count_frame_outside(-1);
    if (frame_tracking) [[unlikely]] untrack_frame(frame);
}

}}}  // namespace coro::v0::detail
