// loop_witness: the side of a loop that answers other threads, and the list of all of a process.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <coro/base/detail/intrusive_list.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/loop.hpp>

#include "runtime/loop_pulse.hpp"

namespace coro { inline namespace v0 { namespace detail {

class scheduler;
struct loop_gate;

/// What names a loop to a reader.
struct loop_name {
    loop_id id;
    unsigned loops;       ///< of its run
    std::int32_t thread;  ///< gettid(2); 0: it does not say, so that a simulation repeats itself

    /// `loop 1 of 2, run 1, thread 4711`. Throws: std::bad_alloc.
    [[nodiscard]] std::string text() const;
};

/// A loop as it was a moment ago; it may have gone.
struct loop_view {
    loop_name name;
    const scheduler* loop;  ///< not to be touched
    loop_pulse::seen seen;
};

/// A loop writes its own part of a dump, on its own thread. This is the message that asks it to,
/// and the place of its answer. It exists from the beginning of the loop, so asking allocates
/// nothing there. It outlives the loop while somebody asks. All members are under the lock of the
/// list, but the gate and what names the loop.
class loop_witness final : public posted,
                           public list_node<loop_witness>,
                           public std::enable_shared_from_this<loop_witness> {
public:
    /// On the thread that turns the loop.
    explicit loop_witness(scheduler& of) noexcept;
    loop_witness(const loop_witness&) = delete;
    loop_witness& operator=(const loop_witness&) = delete;
    ~loop_witness() = default;

    /// The loop is in the list from now on.
    void appear() noexcept;
    /// It is in the list no more: nobody looks at the loop afterwards. What was posted to it before
    /// is in its inbox. May be repeated.
    void disappear() noexcept;

    /// The loops of a run that are there. Any thread. Throws: std::bad_alloc.
    static std::vector<loop_view> loops_of(std::uint64_t run);

private:
    friend class loop_inquiry;
    static void arrive(posted& self) noexcept;
    /// Requires: the thread that turns the loop.
    [[nodiscard]] static std::string part_of(scheduler& loop) noexcept;
    [[nodiscard]] std::string text_without_answer() const;

    const std::shared_ptr<loop_gate> gate_;
    const loop_name name_;

    const scheduler* loop_;  ///< nullptr once it has gone
    std::uint64_t asked_ = 0;
    std::uint64_t answered_ = 0;   ///< the question that `text_` answers, and all before it
    unsigned askers_ = 0;          ///< calls that may still read `text_`; it is empty without them
    bool under_way_ = false;       ///< this message
    bool waits_for_others_ = false;  ///< its thread is inside of dump_all_loops(): `text_` is true
    std::string text_;
};

}}}  // namespace coro::v0::detail
