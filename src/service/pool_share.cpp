// The workers of a pool: one on each loop connects, closes, moves and looks at its connections. The
// one of the loop that made the pool looks after spans: ages, idleness, pauses, leaks.
#include "service/pool_core.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

void destroy_first(pool_chain<pooled>& of) noexcept {
    pooled& it = of.first();
    pool_chain<pooled>::remove(it);
    delete &it;
}

}  // namespace

// --- the workers

task<> pool_core::begin(task_group& group) {
    not_begun_ = shares_.size();
    for (const auto& share : shares_)
        group.spawn({.name = "connection_pool", .loop = share->index}, run_share,
                    shared_from_this(), std::ref(*share));
    co_await all_begun_.wait();
    const std::lock_guard held(lock_);
    serve(now());  // for min_idle
}

task<> pool_core::run_share(std::shared_ptr<pool_core> pool, pool_share& share) {
    std::exception_ptr ended;
    const auto body = [&](task_group& group) -> task<> {
        {
            const std::lock_guard held(pool->lock_);
            share.work.emplace();
            share.where = loop_handle::of_this_loop();
            if (--pool->not_begun_ == 0) pool->all_begun_.set();
        }
        co_await work(pool, share, group);
    };
    try {
        co_await with_task_group(body, {.policy = on_error::report_and_go_on});
    } catch (const cancelled&) {  // whether the body was cut short it says itself
    } catch (...) {
        ended = std::current_exception();
    }
    // Without its workers a pool serves nobody.
    pool->close();
    // A message may be under way that sets its event: that stays until none is.
    if (pool->end_share(share)) co_await shield(share.work->wait(), duration::max());
    if (ended) std::rethrow_exception(ended);
}

task<> pool_core::work(std::shared_ptr<pool_core> pool, pool_share& share, task_group& group) {
    pool_jobs& todo = share.taken;
    for (;;) {
        time_point due = never;
        const bool goes_on = pool->take_jobs(share, due);
        pool->close_all(todo.close);
        while (!todo.move.empty()) {
            pooled& it = todo.move.first();
            pool_chain<pooled>::remove(it);
            pool->move_out(it);
        }
        // A spawn that throws leaves the rest to end_share().
        while (!todo.look_at.empty()) {
            pooled& it = todo.look_at.first();
            group.spawn({.name = "look at an idle connection"}, look_at, pool, std::ref(it));
            pool_chain<pooled>::remove(it);
        }
        for (std::size_t i = 0; i < todo.connect.size(); ++i)
            for (; todo.connect[i] != 0; --todo.connect[i])
                group.spawn({.name = "connect"}, connect_one, pool, std::ref(share), i);
        for (const pool_leak& leak : todo.report) pool->report_leak(leak);
        todo.report.clear();
        if (!goes_on) {
            group.cancel();
            co_return;
        }
        const duration rest = due == never ? duration::max() : due - now();
        static_cast<void>(co_await move_on_after(rest, share.work->wait()));
    }
}

/// On their loop.
void pool_core::close_all(pool_chain<pooled>& of) noexcept {
    while (!of.empty()) {
        const std::size_t endpoint = of.first().endpoint;
        destroy_first(of);
        const time_point present = now();
        const std::lock_guard held(lock_);
        count_closed(endpoint);
        serve(present);
    }
}

/// False: the pool is closed, and this was the last of it.
bool pool_core::take_jobs(pool_share& share, time_point& due) noexcept {
    const time_point present = now();
    const std::lock_guard held(lock_);
    if (share.work->is_set()) {
        share.work->reset();
        share.signalled = false;
    }
    if (share.index == home_) due = tend(present);
    pool_jobs& from = share.wanted;
    share.taken.close.take(from.close);
    share.taken.move.take(from.move);
    share.taken.look_at.take(from.look_at);
    std::swap(share.taken.connect, from.connect);  // all zero
    std::swap(share.taken.report, from.report);
    return condition_ != condition::closed;
}

/// Of a worker that ends: what it was to do is not done any more.
void pool_core::give_up(pool_jobs& jobs, pool_chain<pooled>& rest) noexcept {
    rest.take(jobs.close);
    while (!jobs.look_at.empty()) {
        pooled& it = jobs.look_at.first();
        pool_chain<pooled>::remove(it);
        --looked_at_;
        forget(it, discard_reason::closed);
        rest.push_back(it);
    }
    while (!jobs.move.empty()) {
        pooled& it = jobs.move.first();
        pool_chain<pooled>::remove(it);
        give_up_move(it);
        rest.push_back(it);
    }
    for (std::size_t i = 0; i < jobs.connect.size(); ++i)
        for (; jobs.connect[i] != 0; --jobs.connect[i]) count_connect_out(i);
}

