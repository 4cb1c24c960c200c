// flags: -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor -Wold-style-cast -Wsign-conversion
// Every template of the library is instantiated, with all warnings that users switch on: none is
// about our headers.
#include <coro/coro.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace {

using namespace std::chrono_literals;
using coro::task;

task<int> one() { co_return 1; }
task<> nothing() { co_return; }
task<std::unique_ptr<int>> box() { co_return std::make_unique<int>(1); }
task<int&> reference(int& to) { co_return to; }

task<> tasks() {
    int place = 0;
    int& same = co_await reference(place);
    const std::unique_ptr<int> boxed = co_await box();
    const auto [a, b, c] = co_await coro::when_all(one(), nothing(), box());
    std::vector<task<int>> many;
    many.push_back(one());
    const std::vector<int> all = co_await coro::when_all(std::move(many));
    auto first = co_await coro::when_any(one(), coro::sleep_for(1ms));
    std::vector<task<int>> racing;
    racing.push_back(one());
    auto winner = co_await coro::when_any(std::move(racing));
    static_cast<void>(winner.get(winner.index()));
    static_cast<void>(first.index());
    const coro::result<int> quiet = co_await coro::as_result(one());
    const coro::result<void> silent = co_await coro::as_result(nothing());
    static_cast<void>(quiet.has_value() && silent.has_value());
    static_cast<void>(same);
    static_cast<void>(a + static_cast<int>(all.size()) + (boxed && c ? 1 : 0));
    static_cast<void>(b);
}

task<> time() {
    co_await coro::yield();
    co_await coro::sleep_until(coro::now() + 1ms);
    static_cast<void>(co_await coro::with_timeout(1s, one()));
    static_cast<void>(co_await coro::with_deadline(coro::now() + 1s, one()));
    static_cast<void>(co_await coro::move_on_after(1s, one()));
    co_await coro::shield(nothing(), 1s);
    co_await coro::with_cleanup(nothing(), nothing());
    co_await coro::with_cancel_scope([](coro::cancel_scope& scope) -> task<> {
        scope.request_stop();
        co_return;
    });
}

task<> child(int value, std::string& text) {
    text += std::to_string(value);
    co_return;
}

task<> groups() {
    std::string text;
    const auto body = [&](coro::task_group& group) -> task<> {
        group.spawn(nothing());
        group.spawn({.name = "child"}, child, 1, std::ref(text));
        group.spawn_fiber([](std::string& into) { into += coro::await(one()) ? "x" : "y"; },
                          std::ref(text));
        co_return;
    };
    co_await coro::with_task_group(body);
    const auto deep = [] {
        coro::local_task_group group;
        group.spawn_fiber([] { coro::await(coro::yield()); });
        group.join();
    };
    co_await coro::fiber(deep);
    const int called = co_await coro::blocking([](int value) { return value + 1; }, 1);
    static_cast<void>(called);
}

task<> synchronisation() {
    coro::event gate;
    gate.set();
    co_await gate.wait();
    coro::mutex guard;
    {
        const auto held = co_await guard.lock();
        static_cast<void>(held);
    }
    coro::semaphore slots(2);
    {
        const auto held = co_await slots.acquire();
        static_cast<void>(held);
    }
    coro::channel<std::string> queue(1);
    const std::string kept = "kept";
    co_await queue.send(kept);
    static_cast<void>(co_await queue.receive());
    static_cast<void>(queue.try_send(std::string("moved")));
    static_cast<void>(queue.try_receive());
    queue.close();
}

task<> echo(coro::net::tcp_stream peer) {
    coro::net::buffered_stream in(peer);
    coro::net::buffered_writer out(peer);
    coro::net::framed_stream messages(in, out);
    while (const auto line = co_await in.read_line()) co_await out.write(coro::as_bytes(*line));
    static_cast<void>(co_await in.read_until("\n"));
    static_cast<void>(co_await in.read_exact(4));
    static_cast<void>(co_await in.peek(1));
    co_await out.flush();
    const std::optional<coro::const_bytes> frame = co_await messages.read();
    if (frame) co_await messages.write(*frame);
}

task<> network() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    auto peer = co_await coro::net::tcp_stream::connect(listener.local_endpoint());
    std::array<std::byte, 4> bytes{};
    static_cast<void>(co_await peer.read_some(bytes));
    static_cast<void>(co_await peer.write_some(bytes));
    co_await coro::net::write_all(peer, bytes);
    co_await coro::net::read_exact(peer, bytes);
    const auto lease = co_await peer.read_leased();
    static_cast<void>(lease.size());
    co_await coro::serve(listener, echo, {.limits = {.connections = 1}});
}

/// An awaitable of another library.
struct foreign {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return 1; }
};

task<> everything() {
    static_cast<void>(co_await foreign{});
    const coro::loop_handle loop = coro::loop_handle::of_this_loop();
    loop.post([] {});
    std::thread other([loop] { static_cast<void>(coro::sync_wait(loop, one())); });
    other.detach();
    co_await tasks();
    co_await time();
    co_await groups();
    co_await synchronisation();
    co_await network();
    static_cast<void>(coro::dump_tasks());
}

}  // namespace

int main() { return coro::run_main(everything(), {.seed = 2}); }
