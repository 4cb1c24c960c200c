// Drivers of what tasks wait for among themselves, of signals and of time: event, mutex, semaphore,
// channel, signal_set, sleep, yield.
#include <csignal>
#include <deque>
#include <optional>

#include <coro/runtime/channel.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>
#include <coro/runtime/signal_set.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class event_driver final : public driver {
public:
    task<> operate() override { co_await gate_.wait(); }
    task<> complete() override {
        gate_.set();
        co_return;
    }
    task<> verify(const outcome&) override {
        gate_.set();
        co_await gate_.wait();
    }

private:
    event gate_;
};

/// The operation waits behind who has the lock; with `middle`, another waits behind it.
class mutex_driver final : public driver {
public:
    task<> prepare(ending) override { held_ = co_await guard_.lock(); }
    task<> operate() override { got_ = co_await guard_.lock(); }
    task<> complete() override {
        held_.unlock();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(static_cast<bool>(got_) == ended.is(outcome_kind::value), "the lock was lost");
        held_.unlock();
        got_.unlock();
        check(!guard_.is_locked(), "the lock stays taken");
        const auto again = co_await guard_.lock();
        check(static_cast<bool>(again), "the lock cannot be taken again");
    }

private:
    mutex guard_;
    mutex::scoped_lock held_;
    mutex::scoped_lock got_;
};

/// All three permits are wanted while one is held; `follower`: somebody waits behind for one.
class semaphore_driver final : public driver {
public:
    explicit semaphore_driver(std::size_t amount) : amount_(amount) {}

    task<> prepare(ending) override {
        held_ = co_await slots_.acquire(amount_ == 1 ? slots_.count() : 1);
    }
    task<> operate() override { got_ = co_await slots_.acquire(amount_); }
    task<> complete() override {
        held_.release();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(got_.amount() == (ended.is(outcome_kind::value) ? amount_ : 0), "permits were lost");
        held_.release();
        got_.release();
        check(slots_.available() == slots_.count(), "permits stay taken");
        const auto all = co_await slots_.acquire(slots_.count());
        check(all.amount() == slots_.count(), "the permits cannot be taken again");
    }

private:
    std::size_t amount_;
    semaphore slots_{3};
    semaphore::permit held_;
    semaphore::permit got_;
};

using item = std::unique_ptr<int>;

/// Items are numbered; what was sent must come out once and in order.
class channel_driver : public driver {
protected:
    explicit channel_driver(std::size_t capacity) : items_(capacity) {}

    void take(item&& one) {
        check(one != nullptr, "an item came out empty");
        if (one == nullptr) return;
        check(*one == next_, "an item was lost or doubled");
        next_ = *one + 1;
    }
    task<> take_all() {
        items_.close();
        while (std::optional<item> one = co_await items_.receive()) take(std::move(*one));
        check(next_ == sent_, "items were lost");
    }
    item make() { return std::make_unique<int>(sent_++); }

    channel<item> items_;
    int sent_ = 0;
    int next_ = 0;
};

class send_driver final : public channel_driver {
public:
    explicit send_driver(std::size_t capacity) : channel_driver(capacity) {}

    task<> prepare(ending) override {
        while (items_.size() < items_.capacity()) co_await items_.send(make());
        mine_ = make();
    }
    task<> operate() override { co_await items_.send(std::move(mine_)); }
    task<> complete() override {
        if (std::optional<item> one = items_.try_receive()) take(std::move(*one));
        co_return;
    }
    task<> verify(const outcome& ended) override {
        const bool taken = ended.is(outcome_kind::value);
        check((mine_ == nullptr) == taken, taken ? "the item was not taken" : "the item is gone");
        if (!taken) --sent_;
        co_await take_all();
    }

private:
    item mine_;
};

class copying_send_driver final : public driver {
public:
    task<> prepare(ending) override { co_await numbers_.send(1); }
    task<> operate() override { co_await numbers_.send(two_); }
    task<> complete() override {
        if (const std::optional<int> one = numbers_.try_receive()) sum_ += *one;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        numbers_.close();
        while (const std::optional<int> one = co_await numbers_.receive()) sum_ += *one;
        check(sum_ == (ended.is(outcome_kind::value) ? 3 : 1), "a copy was lost or doubled");
    }

private:
    channel<int> numbers_{1};
    const int two_ = 2;
    int sum_ = 0;
};

