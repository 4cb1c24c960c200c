// barrier: a number of tasks wait for each other, round after round.
#pragma once

#include <cstddef>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// Lets tasks pass together: when as many wait as there are parties, all of them go on, and the
/// next round begins. A task that is cancelled while it waits has not arrived: the others wait for
/// another one.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may
/// arrive_and_wait() and drop(), which go there as messages; the other members abort there.
/// Destroying it while a task waits aborts. It must outlive the tasks that use it on other loops.
/// See: std::barrier.
class barrier {
    class awaiter;

public:
    /// Requires: parties >= 1.
    explicit barrier(std::size_t parties) noexcept : remote_drop_(*this), parties_(parties) {
        CORO_ASSERT(parties > 0, "a barrier of 0 parties lets nobody pass");
    }
    barrier(const barrier&) = delete;
    barrier& operator=(const barrier&) = delete;
    ~barrier() {
        CORO_ASSERT(waiters_.empty(), "a barrier was destroyed while a task waits for it");
    }

    /// Returns `bool`, once all parties of this round have come: true in one of them, which may do
    /// what is to be done once a round. It is the last to come, or the first of those that wait
    /// when a drop() ends the round.
    /// Suspends until then, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` it has not arrived.
    [[nodiscard("co_await it")]] awaiter arrive_and_wait() noexcept;

    /// `parties` fewer, from this round on: what a task calls that will not come any more. Resumes
    /// nobody in place. Requires: parties <= parties() (aborts).
    void drop(std::size_t parties = 1) noexcept;

    /// How many must come for a round to end.
    [[nodiscard]] std::size_t parties() const noexcept {
        home_.check();
        return parties_;
    }
    /// How many have come in this round.
    [[nodiscard]] std::size_t arrived() const noexcept {
        home_.check();
        return arrived_;
    }

private:
    bool arrive() noexcept;
    void end_round(bool first_is_the_one) noexcept;

    detail::home_loop home_;
    detail::home_sum<&barrier::drop> remote_drop_;
    std::size_t parties_;
    std::size_t arrived_ = 0;  ///< all of them wait
    detail::intrusive_list<awaiter> waiters_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT barrier::awaiter final
    : public detail::library_awaiter<barrier::awaiter>, public detail::list_node<barrier::awaiter> {
public:
    explicit awaiter(barrier& of) noexcept : barrier_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return barrier_.home_; }
    bool try_now() noexcept { return is_the_one_ = barrier_.arrive(); }
    bool start() noexcept {
        ++barrier_.arrived_;
        barrier_.waiters_.push_back(*this);
        return true;
    }
    [[nodiscard]] bool finish() const noexcept { return is_the_one_; }  // it may be gone

    void cancel_wait() noexcept override;
    void describe(detail::text_sink& out) const noexcept override;

private:
    friend class barrier;
    barrier& barrier_;
    bool is_the_one_ = false;
};

inline barrier::awaiter barrier::arrive_and_wait() noexcept { return awaiter(*this); }

}}  // namespace coro::v0