/// Whether a message is under way to its worker's event.
bool pool_core::end_share(pool_share& share) noexcept {
    bool under_way = false;
    pool_chain<pooled> rest;
    {
        const std::lock_guard held(lock_);
        share.ended = true;
        under_way = share.signalled;
        give_up(share.wanted, rest);
        give_up(share.taken, rest);
        while (!share.idle.empty()) {
            pooled& it = share.idle.first();
            pool_chain<pooled>::remove(it);
            --idle_;
            forget(it, discard_reason::closed);
            rest.push_back(it);
        }
    }
    close_all(rest);
    return under_way;
}

void pool_core::signal(pool_share& share) noexcept {
    if (!share.work || share.ended || share.signalled) return;
    share.signalled = true;
    share.work->set();
}

/// The worker of `home_` is to look at that time at the latest.
void pool_core::fall_due(time_point when) noexcept {
    if (when >= due_) return;
    due_ = when;
    if (!tending_) signal(*shares_[home_]);
}

// --- connects

bool pool_core::is_down() const noexcept {
    return std::ranges::all_of(endpoints_, [&](const pool_endpoint& each) {
        return each.failures >= options_.breaker_threshold;
    });
}

/// The error of the endpoint that is tried next.
std::exception_ptr pool_core::cause() const noexcept {
    return std::ranges::min_element(endpoints_, {}, &pool_endpoint::not_before)->error;
}

pool_endpoint* pool_core::choose_endpoint(time_point now) noexcept {
    pool_endpoint* chosen = nullptr;
    for (std::size_t i = 0; i < endpoints_.size(); ++i) {
        pool_endpoint& each = endpoints_[(next_endpoint_ + i) % endpoints_.size()];
        // One that has failed is asked by one connect at a time.
        if (each.failures != 0 && (now < each.not_before || each.connecting != 0)) continue;
        if (chosen == nullptr || (options_.choice == endpoint_choice::least_used &&
                                  each.connections < chosen->connections))
            chosen = &each;
    }
    if (chosen != nullptr)
        next_endpoint_ = static_cast<std::size_t>(chosen - endpoints_.data()) + 1;
    return chosen;
}

/// False: not now.
bool pool_core::begin_connect(unsigned loop, time_point now) noexcept {
    if (total_ >= options_.max_size || stats_.connecting >= options_.max_connecting) return false;
    pool_share& share = shares_[loop]->ended ? *shares_[home_] : *shares_[loop];
    if (share.ended) return false;
    pool_endpoint* const to = choose_endpoint(now);
    if (to == nullptr) {
        for (const pool_endpoint& each : endpoints_)
            if (each.connecting == 0) fall_due(each.not_before);
        return false;
    }
    ++total_;
    ++stats_.connecting;
    ++to->connections;
    ++to->connecting;
    ++share.wanted.connect[static_cast<std::size_t>(to - endpoints_.data())];
    signal(share);
    return true;
}

void pool_core::count_connect_out(std::size_t endpoint) noexcept {
    --total_;
    --stats_.connecting;
    --endpoints_[endpoint].connections;
    --endpoints_[endpoint].connecting;
}

task<> pool_core::connect_one(std::shared_ptr<pool_core> pool,
                              std::reference_wrapper<pool_share> share, std::size_t endpoint) {
    pool_core& self = *pool;
    const time_point began = now();
    std::uint64_t generation = 0;
    {
        const std::lock_guard held(self.lock_);
        generation = self.generation_;
    }
    std::exception_ptr failure;
    std::unique_ptr<pooled> made;
    try {
        made = co_await with_timeout(self.options_.connect_timeout,
                                     self.source_->connect(pool, endpoint));
        if (!made->is_clean())
            throw io_error(errc::closed, "connect", self.options_.name);
        const std::lock_guard held(self.lock_);
        if (self.all_.capacity() < self.total_) self.all_.reserve(2 * self.total_);
    } catch (const cancelled&) {
        failure = is_cancelled() ? std::current_exception()
                                 : std::make_exception_ptr(std::logic_error(
                                       "the connector of a pool has cancelled itself"));
    } catch (...) {
        failure = std::current_exception();
    }
    if (failure) made.reset();  // it counts until it is closed
    if (failure && is_cancelled()) {
        const std::lock_guard held(self.lock_);
        self.count_connect_out(endpoint);
        std::rethrow_exception(failure);
    }
    if (failure) self.connect_failed(endpoint, std::move(failure));
    else self.connected(share, std::move(made), endpoint, generation, began);
}

