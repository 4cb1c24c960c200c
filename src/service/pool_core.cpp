// The queue of a pool: acquire, the grant, and the way back.
#include "service/pool_core.hpp"

#include <algorithm>
#include <optional>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// A connection that was idle for less is lent without a look: the look is a system call, and a
/// peer may leave as well right after it.
constexpr duration look_after = std::chrono::milliseconds(1);

}  // namespace

// --- the queue

pooled* pool_core::try_take(const std::source_location& site) noexcept {
    if (is_cancelled()) return nullptr;  // take() throws it
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (condition_ != condition::open || !queue_.empty()) return nullptr;
    if (options_.connection_timeout <= duration::zero()) return nullptr;  // take() says so
    pool_chain<pooled>& idle = shares_[loop_index()]->idle;
    if (idle.empty()) return nullptr;
    pooled& last = idle.last();
    if (present - last.last_used >= look_after || present >= last.retire_at) return nullptr;
    if (present - last.last_used >= options_.validate_after && last.can_validate()) return nullptr;
    pool_chain<pooled>::remove(last);
    --idle_;
    mark_lent(last, current_task_number(), site, present);
    ++stats_.acquired;
    stats_.acquire.add(duration::zero());
    if (options_.min_idle != 0 && wants_idle()) [[unlikely]] signal(*shares_[home_]);
    return &last;
}

void pool_core::enqueue(pool_waiter& who, bool again) {
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (condition_ == condition::closed || (condition_ == condition::draining && !again))
        throw error(errc::closed);
    if (!again) {
        if (stats_.waiting >= options_.max_waiters) {
            ++stats_.refused;
            throw error(errc::limit_exceeded);
        }
        who.ticket = next_ticket_++;
        queue_.push_back(who);
    } else {
        who.granted.reset();
        who.served = false;
        if (std::exchange(who.in_hand, false)) --in_hand_;
        pool_waiter* before = queue_.empty() ? nullptr : &queue_.first();
        while (before != nullptr && before->ticket < who.ticket) before = queue_.next(*before);
        if (before != nullptr) queue_.insert_before(*before, who);
        else queue_.push_back(who);
    }
    ++stats_.waiting;
    serve(present);
}

bool pool_core::withdraw(pool_waiter& who) noexcept {
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (who.served) return false;
    pool_chain<pool_waiter>::remove(who);
    --stats_.waiting;
    serve(present);  // there may be something for those behind it that was nothing for it
    return true;
}

/// Gives what there is to those who have come first. It ends where the first one has to wait, so
/// nobody is overtaken. Then it begins the connects that are needed.
void pool_core::serve(time_point now) noexcept {
    while (!queue_.empty() && condition_ != condition::suspended) {
        pool_waiter& first = queue_.first();
        pooled* const it = find_idle(first.loop);
        if (it != nullptr && it->retire_at <= now) {
            retire_idle(*it, discard_reason::lifetime);
        } else if (it != nullptr) {
            grant(first, *it, now);
        } else if (is_down()) {
            ++stats_.failed;
            fail(first, cause());
        } else {
            make_room_for(first, now);
            break;
        }
    }
    if (condition_ == condition::open || condition_ == condition::draining) {
        // A connect for each that waits; it is theirs in the order of the queue.
        pool_waiter* who = queue_.empty() ? nullptr : &queue_.first();
        for (std::size_t i = 0; i < stats_.connecting && who != nullptr; ++i)
            who = queue_.next(*who);
        for (; who != nullptr; who = queue_.next(*who))
            if (!begin_connect(who->loop, now)) break;
    }
    if (condition_ == condition::open) {
        while (wants_idle())
            if (!begin_connect(home_, now)) break;
        // A server that is down is asked also when nobody waits: that is what ends it.
        while (is_down())
            if (!begin_connect(home_, now)) break;
    }
    tell_if_unused();
}

/// The one that was used last on that loop, or one on another loop that can come.
pooled* pool_core::find_idle(unsigned loop) noexcept {
    if (idle_ == 0) return nullptr;
    if (!shares_[loop]->idle.empty()) return &shares_[loop]->idle.last();
    pooled* found = nullptr;
    for (const auto& share : shares_)
        if (!share->idle.empty() && share->idle.last().can_move() &&
            (found == nullptr || share->idle.last().last_used > found->last_used))
            found = &share->idle.last();
    return found;
}

