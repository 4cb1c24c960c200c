// Drivers of what tasks wait for among themselves, beyond event, mutex, semaphore and channel.
#include <memory>
#include <optional>

#include <coro/runtime/barrier.hpp>
#include <coro/runtime/broadcast.hpp>
#include <coro/runtime/condition_variable.hpp>
#include <coro/runtime/latch.hpp>
#include <coro/runtime/oneshot.hpp>
#include <coro/runtime/rate_limiter.hpp>
#include <coro/runtime/retry.hpp>
#include <coro/runtime/shared_mutex.hpp>
#include <coro/runtime/ticker.hpp>
#include <coro/runtime/watch.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class latch_driver final : public driver {
public:
    explicit latch_driver(bool arrives) : arrives_(arrives), gate_(arrives ? 2 : 1) {}

    task<> operate() override {
        if (arrives_) co_await gate_.arrive_and_wait();
        else co_await gate_.wait();
    }
    task<> complete() override {
        if (!completed_) gate_.count_down();
        completed_ = true;
        co_return;
    }
    task<> verify(const outcome&) override {
        if (!completed_) gate_.count_down();
        co_await gate_.wait();
    }

private:
    bool arrives_;
    bool completed_ = false;
    latch gate_;
};

/// The other party comes in `complete`, and goes again where nobody has waited for it.
class barrier_driver final : public driver {
public:
    task<> operate() override { static_cast<void>(co_await line_.arrive_and_wait()); }
    task<> complete() override {
        if (line_.arrived() == 1) static_cast<void>(co_await line_.arrive_and_wait());
    }
    task<> verify(const outcome&) override {
        check(line_.arrived() == 0, "an arrival was left behind");
        line_.drop();
        check(co_await line_.arrive_and_wait(), "the only party does not pass");
    }

private:
    barrier line_{2};
};

template <bool Alone>
class shared_mutex_driver final : public driver {
public:
    task<> prepare(ending) override { held_ = co_await guard_.lock(); }
    task<> operate() override {
        if constexpr (Alone) got_alone_ = co_await guard_.lock();
        else got_ = co_await guard_.lock_shared();
    }
    task<> complete() override {
        held_.unlock();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check((got_alone_ || got_) == ended.is(outcome_kind::value), "the lock was lost");
        held_.unlock();
        got_.unlock();
        got_alone_.unlock();
        const auto again = guard_.try_lock();
        check(static_cast<bool>(again), "the lock stays taken");
        co_return;
    }

private:
    shared_mutex guard_;
    shared_mutex::scoped_lock held_;
    shared_mutex::scoped_lock got_alone_;
    shared_mutex::shared_lock got_;
};

class condition_driver final : public driver {
public:
    task<> prepare(ending) override { lock_ = co_await guard_.lock(); }
    task<> operate() override { co_await changed_.wait(lock_); }
    task<> complete() override {
        changed_.notify_one();
        co_return;
    }
    task<> verify(const outcome&) override {
        check(static_cast<bool>(lock_), "the lock is not held after the wait");
        check(!co_await move_on_after(1ms, changed_.wait(lock_)), "a notification was kept");
        lock_.unlock();
        check(!guard_.is_locked(), "the lock stays taken");
    }

private:
    mutex guard_;
    condition_variable changed_;
    mutex::scoped_lock lock_;
};

class oneshot_driver final : public driver {
public:
    task<> operate() override { got_ = co_await answer_.receive(); }
    task<> complete() override {
        static_cast<void>(answer_.send(std::make_unique<int>(7)));
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check((got_ != nullptr) == ended.is(outcome_kind::value), "the value was lost");
        if (got_ == nullptr) {
            static_cast<void>(answer_.send(std::make_unique<int>(7)));
            got_ = co_await answer_.receive();
        }
        check(got_ != nullptr && *got_ == 7, "another value came");
    }

private:
    oneshot<std::unique_ptr<int>> answer_;
    std::unique_ptr<int> got_;
};

class watch_driver final : public driver {
public:
    task<> prepare(ending) override { static_cast<void>(co_await seen_.next()); }
    task<> operate() override { got_ = co_await seen_.next(); }
    task<> complete() override {
        current_.set(2);
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check((got_ != nullptr) == ended.is(outcome_kind::value), "the value was lost");
        if (got_ == nullptr) {
            current_.set(2);
            got_ = co_await seen_.next();
        }
        check(got_ != nullptr && *got_ == 2, "another value came");
    }

private:
    watch<int> current_{1};
    watch<int>::reader seen_{current_};
    watch<int>::pointer got_;
};

