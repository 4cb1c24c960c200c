// The base of every library awaiter: entry check, suspension, cancellation; the same for tasks
// and fibers.
#pragma once

#include <coroutine>
#include <cstdint>
#include <new>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/core/detail/awaitable.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/home_loop.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// The owner and the outcome of a wait: two words, or fields of the operation.
struct wait_holder {
    detail::strand* owner = nullptr;
    std::uint8_t wait_state = 0;
};

/// Everything that all library awaiters share. `Derived` supplies
///   bool try_now() noexcept     take it at once if possible; true: done (without suspending, but
///                               only inline_completions times a resumption: nobody shall starve)
///   bool start() noexcept       begin to wait; false: done after all (no suspension)
///   R    finish()               the result; called when outcome() != cancelled
///   void throw_cancelled()      only where `cancelled` names a peer; public, and never returns
/// and the two members of wait_point. States of the outcome: none -> done | cancelled, once.
template <typename Derived, typename Holder = wait_holder>
class library_awaiter : public wait_point, public awaiter_face<Derived>, public Holder {
public:
    /// The strand that is about to wait; called by await_transform and by the fiber's await.
    void bind(detail::strand& strand) noexcept {
        CORO_ASSERT(this->owner == nullptr, awaited_twice);
        this->owner = &strand;
    }

    /// Cancellation wins at entry, even over a ready result.
    [[nodiscard]] bool await_ready() noexcept {
        if (scope_access::cancelled(*this->owner->scope)) [[unlikely]] {
            set_outcome(wait_outcome::cancelled);
            return may_throw_cancelled_now(*this->owner);
        }
        if constexpr (has_home<Derived>)
            if (self().home().is_elsewhere()) [[unlikely]] return is_ready_from_afar();
        if (!self().try_now()) return false;
        set_outcome(wait_outcome::done);
        return --this->owner->loop->inline_budget >= 0;
    }

    /// Begins the wait; true: the strand must give way to the loop, which later resumes
    /// `continuation`.
    bool suspend(frame_link* /*parent*/, std::coroutine_handle<> continuation) noexcept {
        this->owner->resume_point = continuation;
        if (outcome() != wait_outcome::none) [[unlikely]] {
            answer_through_queue();
            return true;
        }
        if constexpr (has_home<Derived>) {
            if (needs_agent()) [[unlikely]] {
                if (remote_agent::send(*this->owner, self().home().loop(), remote_form(*this),
                                       taken_from_afar<Derived> && loop().inline_budget <= 0))
                    return true;
                set_outcome(wait_outcome::no_memory);
                return false;
            }
        }
        this->owner->wait_on(*this);
        if (self().start()) return true;
        this->owner->waiting = nullptr;
        return false;
    }

    decltype(auto) await_resume() {
        if (outcome() == wait_outcome::cancelled) [[unlikely]] {
            if constexpr (requires { self().throw_cancelled(); }) self().throw_cancelled();
            else throw cancelled();
        }
        if constexpr (has_home<Derived>)
            if (outcome() == wait_outcome::no_memory) [[unlikely]] throw std::bad_alloc();
        return self().finish();
    }

protected:
    using Holder::Holder;
    library_awaiter() = default;
    ~library_awaiter() = default;

    [[nodiscard]] detail::strand& strand() const noexcept { return *this->owner; }
    [[nodiscard]] detail::loop& loop() const noexcept { return *this->owner->loop; }
    [[nodiscard]] wait_outcome outcome() const noexcept {
        return static_cast<wait_outcome>(this->wait_state);
    }

    /// The wait has succeeded: the strand goes to the run queue.
    void end_granted() noexcept {
        set_outcome(wait_outcome::done);
        grant(*this->owner);
    }
    /// The wait was withdrawn and nothing was taken: the strand goes to the run queue.
    void end_cancelled() noexcept {
        set_outcome(wait_outcome::cancelled);
        ++this->owner->cancellations;
        this->owner->loop->make_ready(*this->owner);
    }
    void set_outcome(wait_outcome outcome) noexcept {
        this->wait_state = static_cast<std::uint8_t>(outcome);
    }

private:
    Derived& self() noexcept { return static_cast<Derived&>(*this); }

    bool is_ready_from_afar() noexcept {
        if constexpr (taken_from_afar<Derived>) {
            if (!self().try_from_afar()) return false;
            --loop().inline_budget;
            set_outcome(wait_outcome::done);
            return true;
        }
        return false;
    }
    bool needs_agent() noexcept {
        if constexpr (taken_from_afar<Derived>) return self().needs_agent();
        else return self().home().is_elsewhere();
    }

    /// How an agent on the home loop waits in our place.
    static remote_awaiter remote_form(library_awaiter& of) noexcept {
        return {&of,
                [](wait_point& wait, detail::strand& agent) noexcept {
                    auto& self = static_cast<library_awaiter&>(wait);
                    self.owner = &agent;
                    if (scope_access::cancelled(*agent.scope)) {
                        self.set_outcome(wait_outcome::cancelled);
                        return false;
                    }
                    return self.begin_by_agent(agent);
                },
                [](wait_point& wait, detail::strand& strand) noexcept {
                    auto& self = static_cast<library_awaiter&>(wait);
                    self.owner = &strand;
                    return self.outcome();
                },
                [](wait_point& wait, bool withdrawn) noexcept {
                    auto& self = static_cast<library_awaiter&>(wait);
                    if constexpr (taken_from_afar<Derived>)
                        self.self().follow_invitation(withdrawn);
                    return self.outcome();
                }};
    }
    bool begin_by_agent(detail::strand& agent) noexcept {
        agent.waiting = this;
        agent.waiting_since = agent.loop->turn_time;
        if constexpr (taken_from_afar<Derived>) {
            if (self().begin_by_agent()) return true;
        } else {
            if (!self().try_now() && self().start()) return true;
            set_outcome(wait_outcome::done);
        }
        agent.waiting = nullptr;
        return false;
    }

    /// The result is known. But this resumption had so many results at once (or so many
    /// `cancelled`) that the others have their turn before the strand learns it.
    void answer_through_queue() noexcept {
        if (outcome() == wait_outcome::done) return grant(*this->owner);
        this->owner->loop->report_stubborn(*this->owner);
        this->owner->loop->make_ready(*this->owner);
    }

};

}}}  // namespace coro::v0::detail