/// Connections that cannot move are idle on other loops, and there is no room for one more: the one
/// that nobody has used for longest goes.
void pool_core::make_room_for(const pool_waiter& who, time_point now) noexcept {
    if (total_ < options_.max_size || stats_.connecting != 0 || closing_ != 0) return;
    if (std::ranges::all_of(endpoints_, [now](const pool_endpoint& each) {
            return each.failures != 0 && now < each.not_before;
        }))
        return;  // nothing could be made in its place
    pooled* oldest = nullptr;
    for (const auto& share : shares_)
        if (share->index != who.loop && !share->idle.empty() &&
            (oldest == nullptr || share->idle.first().last_used < oldest->last_used))
            oldest = &share->idle.first();
    if (oldest != nullptr) retire_idle(*oldest, discard_reason::other_loop);
}

void pool_core::grant(pool_waiter& to, pooled& it, time_point now) noexcept {
    pool_chain<pooled>::remove(it);
    --idle_;
    mark_lent(it, to.task, to.site, now);
    pool_chain<pool_waiter>::remove(to);
    --stats_.waiting;
    to.served = true;
    to.in_hand = true;
    ++in_hand_;
    to.given = &it;
    if (it.loop == to.loop) return to.granted.set();
    it.destined = &to;
    pool_share& from = *shares_[it.loop];
    from.wanted.move.push_back(it);
    signal(from);
}

void pool_core::fail(pool_waiter& who, std::exception_ptr why) noexcept {
    pool_chain<pool_waiter>::remove(who);
    --stats_.waiting;
    who.served = true;
    who.failure = std::move(why);
    who.granted.set();
}

/// A task in take(): counts what becomes of it.
class pool_core::seeker {
public:
    explicit seeker(pool_core& in) noexcept : pool_(in) {}
    seeker(const seeker&) = delete;
    seeker& operator=(const seeker&) = delete;
    ~seeker() {
        if (waiter.given != nullptr) pool_.return_unused(*waiter.given);
        const std::lock_guard held(pool_.lock_);
        if (counted != nullptr) ++*counted;
        if (waiter.in_hand) --pool_.in_hand_;
        pool_.tell_if_unused();
    }

    pool_waiter waiter;
    std::uint64_t* counted = nullptr;

private:
    pool_core& pool_;
};

task<pooled*> pool_core::take(std::shared_ptr<pool_core> pool, std::source_location site) {
    pool_core& self = *pool;
    seeker seeking(self);
    seeking.counted = &self.stats_.withdrawn;  // if it ends by an exception that is none below
    pool_waiter& me = seeking.waiter;
    me.loop = loop_index();
    me.task = current_task_number();
    me.site = site;
    const time_point began = now();
    const time_point deadline = saturating_add(began, self.options_.connection_timeout);
    for (bool again = false;; again = true) {
        const time_point present = again ? now() : began;
        // Who has no time left connects to nobody. What throws is the wait below.
        const bool too_late =
            is_cancelled() || current_deadline() <= present || deadline <= present;
        if (too_late) me.granted.reset();
        if (!too_late) {
            seeking.counted = nullptr;  // it counts by itself
            self.enqueue(me, again);
            seeking.counted = &self.stats_.withdrawn;
        }
        std::exception_ptr failure;
        bool in_time = false;
        try {
            in_time = co_await move_on_after(deadline - present, me.granted.wait());
        } catch (...) {
            failure = std::current_exception();
        }
        if (too_late) in_time = false;
        else if ((failure || !in_time) && !self.withdraw(me)) {
            // Granted at the same moment: the message may be under way.
            co_await shield(me.granted.wait(), duration::max());
            in_time = true;
        }
        if (failure) std::rethrow_exception(failure);  // what was granted the seeker returns
        seeking.counted = nullptr;
        if (!in_time) {
            seeking.counted = &self.stats_.timeouts;
            throw self.error(errc::deadline_exceeded);
        }
        if (me.failure) std::rethrow_exception(std::exchange(me.failure, nullptr));
        pooled* const it = me.given;
        if (it == nullptr) continue;  // it was lost on its way to this loop
        seeking.counted = &self.stats_.withdrawn;
        task<bool> look = self.is_usable(*it, deadline);  // without memory the seeker returns it
        me.given = nullptr;
        if (!co_await std::move(look)) continue;
        seeking.counted = &self.stats_.acquired;
        const time_point granted = now();
        bool recovered = false;
        {
            const std::lock_guard held(self.lock_);
            if (std::exchange(it->fresh, false)) {
                recovered = self.note_success(it->endpoint);
                self.serve(granted);
            }
            self.stats_.acquire.add(granted - began);
        }
        if (recovered) self.report_back();
        co_return it;
    }
}

