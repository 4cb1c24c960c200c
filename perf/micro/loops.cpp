// What it costs to reach another loop: a post to one that turns, alone and in bursts, and to one
// that sleeps, beside the same wake-up written by hand; nanoseconds.
#include <coro/coro.hpp>

#include <benchmark/benchmark.h>
#include <liburing.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace {

using coro::poller_choice;
using std::chrono::steady_clock;

std::int64_t now_ns() { return steady_clock::now().time_since_epoch().count(); }

/// What two readings of the clock take by themselves.
std::int64_t clock_cost() {
    std::vector<std::int64_t> costs(10'001);
    for (std::int64_t& cost : costs) {
        const std::int64_t begin = now_ns();
        cost = now_ns() - begin;
    }
    std::nth_element(costs.begin(), costs.begin() + 5'000, costs.end());
    return costs[5'000];
}

template <typename Number>
double median_of(std::vector<Number>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return static_cast<double>(*middle);
}

constexpr int post_rounds = 20'000;

/// Work that says when it was done; alone on its cache line, as messages mostly are.
struct alignas(64) noted_work : coro::detail::posted {
    noted_work() {
        run = [](coro::detail::posted& self) noexcept {
            static_cast<noted_work&>(self).done->fetch_add(1, std::memory_order_release);
        };
    }
    std::atomic<std::int64_t>* done = nullptr;
};

coro::task<> turn_until(const std::atomic<bool>& ended, std::atomic<coro::detail::loop*>& me) {
    me.store(coro::detail::current);
    while (!ended.load(std::memory_order_relaxed)) co_await coro::yield();
}

/// The poster's time for one of `burst` posts that come together: the median is in `each_ns`, as
/// the mean is that of whoever takes the processor away meanwhile.
coro::task<> posts_to_a_turning_loop(benchmark::State& state) {
    const auto burst = static_cast<std::size_t>(state.range(0));
    std::atomic<bool> ended{false};
    std::atomic<coro::detail::loop*> other{nullptr};
    std::atomic<std::int64_t> done{0};
    std::vector<noted_work> work(burst);
    for (noted_work& each : work) each.done = &done;
    const std::int64_t clock = clock_cost();
    std::vector<double> each_ns;
    each_ns.reserve(post_rounds);
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn({.loop = 1}, turn_until, std::cref(ended), std::ref(other));
        while (other.load() == nullptr) co_await coro::yield();
        coro::detail::loop& target = *other.load();
        std::int64_t sent = 0;
        for (auto _ : state) {
            // Whoever posts has just written what he posts; the other loop has read it since.
            for (noted_work& each : work) each.next = &each;
            const std::int64_t begin = now_ns();
            for (noted_work& each : work) target.post(each);
            const std::int64_t took = now_ns() - begin - clock;
            state.SetIterationTime(static_cast<double>(took) * 1e-9);
            each_ns.push_back(static_cast<double>(took) / static_cast<double>(burst));
            sent += static_cast<std::int64_t>(burst);
            while (done.load(std::memory_order_acquire) != sent) {
            }
        }
        ended.store(true);
    });
    state.counters["each_ns"] = median_of(each_ns);
}

void post_turning(benchmark::State& state) {
    coro::run(posts_to_a_turning_loop(state), {.poller = poller_choice::epoll, .loops = 2});
}

// --- asleep

/// A thread that sleeps until it is woken, written by hand; `wake` has it count up `done`.
class raw_sleeper {
public:
    raw_sleeper() = default;
    raw_sleeper(const raw_sleeper&) = delete;
    raw_sleeper& operator=(const raw_sleeper&) = delete;
    virtual ~raw_sleeper() = default;
    virtual void wake() = 0;

    std::atomic<std::int64_t> done{0};
    std::atomic<bool> ended{false};

protected:
    static void require(bool fine) {
        if (!fine) std::abort();
    }
};

/// eventfd(2) in an epoll set.
class eventfd_sleeper final : public raw_sleeper {
public:
    eventfd_sleeper() : event_(::eventfd(0, EFD_CLOEXEC)), set_(::epoll_create1(EPOLL_CLOEXEC)) {
        epoll_event wanted{};
        wanted.events = EPOLLIN | EPOLLET;
        require(::epoll_ctl(set_, EPOLL_CTL_ADD, event_, &wanted) == 0);
        thread_ = std::thread([this] {
            while (!ended.load()) {
                epoll_event came{};
                require(::epoll_wait(set_, &came, 1, -1) == 1);
                done.fetch_add(1, std::memory_order_release);
            }
        });
    }
    ~eventfd_sleeper() override {
        ended.store(true);
        wake();
        thread_.join();
        ::close(event_);
        ::close(set_);
    }
    void wake() override {
        const std::uint64_t one = 1;
        require(::write(event_, &one, sizeof one) == sizeof one);
    }

private:
    int event_;
    int set_;
    std::thread thread_;
};

/// IORING_OP_MSG_RING from a ring of the caller's own to that of the thread.
class ring_sleeper final : public raw_sleeper {
public:
    ring_sleeper() {
        require(io_uring_queue_init(8, &mine_, IORING_SETUP_SINGLE_ISSUER) == 0);
        std::atomic<bool> ready{false};
        thread_ = std::thread([this, &ready] {
            require(io_uring_queue_init(
                        8, &theirs_, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN) == 0);
            ready.store(true);
            while (!ended.load()) {
                io_uring_cqe* came = nullptr;
                require(io_uring_wait_cqe(&theirs_, &came) == 0);
                io_uring_cqe_seen(&theirs_, came);
                done.fetch_add(1, std::memory_order_release);
            }
        });
        while (!ready.load()) std::this_thread::yield();
    }
    ~ring_sleeper() override {
        ended.store(true);
        wake();
        thread_.join();
        io_uring_queue_exit(&theirs_);
        io_uring_queue_exit(&mine_);
    }
    void wake() override {
        io_uring_sqe* const entry = io_uring_get_sqe(&mine_);
        io_uring_prep_msg_ring(entry, theirs_.ring_fd, 0, 1, 0);
        require(io_uring_submit(&mine_) == 1);
        io_uring_cqe* answer = nullptr;
        require(io_uring_wait_cqe(&mine_, &answer) == 0);
        io_uring_cqe_seen(&mine_, answer);
    }

private:
    io_uring mine_{};
    io_uring theirs_{};
    std::thread thread_;
};

void busy_for(std::int64_t span_ns) {
    const std::int64_t until = now_ns() + span_ns;
    while (now_ns() < until) {
    }
}

/// From `wake` until the other side has seen it. The pause before lets it fall asleep.
template <typename Wake>
std::int64_t time_to_wake(std::atomic<std::int64_t>& done, Wake wake) {
    busy_for(60'000);
    const std::int64_t before = done.load();
    const std::int64_t begin = now_ns();
    wake();
    while (done.load(std::memory_order_acquire) == before) {
    }
    return now_ns() - begin;
}

coro::task<> tell_loop(std::atomic<coro::detail::loop*>& me) {
    me.store(coro::detail::current);
    co_return;
}

/// The library and the hand-written one in turns; the time is the library's.
coro::task<> wakes(benchmark::State& state, raw_sleeper& raw) {
    std::atomic<coro::detail::loop*> other{nullptr};
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn({.loop = 1}, tell_loop, std::ref(other));
        co_return;
    });
    coro::detail::loop& target = *other.load();
    std::atomic<std::int64_t> done{0};
    noted_work work;
    work.done = &done;
    std::vector<std::int64_t> ours;
    std::vector<std::int64_t> theirs;
    std::vector<double> ratios;
    for (auto _ : state) {
        ours.push_back(time_to_wake(done, [&] { target.post(work); }));
        theirs.push_back(time_to_wake(raw.done, [&] { raw.wake(); }));
        ratios.push_back(static_cast<double>(ours.back()) / static_cast<double>(theirs.back()));
        state.SetIterationTime(static_cast<double>(ours.back()) * 1e-9);
    }
    state.counters["median_ns"] = median_of(ours);
    state.counters["raw_ns"] = median_of(theirs);
    state.counters["ratio"] = median_of(ratios);
}

void post_asleep(benchmark::State& state, poller_choice world) {
    std::unique_ptr<raw_sleeper> raw;
    if (world == poller_choice::io_uring) raw = std::make_unique<ring_sleeper>();
    else raw = std::make_unique<eventfd_sleeper>();
    coro::run(wakes(state, *raw),
              {.poller = world, .strict = true, .loops = 2, .spin = false});
}

}  // namespace

BENCHMARK(post_turning)->Arg(1)->Arg(32)->UseManualTime()->Iterations(post_rounds);
BENCHMARK_CAPTURE(post_asleep, epoll_to_eventfd, poller_choice::epoll)
    ->UseManualTime()
    ->Iterations(2000);
BENCHMARK_CAPTURE(post_asleep, io_uring_to_msg_ring, poller_choice::io_uring)
    ->UseManualTime()
    ->Iterations(2000);
