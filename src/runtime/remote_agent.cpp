// The agent that waits on the home loop of a lock, event or channel for a task of another loop.
//
//   waiter's loop                          home
//    │── start ──────────────────────────► │  strand and scope, begin()
//    │── cancel (if the waiter is)────────► │  cancels the scope; too late is too late
//    │ ◄───────────────────────────── done ─│  strand and scope are gone
//    │── release, if cancel was sent ─────► │  frees the record: no earlier message is under way
//
// The wait object stays in the waiter's frame. Between start and done it belongs to the home loop.
#include <coro/core/home_loop.hpp>

#include <new>
#include <optional>

#include <coro/core/cancel_scope.hpp>

#include "runtime/scheduler.hpp"

namespace coro::inline v0::detail {
namespace {

class agent final : public wait_point {
public:
    agent(context& waiter, loop_core& home, remote_wait what) noexcept
        : waiter_(waiter), home_(home), away_(*waiter.loop), what_(what) {
        waiter.waiting = this;
        waiter.waiting_since = away_.turn_time;
        send(start_, home_, [](agent& self) noexcept { self.begin(); });
    }

    void cancel_wait() noexcept override {
        if (std::exchange(cancel_sent_, true)) return;
        send(cancel_, home_, [](agent& self) noexcept {
            if (self.strand_) self.scope_.cancel();
        });
    }
    void describe(text_sink& out) const noexcept override {
        what_.wait->describe(out);
        out.write(" of another loop");
    }

private:
    struct message : posted {
        agent* of = nullptr;
        void (*act)(agent& self) noexcept = nullptr;
    };
    class strand final : public context {
    public:
        strand(loop_core& on, cancel_scope& in, agent& waits_for) noexcept
            : context(on, in), record(waits_for) {
            static constexpr strand_kind as_agent{
                .resume = [](context& self) noexcept { static_cast<strand&>(self).record.ended(); },
                .finished = nullptr,
                .granted = nullptr};
            kind = &as_agent;
            name = "remote wait";
        }
        agent& record;
    };
    ~agent() = default;

    void send(message& what, loop_core& to, void (*act)(agent& self) noexcept) noexcept {
        what.of = this;
        what.act = act;
        what.run = [](posted& self) noexcept {
            auto& mine = static_cast<message&>(self);
            mine.act(*mine.of);
        };
        to.post(what);
    }

    void begin() noexcept {  // home
        scope_access::open_below(scope_, scheduler_of(home_).root_scope());
        strand& mine = strand_.emplace(home_, scope_, *this);
        if (!what_.begin(*what_.wait, mine)) ended();
    }
    void ended() noexcept {  // home
        strand_.reset();
        scope_access::close(scope_);
        send(done_, away_, [](agent& self) noexcept { self.finish(); });
    }
    void finish() noexcept {  // away
        context& waiter = waiter_;
        const bool granted = what_.take_back(*what_.wait, waiter);
        if (cancel_sent_) send(release_, home_, [](agent& self) noexcept { self.destroy(); });
        else destroy();
        if (granted) return grant(waiter);
        ++waiter.cancellations;
        waiter.loop->make_ready(waiter);
    }
    void destroy() noexcept {
        this->~agent();
        free_block(this, sizeof(agent));
    }

    context& waiter_;
    loop_core& home_;
    loop_core& away_;
    remote_wait what_;
    message start_, cancel_, done_, release_;
    bool cancel_sent_ = false;
    scope_access::owned scope_{true};  // home
    std::optional<strand> strand_;     // home
};

}  // namespace

bool remote_agent::send(context& strand, loop_core& home, remote_wait what) noexcept {
    try {
        ::new (allocate_block(sizeof(agent))) agent(strand, home, what);
        return true;
    } catch (const std::bad_alloc&) {
        return false;
    }
}

}  // namespace coro::inline v0::detail