void pool_core::connected(pool_share& share, std::unique_ptr<pooled> made, std::size_t endpoint,
                          std::uint64_t generation, time_point began) noexcept {
    const time_point present = now();
    bool recovered = false;
    {
        const std::lock_guard held(lock_);
        --stats_.connecting;
        --endpoints_[endpoint].connecting;
        // Where each connection is validated before its first use, that shows whether it is one.
        if (!made->can_validate() || options_.validate_after > duration::zero()) {
            recovered = note_success(endpoint);
            made->fresh = false;
        } else if (is_down()) {
            // One attempt is enough until somebody has used it.
            endpoints_[endpoint].not_before = saturating_add(present, options_.retry_most);
        }
        ++stats_.created;
        stats_.creation.add(present - began);
        pooled& it = *made;
        it.number = all_.size();
        all_.push_back(&it);
        it.endpoint = endpoint;
        it.generation = generation;
        it.loop = share.index;
        it.last_used = it.last_looked_at = present;
        it.retire_at =
            options_.max_lifetime == duration::max()
                ? never
                : present + shortened(options_.max_lifetime, options_.lifetime_jitter);
        static_cast<void>(made.release());
        if (const auto why = why_to_close(it, present)) made = retire(it, *why);
        else put_idle(it, present);
        serve(present);
    }
    if (recovered) report_back();
}

bool pool_core::note_success(std::size_t endpoint) noexcept {
    pool_endpoint& of = endpoints_[endpoint];
    of.failures = 0;
    of.not_before = {};
    of.error = nullptr;
    return std::exchange(was_down_, false);
}

void pool_core::connect_failed(std::size_t endpoint, std::exception_ptr why) noexcept {
    const time_point present = now();
    bool went_down = false;
    {
        const std::lock_guard held(lock_);
        count_connect_out(endpoint);
        if (condition_ == condition::closed) return;
        ++stats_.connect_failures;
        went_down = note_failure(endpoint, why, present);
        serve(present);
    }
    if (went_down) report_down(why);
}

/// Whether all endpoints are down now, and were not before.
bool pool_core::note_failure(std::size_t endpoint, const std::exception_ptr& why,
                             time_point present) noexcept {
    pool_endpoint& of = endpoints_[endpoint];
    const duration most = options_.retry_most;
    duration pause = std::min<duration>(options_.retry_first, most);
    for (std::size_t i = 0; i < of.failures && pause < most; ++i)
        pause = pause > most / 2 ? most : pause * 2;
    // Connects that were under way together have failed together: one pause for all.
    if (of.not_before <= present) {
        of.not_before = saturating_add(saturating_add(present, pause), shortened(pause / 4, 1));
        ++of.failures;
    }
    of.error = why;
    fall_due(of.not_before);
    return is_down() && !std::exchange(was_down_, true);
}

/// `span`, less a random part of up to `part` of it. Not secret: it only spreads.
duration pool_core::shortened(duration span, double part) noexcept {
    std::uint64_t bits = static_cast<std::uint64_t>(now().time_since_epoch().count()) ^
                         (++draws_ * 0x9e3779b97f4a7c15u);
    for (const unsigned shift : {30u, 27u}) bits = (bits ^ (bits >> shift)) * 0xbf58476d1ce4e5b9u;
    bits ^= bits >> 31;
    const double drawn = static_cast<double>(bits >> 11) / 9007199254740992.0;
    return span - duration(static_cast<duration::rep>(static_cast<double>(span.count()) * part *
                                                      drawn));
}

// --- spans

/// When an idle connection is to be looked at next.
time_point pool_core::next_look(const pooled& it) const noexcept {
    time_point next = std::min(it.retire_at,
                               saturating_add(it.last_looked_at, options_.keepalive_time));
    // One of the last min_idle stays.
    if (has_idle_to_spare())
        next = std::min(next, saturating_add(it.last_used, options_.idle_timeout));
    return next;
}

/// Returns when it is to be called next.
time_point pool_core::tend(time_point present) noexcept {
    if (condition_ == condition::closed) return never;
    tending_ = true;
    tend_idle(present);
    tend_lent(present);
    due_ = never;
    tend_endpoints(present);
    serve(present);
    for (const auto& share : shares_)
        for (pooled* it = share->idle.empty() ? nullptr : &share->idle.first(); it != nullptr;
             it = share->idle.next(*it))
            due_ = std::min(due_, next_look(*it));
    if (options_.leak_detection_threshold != duration::max())
        for (const pooled* it : all_)
            if (it->lent && !it->told && it->destined == nullptr && !it->in_transit)
                due_ = std::min(due_,
                                saturating_add(it->lent_at, options_.leak_detection_threshold));
    tending_ = false;
    return due_;
}