/// Of what was granted, on its loop. False: it was closed.
task<bool> pool_core::is_usable(pooled& it, time_point deadline) {
    if (!land(it)) co_return false;
    const time_point present = now();
    const duration idle = present - it.last_used;
    if (idle >= look_after && it.is_stale()) {
        drop(it, discard_reason::stale);
        co_return false;
    }
    if (!it.can_validate() || idle < options_.validate_after) co_return true;
    if (is_cancelled()) {
        return_unused(it);
        throw cancelled();
    }
    const time_point limit =
        std::min(deadline, saturating_add(present, options_.validation_timeout));
    std::exception_ptr why_not;
    try {
        if (!co_await with_deadline(limit, it.validate()))
            throw io_error(errc::closed, "validate", options_.name);
    } catch (const std::exception&) {
        why_not = std::current_exception();
    } catch (...) {  // cancelled in the midst of the exchange
        drop(it, discard_reason::exception);
        throw;
    }
    if (!why_not) co_return true;
    // Where the time of the acquire was up, nobody knows whether the connection is invalid.
    if (now() >= deadline) drop(it, discard_reason::exception);
    else drop(it, discard_reason::invalid, why_not);
    co_return false;
}

/// Makes what has come from another loop a connection of this one. False: it was closed.
bool pool_core::land(pooled& it) noexcept {
    if (!it.in_transit) return true;
    try {
        it.arrive();
    } catch (...) {
        drop(it, discard_reason::other_loop);
        return false;
    }
    const std::lock_guard held(lock_);
    it.in_transit = false;
    it.loop = loop_index();
    if (options_.leak_detection_threshold != duration::max())
        fall_due(saturating_add(it.lent_at, options_.leak_detection_threshold));
    return true;
}

/// What was granted to a task that had just been cancelled goes to the next one. It is as idle as
/// it was.
void pool_core::return_unused(pooled& it) noexcept {
    if (!land(it)) return;
    const time_point present = now();
    std::unique_ptr<pooled> closed;
    const std::lock_guard held(lock_);
    unmark_lent(it);
    if (const auto why = why_to_close(it, present)) closed = retire(it, *why);
    else put_idle(it, present);
}

// --- the way back

void pool_core::mark_lent(pooled& it, std::uint32_t task, const std::source_location& site,
                          time_point now) noexcept {
    it.lent = true;
    it.told = false;
    it.lent_at = now;
    it.holder = task;
    it.site = site;
    ++stats_.active;
    if (options_.leak_detection_threshold != duration::max()) [[unlikely]]
        fall_due(saturating_add(now, options_.leak_detection_threshold));
}

void pool_core::unmark_lent(pooled& it) noexcept {
    it.lent = false;
    --stats_.active;
}

/// Nobody can have it any more; it counts until it is closed.
void pool_core::forget(pooled& it, discard_reason why) noexcept {
    ++stats_.discarded[static_cast<std::size_t>(why)];
    ++closing_;
    all_.back()->number = it.number;
    all_[it.number] = all_.back();
    all_.pop_back();
}

void pool_core::count_closed(std::size_t endpoint) noexcept {
    --closing_;
    --total_;
    --endpoints_[endpoint].connections;
}

/// The worker of its loop closes it. Where that has ended, the caller does: what it returns.
std::unique_ptr<pooled> pool_core::retire(pooled& it, discard_reason why) noexcept {
    forget(it, why);
    pool_share& share = *shares_[it.loop];
    if (share.ended) {
        count_closed(it.endpoint);
        return std::unique_ptr<pooled>(&it);
    }
    share.wanted.close.push_back(it);
    signal(share);
    return nullptr;
}

void pool_core::retire_idle(pooled& it, discard_reason why) noexcept {
    pool_chain<pooled>::remove(it);
    --idle_;
    static_cast<void>(retire(it, why).release());  // its worker has not ended: it was idle there
}

