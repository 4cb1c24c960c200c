// What sanitizers do not see in a library that was built without them: switches between stacks, and
// what one thread hands to another. tests/install/sanitizers_test.py builds this in many ways; a
// sanitizer that reports anything ends it with another status.
//
//     main ok|race|overflow|frame|shift|leak    all is well; or a planted mistake, which must be
//                                               found
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <numeric>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using coro::task;

// ---- fibers: deep use of the stack, exceptions, stacks used again ------------------------------

/// Touches a few KiB in each frame, waits at the bottom, and throws from there if asked to.
static int descend(int depth, bool fails) {
    std::array<char, 512> frame{};
    frame.fill(static_cast<char>(depth));
    if (depth == 0) {
        coro::await(coro::yield());
        if (fails) throw std::runtime_error("the bottom");
        return 0;
    }
    const int below = descend(depth - 1, fails);
    return below + (frame[static_cast<std::size_t>(depth)] == static_cast<char>(depth) ? 1 : 0);
}

static void climb(int& sum, bool fails) {
    try {
        sum += descend(40, fails);
    } catch (const std::runtime_error&) {
        coro::await(coro::sleep_for(1us));  // while the exception is being handled
        sum += 1;
    }
}

static task<> fibers() {
    int sum = 0;
    for (int round = 0; round < 3; ++round) {
        const auto children = [&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 8; ++i)
                group.spawn_fiber({.name = "climber"}, climb, std::ref(sum), i % 2 == 1);
            co_return;
        };
        co_await coro::with_task_group(children);
    }
    const auto outer = [] {
        coro::local_task_group group;
        int inside = 0;
        group.spawn_fiber([&inside] { climb(inside, false); });
        group.join();
        return inside;
    };
    const int inside = co_await coro::fiber(outer);
    std::printf("fibers: %d %d\n", sum, inside);
}

// ---- what crosses from one thread to another: plain data, ordered by the library alone ---------

static task<> add(std::vector<int>& into, int value) {
    into.push_back(value);
    co_await coro::yield();
    into.push_back(value);
}

static task<> fill(coro::channel<std::string>& into) {
    for (int i = 0; i < 50; ++i) co_await into.send(std::string(40, 'x'));
    into.close();
}

static task<> lock_and_add(coro::mutex& guard, std::vector<int>& into) {
    for (int i = 0; i < 20; ++i) {
        const auto held = co_await guard.lock();
        into.push_back(i);
    }
}

static task<> loops() {
    std::vector<int> numbers{1};
    const auto first = [&](coro::task_group& group) -> task<> {
        group.spawn({.name = "adder", .loop = 1}, add, std::ref(numbers), 2);
        co_return;
    };
    co_await coro::with_task_group(first);  // its end orders what follows
    numbers.push_back(3);

    coro::channel<std::string> queue(4);
    coro::mutex guard;
    std::size_t bytes = 0;
    const auto second = [&](coro::task_group& group) -> task<> {
        group.spawn({.loop = 1}, fill, std::ref(queue));
        group.spawn({.loop = 1}, lock_and_add, std::ref(guard), std::ref(numbers));
        group.spawn({.loop = 0}, lock_and_add, std::ref(guard), std::ref(numbers));
        while (const auto text = co_await queue.receive()) bytes += text->size();
    };
    co_await coro::with_task_group(second);
    std::printf("loops: %zu %zu\n", numbers.size(), bytes);
}

static task<int> sum_of(std::vector<int>& numbers) {
    numbers.push_back(3);
    co_return std::accumulate(numbers.begin(), numbers.end(), 0);
}