void pool_core::tend_idle(time_point present) noexcept {
    for (const auto& share : shares_) {
        pooled* next = share->idle.empty() ? nullptr : &share->idle.first();
        while (next != nullptr) {
            pooled& it = *std::exchange(next, share->idle.next(*next));
            if (it.retire_at <= present) {
                retire_idle(it, discard_reason::lifetime);
            } else if (has_idle_to_spare() &&
                       saturating_add(it.last_used, options_.idle_timeout) <= present) {
                retire_idle(it, discard_reason::idle);
            } else if (saturating_add(it.last_looked_at, options_.keepalive_time) <= present) {
                pool_chain<pooled>::remove(it);
                --idle_;
                ++looked_at_;
                it.last_looked_at = present;
                share->wanted.look_at.push_back(it);
                signal(*share);
            }
        }
    }
}

/// Names leases that are held for long. Their loops say where the holders wait.
void pool_core::tend_lent(time_point present) noexcept {
    if (options_.leak_detection_threshold == duration::max()) return;
    for (pooled* it : all_) {
        if (!it->lent || it->told || it->destined != nullptr || it->in_transit ||
            saturating_add(it->lent_at, options_.leak_detection_threshold) > present)
            continue;
        it->told = true;
        ++stats_.leaks;
        try {
            shares_[it->loop]->wanted.report.push_back(
                {it->holder, it->site, present - it->lent_at});
            signal(*shares_[it->loop]);
        } catch (const std::bad_alloc&) {  // counted, and not named
        }
    }
}

/// Those that have failed are asked again by serve(): when a pause is over it is called.
void pool_core::tend_endpoints(time_point present) noexcept {
    if (condition_ != condition::open && condition_ != condition::draining) return;
    for (const pool_endpoint& each : endpoints_)
        if (each.failures != 0 && each.not_before > present)
            due_ = std::min(due_, each.not_before);
}

/// Of one that nobody has used for keepalive_time; it is not in the list of the idle ones.
task<> pool_core::look_at(std::shared_ptr<pool_core> pool, std::reference_wrapper<pooled> which) {
    pool_core& self = *pool;
    pooled& it = which;
    std::optional<discard_reason> why;
    std::exception_ptr failure;
    try {
        if (it.is_stale())
            why = discard_reason::stale;
        else if (it.can_validate() &&
                 !co_await with_timeout(self.options_.validation_timeout, it.validate()))
            why = discard_reason::invalid;
    } catch (const std::exception&) {
        why = discard_reason::invalid;
    } catch (...) {
        failure = std::current_exception();
        why = discard_reason::closed;
    }
    std::unique_ptr<pooled> closed;
    {
        const time_point present = now();
        const std::lock_guard held(self.lock_);
        it.last_looked_at = present;
        --self.looked_at_;
        if (!why) why = self.why_to_close(it, present);
        if (why) closed = self.retire(it, *why);
        else self.put_idle(it, present);
        self.serve(present);
    }
    if (failure) std::rethrow_exception(failure);
}

// --- from loop to loop

/// On the loop of `it`: a task of another one will have it.
void pool_core::move_out(pooled& it) noexcept {
    bool left = true;
    try {
        it.leave();
    } catch (...) {
        left = false;
    }
    const std::lock_guard held(lock_);
    if (left) {
        it.in_transit = true;
        std::exchange(it.destined, nullptr)->granted.set();
    } else {
        give_up_move(it);
        shares_[it.loop]->wanted.close.push_back(it);
        signal(*shares_[it.loop]);
    }
}

/// The task for which it was meant comes back to the queue.
void pool_core::give_up_move(pooled& it) noexcept {
    unmark_lent(it);
    forget(it, discard_reason::other_loop);
    pool_waiter& who = *std::exchange(it.destined, nullptr);
    who.given = nullptr;
    who.granted.set();
}

task<> begin_pool(std::shared_ptr<pool_core> pool, task_group& group) {
    co_await pool->begin(group);
}

task<> end_pool(std::shared_ptr<pool_core> pool) {
    pool->close();
    if (pool->stats().active == 0) co_return;
    const struct late {
        ~late() { of.report_late(); }
        pool_core& of;
    } told{*pool};
    static_cast<void>(
        co_await move_on_after(pool->drain_span(), pool_core::wait_until_unused(pool)));
}

}}}  // namespace coro::v0::detail
