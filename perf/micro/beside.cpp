// What stands beside coro's primitives: a thread, the hand-over between two threads, and coroutines
// with nothing around them. The raw switches of Boost.Context are in fibers.cpp and primitives.cpp.
#include <benchmark/benchmark.h>

#include <condition_variable>
#include <coroutine>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>

namespace {

// ---- threads: the CPU time is that of the whole process, for two of them work

void thread_create_and_join(benchmark::State& state) {
    for (auto _ : state)
        std::thread([] {}).join();
}

/// One value that two threads change in turn, each waiting for the other's change.
struct ball {
    std::mutex guard;
    std::condition_variable moved;
    bool here = true;
    bool ended = false;

    void pass(bool from) {
        std::unique_lock lock(guard);
        moved.wait(lock, [&] { return here == from || ended; });
        here = !from;
        lock.unlock();
        moved.notify_one();
    }
    void end() {
        std::unique_lock lock(guard);
        ended = true;
        lock.unlock();
        moved.notify_one();
    }
    bool has_ended() {
        const std::scoped_lock lock(guard);
        return ended;
    }
};

void thread_hand_over(benchmark::State& state) {
    ball between;
    std::thread other([&] {
        while (!between.has_ended())
            between.pass(false);
    });
    for (auto _ : state)
        between.pass(true);
    between.end();
    other.join();
    state.SetItemsProcessed(2 * state.iterations());  // there and back
}

void thread_mutex_lock(benchmark::State& state) {
    std::mutex guard;
    for (auto _ : state) {
        const std::scoped_lock lock(guard);
        benchmark::DoNotOptimize(&guard);
    }
}

// ---- coroutines as the compiler makes them: no loop, no cancellation, no allocator, no census

class bare {
public:
    struct promise_type {
        int value = 0;
        std::coroutine_handle<> awaiter = std::noop_coroutine();

        bare get_return_object() { return bare(handle::from_promise(*this)); }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        auto final_suspend() const noexcept {
            struct back_to_the_awaiter : std::suspend_always {
                std::coroutine_handle<> await_suspend(handle ended) const noexcept {
                    return ended.promise().awaiter;
                }
            };
            return back_to_the_awaiter();
        }
        void return_value(int answer) noexcept { value = answer; }
        void unhandled_exception() { std::terminate(); }
    };
    using handle = std::coroutine_handle<promise_type>;

    explicit bare(handle own) : own_(own) {}
    bare(bare&& other) noexcept : own_(std::exchange(other.own_, {})) {}
    ~bare() {
        if (own_) own_.destroy();
    }

    void resume() const { own_.resume(); }

    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) const noexcept {
        own_.promise().awaiter = awaiter;
        return own_;
    }
    int await_resume() const noexcept { return own_.promise().value; }

private:
    handle own_;
};

bare suspend_forever() {
    for (;;)
        co_await std::suspend_always();
}

void bare_coroutine_resume(benchmark::State& state) {
    const bare other = suspend_forever();
    for (auto _ : state)
        other.resume();
    state.SetItemsProcessed(2 * state.iterations());  // in and out
}

bare leaf(int value) {
    co_return value;
}

bare await_children(benchmark::State& state) {
    int sum = 0;
    for (auto _ : state)
        sum += co_await leaf(1);
    benchmark::DoNotOptimize(sum);
    co_return 0;
}

void bare_coroutine_child(benchmark::State& state) {
    const bare parent = await_children(state);
    parent.resume();
}

}  // namespace

BENCHMARK(thread_create_and_join)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(thread_hand_over)->MeasureProcessCPUTime()->UseRealTime();
BENCHMARK(thread_mutex_lock);
BENCHMARK(bare_coroutine_resume);
BENCHMARK(bare_coroutine_child);