std::optional<discard_reason> pool_core::why_to_close(const pooled& it,
                                                      time_point now) const noexcept {
    if (condition_ == condition::closed || shares_[it.loop]->ended) return discard_reason::closed;
    if (it.generation != generation_) return discard_reason::cleared;
    if (total_ - closing_ > options_.max_size) return discard_reason::surplus;
    if (it.retire_at <= now) return discard_reason::lifetime;
    return std::nullopt;
}

/// Those that were used last are last; one that was only looked at keeps its place.
void pool_core::put_idle(pooled& it, time_point now) noexcept {
    pool_chain<pooled>& idle = shares_[it.loop]->idle;
    if (idle.empty() || idle.last().last_used <= it.last_used) {
        idle.push_back(it);
    } else {
        pooled* later = &idle.first();
        while (later->last_used <= it.last_used) later = idle.next(*later);
        idle.insert_before(*later, it);
    }
    ++idle_;
    fall_due(next_look(it));
    // Those that were of the last min_idle may be surplus now.
    if (options_.min_idle != 0 && has_idle_to_spare())
        for (const auto& share : shares_)
            if (!share->idle.empty()) fall_due(next_look(share->idle.first()));
    if (!queue_.empty()) serve(now);
}

/// A connection ends on its loop, even after its worker.
void pool_core::close_at_home(std::unique_ptr<pooled> it) noexcept {
    if (it == nullptr || it->loop == loop_index()) return;
    struct end_there {
        std::unique_ptr<pooled> it;
        void operator()() noexcept { it.reset(); }
    };
    const loop_handle home = *it->pool->shares_[it->loop]->where;
    try {
        home.post(end_there{std::move(it)});
    } catch (const std::exception&) {  // that loop has ended: there is no better place than here
    }
}

void pool_core::give_back(pooled& it, std::optional<discard_reason> why) noexcept {
    if (loop_index() != it.loop) why = discard_reason::other_loop;
    else if (!why && !it.is_clean()) why = discard_reason::unclean;
    const time_point present = now();
    std::unique_ptr<pooled> closed;
    std::shared_ptr<pool_core> told;  // the other end of the pool must not come before the report
    std::source_location site;
    duration held_for{};
    {
        const std::lock_guard held(lock_);
        held_for = present - it.lent_at;
        if (it.told) [[unlikely]] {
            told = it.pool;
            site = it.site;
        }
        unmark_lent(it);
        stats_.use.add(held_for);
        it.last_used = it.last_looked_at = present;
        if (!why) why = why_to_close(it, present);
        if (!why) put_idle(it, present);
        else closed = retire(it, *why);
        tell_if_unused();
    }
    if (told) [[unlikely]] report_returned(site, held_for);
    if (closed) [[unlikely]] close_at_home(std::move(closed));
}

/// With an error, and if nothing has shown that its server serves it, it was a failed connect.
void pool_core::drop(pooled& it, discard_reason why, const std::exception_ptr& error) noexcept {
    const time_point present = now();
    std::unique_ptr<pooled> closed;
    bool went_down = false;
    {
        const std::lock_guard held(lock_);
        unmark_lent(it);
        if (error && it.fresh) went_down = note_failure(it.endpoint, error, present);
        closed = retire(it, why);
        serve(present);
    }
    if (went_down) report_down(error);
}

void pool_core::tell_if_unused() noexcept {
    if (stats_.active != 0 || stats_.waiting != 0 || in_hand_ != 0) return;
    while (!drainers_.empty()) {
        pool_drainer& first = drainers_.first();
        pool_chain<pool_drainer>::remove(first);
        first.told = true;
        first.unused.set();
    }
}

task<> pool_core::wait_until_unused(std::shared_ptr<pool_core> pool) {
    pool_core& self = *pool;
    pool_drainer me;
    {
        const std::lock_guard held(self.lock_);
        self.drainers_.push_back(me);
        self.tell_if_unused();
    }
    std::exception_ptr failure;
    try {
        co_await me.unused.wait();
    } catch (...) {
        failure = std::current_exception();
    }
    if (!failure) co_return;
    bool told = false;
    {
        const std::lock_guard held(self.lock_);
        told = me.told;
        if (!told) pool_chain<pool_drainer>::remove(me);
    }
    if (told) co_await shield(me.unused.wait(), duration::max());
    std::rethrow_exception(failure);
}

}}}  // namespace coro::v0::detail
