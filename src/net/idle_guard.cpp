// One timer for all streams that a guard watches. The time between two looks is the same for all.
// So a watch that is put to the end of the list is looked at after all before it. The clock puts
// new ones and those that were looked at there, and it never goes back.
#include <coro/net/idle_guard.hpp>

#include <algorithm>
#include <chrono>

#include <coro/base/detail/assert.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/runtime/sleep.hpp>

#include "net/idle_watch.hpp"
#include "net/transport_table.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

using detail::idle_look;
using detail::scheduler_of;

/// How many streams are looked at in one go; the others follow in the next turn.
constexpr unsigned looks_per_turn = 256;

}  // namespace

idle_guard::idle_guard(time_span span, const char* verb) noexcept
    : loop_(detail::this_loop()),
      span_(span),
      verb_(verb),
      step_(idle_look::step_of(span_)),
      timer_(*this) {}

idle_guard::~idle_guard() {
    CORO_ASSERT(watches_.empty(), "an idle_guard was destroyed while it watched a stream");
    loop_.disarm_timer(timer_);
}

idle_guard::watch idle_guard::watch_over(const stream& which) noexcept {
    const detail::socket_ref& socket = detail::stream_access::ref(which);
    detail::check_home(socket);
    CORO_ASSERT(&loop_ == detail::current, "an idle_guard was used on another loop than its own");
    watch made(socket.handle);
    if (span_ == duration::max() || !socket.handle) return made;
    detail::scheduler& loop = scheduler_of(loop_);
    if (!socket.handle.is_transport()) {
        if (detail::socket_notes* notes = loop.poller().notes(socket.handle)) {
            notes->idle = made.noted_ = span_;
            notes->idle_verb = verb_;
        }
    }
    put_last(made, loop_.read_clock());
    if (!timer_.armed()) arm_for_first();
    return made;
}

/// A stream that moves from now on is watched by nobody. One that has moved, or closed, is not
/// here, and one that another guard has taken over has another span.
void idle_guard::watch::take_note_back() noexcept {
    if (detail::current == nullptr) return;
    detail::socket_notes* notes = scheduler_of(*detail::current).poller().notes(look_.socket);
    if (notes != nullptr && notes->idle == noted_) notes->idle = duration::max();
}

void idle_guard::report_end(std::string_view verb, std::string_view peer) const noexcept {
    detail::report_idle(verb, span_, peer);
}

void idle_guard::put_last(watch& which, time_point looked_at) noexcept {
    which.look_at_ = saturating_add(looked_at, step_);
    watches_.push_back(which);
}

void idle_guard::arm_for_first() noexcept {
    const watch* first = watches_.front();
    if (first == nullptr) return;
    // Never for this turn: what is armed there in the past fires at once.
    const time_point next_turn = saturating_add(loop_.turn_time, duration(1));
    due_ = std::max(first->look_at_, next_turn);
    loop_.arm_timer(timer_, due_);
}

void idle_guard::look() noexcept {
    if (idle_look::stood_still(loop_.turn_time - due_, span_)) stood_until_ = loop_.turn_time;
    for (unsigned looked = 0; looked < looks_per_turn; ++looked) {
        watch* first = watches_.front();
        if (first == nullptr || first->look_at_ > loop_.turn_time) break;
        first->unlink();
        look_at(*first);
    }
    arm_for_first();
}

/// The handler of an idle stream reads its end, as it does for any peer: no cancellation, no scope
/// per connection. One that is gone was closed by its handler, or has moved and is watched where it
/// is.
void idle_guard::look_at(watch& which) noexcept {
    const bool afresh = which.look_at_ - step_ < stood_until_;
    switch (which.look_.look(loop_, afresh)) {
        case idle_look::finding::gone: return;
        // Not the turn's time: the kernel's count was read now, and what it counts came before.
        case idle_look::finding::alive: return put_last(which, loop_.read_clock());
        case idle_look::finding::idle: break;
    }
    which.look_.end_stream(loop_);
}

}}}  // namespace coro::v0::net
