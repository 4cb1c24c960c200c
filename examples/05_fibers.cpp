// Fibers: plain functions that wait in the middle of what they do. An echo server without a
// coroutine in the connection's code, beside tasks that await fibers and fibers that await tasks.
//
// Run:   build/debug/examples/05_fibers
// See:   a task that awaits a fiber that awaits a task; an echo between fibers; a parser whose
//        functions wait for characters; a destructor that waits in spite of the cancellation.
//        It takes a tenth of a second and ends with 0.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <string>

using namespace std::chrono_literals;

coro::task<int> task_of(int value) {
    co_await coro::sleep_for(10ms);
    co_return value;
}
int fiber_of(int value) { return 2 * coro::await(task_of(value)); }

// A server: one fiber per connection.
void echo(coro::net::tcp_stream peer) {
    while (const auto lease = coro::await(peer.read_leased()))
        coro::await(coro::net::write_all(peer, lease.bytes()));
}

void client(coro::net::endpoint where, std::string text) {
    auto peer = coro::await(coro::net::tcp_stream::connect(where));
    coro::await(coro::net::write_all(peer, coro::as_bytes(text)));
    std::string answer(text.size(), '\0');
    coro::await(coro::net::read_exact(peer, std::as_writable_bytes(std::span(answer))));
    std::printf("echoed: %s\n", answer.c_str());
}

void echo_between_fibers() {
    auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
    coro::local_task_group connections;  // ends with this function, and its fibers with it
    for (const char* const text : {"hello", "world"}) {
        connections.spawn_fiber({.name = "client"}, client, listener.local_endpoint(), text);
        connections.spawn_fiber({.name = "echo"}, echo, coro::await(listener.accept()));
        coro::await(coro::sleep_for(10ms));
    }
    connections.join();
}

// Recursive descent: each function may wait for the next character.
char next(coro::channel<char>& from) { return coro::await(from.receive()).value_or('\0'); }

int product(coro::channel<char>& from, char& last) {
    int value = next(from) - '0';
    while ((last = next(from)) == '*') value *= next(from) - '0';
    return value;
}

int sum(coro::channel<char>& from) {
    char last = '+';
    int value = 0;
    while (last == '+') value += product(from, last);
    return value;
}

void parse(const std::string& text) {
    coro::channel<char> characters(1);
    coro::local_task_group group;
    group.spawn_fiber([&] {
        for (const char each : text) coro::await(characters.send(each));
        characters.close();
    });
    std::printf("3 + 4 * 5 = %d\n", sum(characters));
}

struct polite {
    ~polite() {
        coro::await(coro::sleep_for(10ms));  // shielded, for at most 5 s
        std::printf("said bye in spite of the cancellation\n");
    }
};

void patient() {
    const polite local;
    coro::await(coro::sleep_for(1h));
}

int main() {
    return coro::run_main([]() -> coro::task<> {
        std::printf("== a fiber and a task\n");
        const int answer = co_await coro::fiber(fiber_of, 21);
        std::printf("the task awaited a fiber, which awaited a task: %d\n", answer);
        std::printf("== echo between fibers\n");
        co_await coro::fiber(echo_between_fibers);
        std::printf("== a parser that waits wherever it is\n");
        co_await coro::fiber(parse, "3+4*5");
        std::printf("== clean-up\n");
        (void)co_await coro::move_on_after(20ms, coro::fiber(patient));
    }());
}
