// What an await returns, as the first line of each docstring says it.
#include <coro/coro.hpp>

#include <array>
#include <concepts>
#include <optional>
#include <string_view>
#include <tuple>
#include <vector>

using namespace std::chrono_literals;
using coro::task;

task<int> number();
task<> nothing();

task<> streams(coro::net::tcp_listener& listener, coro::net::local_listener& near_by,
               coro::net::buffered_stream& in,
               coro::net::framed_stream& framed) {
    std::same_as<coro::net::tcp_stream> auto peer = co_await listener.accept();
    std::same_as<std::optional<coro::net::tcp_stream>> auto waiting =
        co_await listener.accept_if_waiting();
    std::same_as<coro::net::local_stream> auto local = co_await near_by.accept();
    std::same_as<std::optional<coro::net::local_stream>> auto local_waiting =
        co_await near_by.accept_if_waiting();
    (void)local, (void)local_waiting;
    std::array<std::byte, 8> room{};
    std::same_as<std::size_t> auto count = co_await peer.read_some(room);
    std::same_as<std::size_t> auto sent = co_await peer.write_some(room);
    std::same_as<coro::net::read_lease> auto lease = co_await peer.read_leased();
    std::same_as<std::size_t> auto some = co_await in.read_some(room);
    std::same_as<coro::const_bytes> auto exact = co_await in.read_exact(4);
    std::same_as<coro::const_bytes> auto ahead = co_await in.peek(1);
    std::same_as<std::string_view> auto until = co_await in.read_until("\n");
    std::same_as<std::optional<std::string_view>> auto line = co_await in.read_line();
    std::same_as<std::optional<coro::const_bytes>> auto frame = co_await framed.read();
    (void)waiting, (void)count, (void)sent, (void)lease, (void)some, (void)exact, (void)ahead;
    (void)until, (void)line, (void)frame;
}

task<> waits(coro::mutex& guard, coro::semaphore& slots, coro::channel<int>& queue,
             coro::signal_set& signals) {
    std::same_as<coro::mutex::scoped_lock> auto lock = co_await guard.lock();
    std::same_as<coro::semaphore::permit> auto permit = co_await slots.acquire();
    std::same_as<std::optional<int>> auto item = co_await queue.receive();
    std::same_as<int> auto signal = co_await signals.next();
    (void)lock, (void)permit, (void)item, (void)signal;
}

task<> combinators() {
    std::same_as<int> auto limited = co_await coro::with_timeout(1s, number());
    std::same_as<std::optional<int>> auto moved_on = co_await coro::move_on_after(1s, number());
    std::same_as<bool> auto in_time = co_await coro::move_on_after(1s, nothing());
    std::same_as<coro::result<int>> auto result = co_await coro::as_result(number());
    std::same_as<std::tuple<int, std::monostate>> auto all =
        co_await coro::when_all(number(), nothing());
    std::vector<task<int>> tasks;
    std::same_as<std::vector<int>> auto values = co_await coro::when_all(std::move(tasks));
    const auto call = [] { return 'c'; };
    std::same_as<char> auto called = co_await coro::blocking(call);
    (void)limited, (void)moved_on, (void)in_time, (void)result, (void)all, (void)values;
    (void)called;
}
