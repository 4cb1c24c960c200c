// Five connections to gevent_server, and on each of them a random number every second.
//
// Run:   build/debug/examples/gevent_server &
//        build/debug/examples/random_sender              (port 8088, or that of the argument)
// See:   127.0.0.1:40000 sends 42
//        Five of these lines every second, and what the server says of them. Ctrl-C ends it with 0.
//        When the server goes away, or takes nothing for 5 s, that is one line on stderr and 1.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <random>
#include <string>

#include "arguments.hpp"

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

constexpr int connections = 5;
constexpr coro::duration every = 1s;
constexpr coro::duration patience = 5s;

int random_number() {
    static std::mt19937 generator{std::random_device{}()};
    return std::uniform_int_distribution(0, 100)(generator);
}

coro::task<> send_numbers(endpoint where) {
    tcp_stream server = co_await coro::with_timeout(patience, tcp_stream::connect(where));
    const std::string own = server.local_endpoint().to_string();
    for (coro::time_point next = coro::now();; next += every) {
        co_await coro::sleep_until(next);
        const std::string number = std::to_string(random_number());
        co_await coro::with_timeout(patience,
                                    coro::net::write_all(server, coro::as_bytes(number)));
        std::printf("%s sends %s\n", own.c_str(), number.c_str());
    }
}

/// The first connection that fails ends the others: the group cancels them and throws its error.
coro::task<> send_on_all(endpoint where) {
    coro::group_errors others;  // when the server goes away all fail; one line says it
    const auto body = [where](coro::task_group& group) -> coro::task<> {
        for (int i = 0; i < connections; ++i) group.spawn({.name = "sender"}, send_numbers, where);
        co_return;
    };
    co_await coro::with_task_group(body, {.further = &others});
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "random_sender [PORT]");
    const auto server = endpoint::loopback(given.port_to_connect("PORT", 8088));
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each line at once, also into a pipe
    return coro::run_main(send_on_all(server));
}