class receive_driver final : public channel_driver {
public:
    explicit receive_driver(std::size_t capacity) : channel_driver(capacity) {}

    task<> operate() override {
        std::optional<item> one = co_await items_.receive();
        if (one) take(std::move(*one));
    }
    task<> complete() override {
        item one = make();
        if (!items_.try_send(std::move(one))) --sent_;  // nobody receives any more at a rendezvous
        co_return;
    }
    task<> verify(const outcome&) override { co_await take_all(); }
};

/// A signal that the process sends itself; nobody else in the matrix uses it.
class signal_driver final : public driver {
public:
    task<> operate() override { check(co_await signals_.next() == SIGUSR2, "another signal"); }
    task<> complete() override {
        std::raise(SIGUSR2);
        sent_ = true;
        co_return;
    }
    task<> verify(const outcome& ended) override {
        // Who was cancelled has left the signal for the next one.
        if (!sent_ || ended.is(outcome_kind::value)) std::raise(SIGUSR2);
        check(co_await signals_.next() == SIGUSR2, "the signal was lost");
        check(!co_await move_on_after(1ms, signals_.next()), "the signal came twice");
    }

private:
    signal_set signals_{SIGUSR2};
    bool sent_ = false;
};

class sleep_driver final : public driver {
public:
    explicit sleep_driver(bool until) : until_(until) {}

    task<> prepare(ending how) override {
        span_ = how == ending::peer_reset ? duration(4ms) : duration(1h);
        co_return;
    }
    task<> operate() override {
        const time_point due = now() + span_;
        if (until_) co_await sleep_until(due);
        else co_await sleep_for(span_);
        check(now() >= due, "woken too early");
    }
    task<> complete() override { co_return; }  // only time itself does
    task<> verify(const outcome&) override {
        const time_point due = now() + 2ms;
        co_await sleep_until(due);
        check(now() >= due, "the next sleep was too short");
    }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        return ended.is(kind.how == ending::peer_reset ? outcome_kind::value
                                                       : outcome_kind::cancelled);
    }

private:
    bool until_;
    duration span_{};
};

/// Who yields is ready, not waiting: he meets the ending at his next yield. Sleeps now and then, as
/// otherwise no time would pass in the simulation.
class yield_driver final : public driver {
public:
    task<> operate() override {
        while (!told_) {
            yielding_ = true;
            co_await yield();
            yielding_ = false;
            if (++rounds_ % 16 == 0) co_await sleep_for(1ms);
        }
    }
    bool at_point(bool waits) override { return yielding_ && !waits; }
    task<> complete() override {
        told_ = true;
        co_return;
    }
    task<> verify(const outcome&) override { co_await yield(); }

private:
    bool told_ = false;
    bool yielding_ = false;
    unsigned rounds_ = 0;
};

}  // namespace

std::vector<point> synchronisation_points() {
    return {
        make_point<event_driver>("coro::event::wait", "until set"),
        make_point<mutex_driver>("coro::mutex::lock", "in the queue"),
        make_point<semaphore_driver, 1>("coro::semaphore::acquire", "for one permit"),
        make_point<semaphore_driver, 3>("coro::semaphore::acquire", "for all permits"),
        make_point<send_driver, 2>("coro::channel::send", "the channel is full"),
        make_point<send_driver, 0>("coro::channel::send", "at a rendezvous"),
        make_point<copying_send_driver>("coro::channel::send", "with a copy"),
        make_point<receive_driver, 2>("coro::channel::receive", "the channel is empty"),
        make_point<receive_driver, 0>("coro::channel::receive", "at a rendezvous"),
        make_point<signal_driver>("coro::signal_set::next", "until one comes"),
        make_point<sleep_driver, false>("coro::sleep_for", "asleep"),
        make_point<sleep_driver, true>("coro::sleep_until", "asleep"),
        make_point<yield_driver>("coro::yield", "in the run queue"),
    };
}

}}}  // namespace coro::v0::detail::conformance