class broadcast_driver final : public driver {
public:
    task<> operate() override { got_ = co_await mine_.receive(); }
    task<> complete() override {
        if (!sent_) news_.send(3);
        sent_ = true;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(got_.has_value() == ended.is(outcome_kind::value), "the item was lost");
        if (!sent_) news_.send(3);
        if (!got_) got_ = co_await mine_.receive();
        check(got_ && *got_->item == 3 && got_->missed == 0, "another item came");
    }

private:
    broadcast<int> news_{2};
    broadcast<int>::reader mine_ = news_.subscribe();
    std::optional<broadcast<int>::received> got_;
    bool sent_ = false;
};

/// Of what time alone completes, after `span_`.
class timed_driver : public driver {
public:
    task<> complete() override { co_return; }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        return ended.is(kind.how == ending::peer_reset ? outcome_kind::value
                                                       : outcome_kind::cancelled);
    }

protected:
    static duration span_for(ending how) {
        return how == ending::peer_reset ? duration(4ms) : duration(1h);
    }
};

class rate_limiter_driver final : public timed_driver {
public:
    task<> prepare(ending how) override {
        limit_.emplace(rate_limit{.tokens = 1, .per = span_for(how), .burst = 1});
        co_return;
    }
    task<> operate() override {
        check(limit_->try_take(), "the bucket was not full");
        co_await limit_->take();  // in the same turn, so it waits
    }
    task<> verify(const outcome& ended) override {
        if (!ended.is(outcome_kind::value))  // then the next one comes in an hour
            check(!limit_->try_take(), "a token came from nowhere");
        co_return;
    }

private:
    std::optional<rate_limiter> limit_;
};

class ticker_driver final : public timed_driver {
public:
    task<> prepare(ending how) override {
        period_ = span_for(how);
        co_return;
    }
    task<> operate() override {
        ticks_.emplace(period_);
        due_ = ticks_->due();
        check(co_await ticks_->next() >= 1, "no tick was counted");
        check(now() >= due_, "the tick came too early");
    }
    task<> verify(const outcome& ended) override {
        check((ticks_->due() == due_) == !ended.is(outcome_kind::value), "a tick was lost");
        co_return;
    }

private:
    std::optional<ticker> ticks_;
    duration period_{};
    time_point due_{};
};

class retry_driver final : public timed_driver {
public:
    task<> prepare(ending how) override {
        options_.pauses = {.first = span_for(how), .longest = 1h, .jitter = 0};
        co_return;
    }
    task<> operate() override {
        const auto attempt = [this]() -> task<> {
            if (++attempts_ == 1) throw io_error(errc::closed, "connect", "somewhere");
            co_return;
        };
        co_await retry(attempt, options_);
    }
    task<> verify(const outcome& ended) override {
        check(attempts_ == (ended.is(outcome_kind::value) ? 2 : 1), "attempts were miscounted");
        co_return;
    }

private:
    retry_options options_;
    int attempts_ = 0;
};

}  // namespace

std::vector<point> gathering_points() {
    return {
        make_point<latch_driver, false>("coro::latch::wait", "until 0"),
        make_point<latch_driver, true>("coro::latch::arrive_and_wait", "until 0"),
        make_point<barrier_driver>("coro::barrier::arrive_and_wait", "for the other party"),
        make_point<shared_mutex_driver<true>>("coro::shared_mutex::lock", "in the queue"),
        make_point<shared_mutex_driver<false>>("coro::shared_mutex::lock_shared", "in the queue"),
        make_point<condition_driver>("coro::condition_variable::wait", "until notified"),
        make_point<oneshot_driver>("coro::oneshot::receive", "until sent"),
        make_point<watch_driver>("coro::watch::next", "until changed"),
        make_point<broadcast_driver>("coro::broadcast::receive", "until sent"),
        make_point<rate_limiter_driver>("coro::rate_limiter::take", "until a token comes"),
        make_point<ticker_driver>("coro::ticker::next", "until due"),
        make_point<retry_driver>("coro::retry", "in a pause"),
    };
}

}}}  // namespace coro::v0::detail::conformance
