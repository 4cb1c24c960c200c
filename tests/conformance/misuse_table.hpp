// What the tables of misuse share: rows, and places at which a program goes wrong.
#pragma once

#include <array>
#include <atomic>
#include <csignal>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/coro.hpp>

// Not in coro: frames of that namespace are the library's own.
namespace misuse_tests {
using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_listener;
using coro::net::tcp_stream;
using coro::task;

/// What a sentence says of the place.
enum class says : std::uint8_t {
    the_await,   ///< that line, and no other
    or_later,    ///< the latest await, or what came after it
    the_line,    ///< the call itself, in the task or outside of any
    no_task,     ///< outside of any task
    no_await,    ///< a fiber that has not awaited yet
};

struct misuse {
    const char* name;
    const char* sentence;
    says place;
    void (*program)();
};
inline std::string name_of(const testing::TestParamInfo<misuse>& info) { return info.param.name; }

// --- where it happens

using task_body = task<> (*)();

/// Runs `body` as the child "culprit" of main, on the poller of the environment.
inline void in_task(task_body body, unsigned loops = 1) {
    const auto main = [](task_body inner) -> task<> {
        const auto children = [&](coro::task_group& group) -> task<> {
            group.spawn({.name = "culprit"}, inner);
            co_return;
        };
        co_await coro::with_task_group(children);
    };
    coro::run(main(body), {.loops = loops});
}

inline void in_fiber(void (*body)()) {
    const auto main = [](void (*inner)()) -> task<> {
        const auto children = [&](coro::task_group& group) -> task<> {
            group.spawn_fiber({.name = "culprit"}, inner);
            co_return;
        };
        co_await coro::with_task_group(children);
    };
    coro::run(main(body));
}

/// Has `touch` touch `object`, which was made on loop 0, on loop 1.
template <typename Object>
task<> elsewhere(Object& object, task<> (*touch)(Object& object)) {
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn({.name = "culprit", .loop = 1}, touch, std::ref(object));
        co_return;
    };
    co_await coro::with_task_group(children);
}
template <typename Object>
void in_another_loop(task<> (*main)(task<> (*touch)(Object& object)),
                     task<> (*touch)(Object& object)) {
    coro::run(main(touch), {.loops = 2});
}

/// Lets `wait` begin beside the task, destroys `object`, and goes no further.
template <typename Object>
task<> destroy_under(std::optional<Object>& object, task<> (*wait)(Object& object)) {
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn(wait, std::ref(*object));
        co_await coro::yield();
        co_await coro::yield();
        object.reset();
    };
    co_await coro::with_task_group(children);
}

struct stream_pair {
    tcp_listener listener = tcp_listener::bind(endpoint::loopback(0));
    std::optional<tcp_stream> near, far;

    task<> open() {
        const endpoint where = listener.local_endpoint();
        tcp_stream client = co_await tcp_stream::connect(where);
        tcp_stream server = co_await listener.accept();
        near.emplace(std::move(client));
        far.emplace(std::move(server));
    }
};

/// Another loop sets an event that ends before the message of that arrives.
inline task<> destroy_under_a_message() {
    std::optional<coro::event> gate(std::in_place);
    std::atomic<bool> set = false;
    const auto setter = [](coro::event& of, std::atomic<bool>& done) -> task<> {
        of.set();
        done = true;
        co_return;
    };
    const auto children = [&](coro::task_group& group) -> task<> {
        group.spawn({.loop = 1}, setter, std::ref(*gate), std::ref(set));
        while (!set) std::this_thread::yield();
        gate.reset();
        co_return;
    };
    co_await coro::with_task_group(children);
}

inline task<int> one() { co_return 1; }
inline task<> nothing() { co_return; }
inline coro::const_bytes bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

/// Runs the program of a row in a process of its own, and compares what it says in the end.
class misuse_place_death_test : public testing::TestWithParam<misuse> {
protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};

}  // namespace misuse_tests