static task<> threads() {
    std::vector<int> numbers{1, 2};
    const auto grow = [&numbers] {
        numbers.push_back(3);
        return std::string(100, 'y');
    };
    const std::string text = co_await coro::blocking(grow);
    numbers.push_back(4);

    // Left behind while it runs or waits: its memory goes on whichever thread is last.
    for (int i = 0; i < 20; ++i) {
        const auto slow = [big = std::vector<int>(100, i)] {
            std::this_thread::sleep_for(2ms);
            return big.size();
        };
        static_cast<void>(co_await coro::move_on_after(1ms, coro::blocking(slow)));
    }

    const coro::loop_handle loop = coro::loop_handle::of_this_loop();
    coro::event posted;
    std::vector<int> other_numbers;
    int sum = 0;
    std::thread other([&] {
        other_numbers.push_back(1);
        loop.post([&] {
            other_numbers.push_back(2);
            posted.set();
        });
        std::vector<int> mine{1, 2};
        sum = coro::sync_wait(loop, sum_of(mine));
        mine.push_back(sum);
    });
    co_await posted.wait();
    other_numbers.push_back(3);
    co_await coro::blocking([&other] { other.join(); });
    std::printf("threads: %zu %zu %zu %d\n", numbers.size(), text.size(), other_numbers.size(),
                sum);
}

// ---- a server on both loops --------------------------------------------------------------------

static task<> echo(coro::net::tcp_stream peer) {
    coro::net::buffered_stream in(peer);
    coro::net::buffered_writer out(peer);
    while (const auto line = co_await in.read_line()) {
        co_await out.write(coro::as_bytes(*line));
        co_await out.write(coro::as_bytes("\n"));
    }
    co_await out.flush();
}

static task<> converse(coro::net::endpoint where, int& answers) {
    auto peer = co_await coro::net::tcp_stream::connect(where);
    coro::net::buffered_stream in(peer);
    for (int i = 0; i < 5; ++i) {
        co_await coro::net::write_all(peer, coro::as_bytes("a line\n"));
        const auto line = co_await in.read_line();
        if (line && *line == "a line") ++answers;
    }
}

static task<> network() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    const coro::net::endpoint where = listener.local_endpoint();
    int answers = 0;
    const auto body = [&](coro::task_group& server) -> task<> {
        const auto serve = [](coro::net::tcp_listener& on) -> task<> {
            co_await coro::serve(on, echo);
        };
        server.spawn(serve, std::ref(listener));
        const auto clients = [&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 8; ++i) group.spawn(converse, where, std::ref(answers));
            co_return;
        };
        co_await coro::with_task_group(clients);
        server.cancel();
    };
    co_await coro::with_task_group(body);
    std::printf("network: %d\n", answers);
}

static task<> everything() {
    co_await fibers();
    co_await loops();
    co_await threads();
    co_await network();
    std::printf("end\n");
}

// ---- planted mistakes: what the sanitizer must still see ---------------------------------------

static task<> racing(int& shared) {
    for (int i = 0; i < 1000; ++i) {
        ++shared;
        co_await coro::yield();
    }
}

static task<> race() {
    int shared = 0;
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn({.loop = 0}, racing, std::ref(shared));
        group.spawn({.loop = 1}, racing, std::ref(shared));
        co_return;
    };
    co_await coro::with_task_group(children);
    std::printf("%d\n", shared);
}

static task<> overflow() {
    const auto beyond = [] {
        std::array<char, 16> text{};
        volatile std::size_t end = 16;
        coro::await(coro::yield());
        text.data()[end] = 'x';
        return static_cast<int>(text[0]);
    };
    const int first = co_await coro::fiber(beyond);
    std::printf("%d\n", first);
}

static task<> keep(int*& out) {
    int local = 7;
    out = &local;
    co_await coro::yield();
}

static task<> frame() {
    int* dangling = nullptr;
    co_await keep(dangling);
    std::printf("%d\n", *dangling);
}

static task<> shift() {
    volatile int places = 40;
    co_await coro::yield();
    std::printf("%d\n", 1 << places);
}

static task<> leak() {
    std::vector<std::string*> texts{new std::string(100, 'x')};
    co_await coro::yield();
    std::printf("%zu\n", texts.size());
}

int main(int argc, char** argv) {
    const std::string which = argc > 1 ? argv[1] : "ok";
    const coro::run_options options{.loops = 2};
    if (which == "race") return coro::run_main(race(), options);
    if (which == "overflow") return coro::run_main(overflow(), options);
    if (which == "frame") return coro::run_main(frame(), options);
    if (which == "shift") return coro::run_main(shift(), options);
    if (which == "leak") return coro::run_main(leak(), options);
    return coro::run_main(everything(), options);
}
