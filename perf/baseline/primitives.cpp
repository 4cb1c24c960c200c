// The primitives in a known number of rounds, for a counter of instructions: perf/baseline.py.
//
// Run:  valgrind --tool=callgrind --dump-before=coro_baseline_mark coro_primitives
// See:  a line for each primitive, in the order in which they run. Each has three calls of the mark
//       around it: between the first two it runs `few` rounds, between the last two `many`. What
//       the difference holds is many - few rounds and nothing else.
//
// The simulation never enters the kernel and its clock is no clock, so that every run executes the
// same instructions.
#include <coro/coro.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>

#include <chrono>
#include <cstdio>
#include <functional>

extern "C" {
/// Nothing: where the counter looks. No optimization may move or copy it.
[[gnu::noinline]] void coro_baseline_mark() { asm volatile("" ::: "memory"); }
}

namespace {

using namespace std::chrono_literals;

constexpr int few = 100;
constexpr int many = 1100;

void use(int value) { asm volatile("" : : "r"(value)); }

coro::task<int> leaf(int value) { co_return value; }
coro::task<int> inner(int value) { co_return 1 + co_await leaf(value); }
coro::task<int> outer(int value) { co_return 1 + co_await inner(value); }
coro::task<> nothing() { co_return; }

coro::task<> ready_await(int rounds) {
    coro::event happened;
    happened.set();
    for (int i = 0; i < rounds; ++i)
        co_await happened.wait();
}

coro::task<> child_task(int rounds) {
    for (int i = 0; i < rounds; ++i)
        use(co_await leaf(1));
}

coro::task<> three_nested_tasks(int rounds) {
    for (int i = 0; i < rounds; ++i)
        use(co_await outer(1));
}

coro::task<> spawn_and_join(int rounds) {
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        for (int i = 0; i < rounds; i += 50) {
            for (int child = 0; child < 50; ++child)
                group.spawn(nothing());
            while (group.size() != 0)
                co_await coro::yield();
        }
    });
}

coro::task<> yield_alone(int rounds) {
    for (int i = 0; i < rounds; ++i)
        co_await coro::yield();
}

coro::task<> wait_and_reset(coro::event& happened, const bool& ended) {
    for (;;) {
        co_await happened.wait();
        if (ended) co_return;
        happened.reset();
    }
}

coro::task<> event_hand_over(int rounds) {
    coro::event happened;
    bool ended = false;
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(wait_and_reset, std::ref(happened), std::cref(ended));
        for (int i = 0; i < rounds; ++i) {
            happened.set();
            co_await coro::yield();  // the other one runs, and waits again
        }
        ended = true;
        happened.set();
    });
}

coro::task<> receive_all(coro::channel<int>& from) {
    while (auto item = co_await from.receive())
        use(*item);
}

coro::task<> channel_hand_over(int rounds) {
    coro::channel<int> items(0);
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(receive_all, std::ref(items));
        for (int i = 0; i < rounds; ++i)
            co_await items.send(i);
        items.close();
    });
}

coro::task<> mutex_lock(int rounds) {
    coro::mutex guard;
    for (int i = 0; i < rounds; ++i)
        const auto lock = co_await guard.lock();
}

coro::task<> semaphore_acquire(int rounds) {
    coro::semaphore slots(1);
    for (int i = 0; i < rounds; ++i)
        const auto permit = co_await slots.acquire();
}

coro::task<> when_all_of_two(int rounds) {
    for (int i = 0; i < rounds; ++i) {
        const auto [first, second] = co_await coro::when_all(leaf(1), leaf(2));
        use(first + second);
    }
}

coro::task<> when_any_of_two(int rounds) {
    for (int i = 0; i < rounds; ++i) {
        const auto first = co_await coro::when_any(leaf(1), leaf(2));
        use(static_cast<int>(first.index()));
    }
}

coro::task<> with_timeout(int rounds) {
    for (int i = 0; i < rounds; ++i)
        use(co_await coro::with_timeout(1s, leaf(1)));
}

coro::task<> sleep_and_timer(int rounds) {
    for (int i = 0; i < rounds; ++i)
        co_await coro::sleep_for(1ms);
}

coro::task<> fiber_yield(int rounds) {
    co_await coro::fiber([rounds] {
        for (int i = 0; i < rounds; ++i)
            coro::await(coro::yield());
    });
}

coro::task<> fiber_made_and_joined(int rounds) {
    for (int i = 0; i < rounds; ++i)
        use(co_await coro::fiber([] { return 1; }));
}

struct primitive {
    const char* name;
    coro::task<> (*run)(int rounds);
};
constexpr primitive primitives[] = {
    {"ready_await", ready_await},
    {"child_task", child_task},
    {"three_nested_tasks", three_nested_tasks},
    {"spawn_and_join", spawn_and_join},
    {"yield_alone", yield_alone},
    {"event_hand_over", event_hand_over},
    {"channel_hand_over", channel_hand_over},
    {"mutex_lock", mutex_lock},
    {"semaphore_acquire", semaphore_acquire},
    {"when_all_of_two", when_all_of_two},
    {"when_any_of_two", when_any_of_two},
    {"with_timeout", with_timeout},
    {"sleep_and_timer", sleep_and_timer},
    {"fiber_yield", fiber_yield},
    {"fiber_made_and_joined", fiber_made_and_joined},
};

coro::task<> run_all() {
    for (const primitive& each : primitives) {
        co_await each.run(few);  // pools and caches of frames are filled
        coro_baseline_mark();
        co_await each.run(few);
        coro_baseline_mark();
        co_await each.run(many);
        coro_baseline_mark();
        std::printf("%s %d\n", each.name, many - few);
    }
}

}  // namespace

int main() { return coro::run_main(run_all(), {.poller = coro::poller_choice::simulation}); }
