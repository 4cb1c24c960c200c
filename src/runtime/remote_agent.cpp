// The agent that waits on the home loop of a lock, event or channel for a task of another loop.
//
//   waiter's loop                          home
//    │── start ──────────────────────────► │  strand and scope, begin()
//    │── cancel (if the waiter is)────────► │  cancels the scope; too late is too late
//    │ ◄───────────────────────────── done ─│  strand and scope are gone
//    │── release, if cancel was sent ─────► │  frees the record: no earlier message is under way
//
// Done may be an invitation: then the waiter tries by itself when it is its turn to run. If that is
// in vain, it begins anew with start. The wait object stays in the waiter's frame. Between start
// and done it belongs to the home loop.
#include <coro/core/detail/home_loop.hpp>

#include <new>
#include <optional>

#include <coro/core/cancel_scope.hpp>

#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

class agent final : public wait_point {
public:
    agent(detail::strand& waiter, detail::loop& home, remote_awaiter what, bool invited) noexcept
        : waiter_(waiter), home_(home), away_(*waiter.loop), what_(what) {
        waiter.wait_on(*this);
        if (invited) invite();
        else send_start();
    }

    void cancel_wait() noexcept override {
        if (std::exchange(withdrawn_, true) || invited_) return;
        cancel_sent_ = true;
        send(cancel_, home_, [](agent& self) noexcept {
            if (self.strand_) self.scope_->cancel();
        });
    }
    void describe(text_sink& out) const noexcept override {
        what_.wait->describe(out);
        if (&home_ != &away_) out.write(" of another loop");
    }

private:
    struct message : posted {
        agent* of = nullptr;
        void (*act)(agent& self) noexcept = nullptr;
    };
    class agent_strand final : public strand {
    public:
        agent_strand(detail::loop& on, cancel_scope& in, agent& waits_for) noexcept
            : strand(on, in), record(waits_for) {
            static constexpr strand_kind as_agent{
                .resume =
                    [](strand& self) noexcept {
                        static_cast<agent_strand&>(self).record.ended();
                    },
                .finished = nullptr,
                .granted = nullptr};
            kind = &as_agent;
            name = "remote wait";
        }
        agent& record;
    };
    ~agent() = default;

    void send(message& what, detail::loop& to, void (*act)(agent& self) noexcept) noexcept {
        what.of = this;
        what.act = act;
        what.run = [](posted& self) noexcept {
            auto& mine = static_cast<message&>(self);
            mine.act(*mine.of);
        };
        to.post(what);
    }

    void begin() noexcept {  // home
        scope_access::open_below(scope_.emplace(true), scheduler_of(home_).root_scope());
        agent_strand& mine = strand_.emplace(home_, *scope_, *this);
        if (!what_.begin(*what_.wait, mine)) ended();
    }
    void ended() noexcept {  // home
        strand_.reset();
        scope_access::close(*scope_);
        send(done_, away_, [](agent& self) noexcept { self.done(); });
    }

    // --- away

    void done() noexcept {
        const wait_outcome outcome = what_.take_back(*what_.wait, waiter_);
        if (outcome == wait_outcome::invited) return invite();
        detail::strand& waiter = waiter_;
        leave();
        if (outcome != wait_outcome::cancelled) return grant(waiter);
        ++waiter.cancellations;
        waiter.loop->make_ready(waiter);
    }
    /// The waiter goes to the run queue, and what the loop resumes there is follow(). If it took
    /// the thing now, it would keep it from all that run before it.
    void invite() noexcept {
        static constexpr strand_kind as_invited{
            .resume = [](strand& self) noexcept { static_cast<agent*>(self.waiting)->follow(); },
            .finished = nullptr,
            .granted = nullptr};
        invited_ = true;
        waiter_.loop->make_ready(waiter_);
        waiter_.waiting = this;
        kind_of_waiter_ = std::exchange(waiter_.kind, &as_invited);
    }
    void follow() noexcept {
        invited_ = false;
        detail::strand& waiter = waiter_;
        waiter.kind = kind_of_waiter_;
        const wait_outcome outcome = what_.follow_invitation(*what_.wait, withdrawn_);
        if (outcome == wait_outcome::none) return send_start();
        leave();
        waiter.waiting = nullptr;
        if (outcome == wait_outcome::cancelled) ++waiter.cancellations;
        else if (waiter.kind->granted != nullptr) waiter.kind->granted(waiter);
        waiter.kind->resume(waiter);
    }
    void send_start() noexcept {
        send(start_, home_, [](agent& self) noexcept { self.begin(); });
    }
    void leave() noexcept {
        if (cancel_sent_) send(release_, home_, [](agent& self) noexcept { self.destroy(); });
        else destroy();
    }
    void destroy() noexcept {
        this->~agent();
        free_block(this, sizeof(agent));
    }

    detail::strand& waiter_;
    detail::loop& home_;
    detail::loop& away_;
    remote_awaiter what_;
    message start_, cancel_, done_, release_;
    bool withdrawn_ = false;    // away
    bool cancel_sent_ = false;  // away
    bool invited_ = false;      // away
    const strand_kind* kind_of_waiter_ = nullptr;
    std::optional<scope_access::owned> scope_;  // home
    std::optional<agent_strand> strand_;              // home
};

}  // namespace

bool remote_agent::send(detail::strand& strand, detail::loop& home, remote_awaiter what,
                        bool invited) noexcept {
    try {
        ::new (allocate_block(sizeof(agent))) agent(strand, home, what, invited);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

}}}  // namespace coro::v0::detail
