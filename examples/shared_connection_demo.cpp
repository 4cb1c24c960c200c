// Tasks that share a connection are served one after another, however concurrent they are.
//
// Run:   build/debug/examples/shared_connection_demo                (port 8086; it takes 8 s)
//        build/debug/examples/shared_connection_demo --speed 10     (a second takes 0.1 s)
//        CORO_POLLER=simulation build/debug/examples/shared_connection_demo     (takes no time)
// See:   Two runs, each a log and a picture with a lane per connection. Each connection is served
//        serially, and A456 takes 3 s. First A789 shares connection A with it and waits, while B456
//        on B is not held up. Then each task has a connection, and A789 is answered at once.
#include <coro/coro.hpp>

#include <cstdio>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "arguments.hpp"
#include "framed_connection.hpp"
#include "lanes.hpp"
#include "printable.hpp"

using coro::net::endpoint, coro::net::tcp_stream;
constexpr coro::duration none = coro::duration::max();

/// What a task of the client does: at this second it sends this text on this connection.
struct errand {
    double second;
    const char* connection;
    const char* text;
};
using plan = std::vector<errand>;
const plan shared = {{0, "A", "A123"}, {1, "A", "A456"}, {1, "B", "B456"}, {2, "A", "A789"}};
const plan alone = {{0, "1", "A123"}, {1, "2", "A456"}, {1, "3", "B456"}, {2, "4", "A789"}};

coro::task<> serve_serially(tcp_stream peer, stage& show) {
    const std::string who = peer.remote_endpoint().to_string();
    framed_connection client(std::move(peer));
    for (;;) {
        const auto message = co_await coro::until_stop(client.messages.read());
        if (!message || !*message) break;  // who does not leave does not hold up the end
        show.received(who, printable(coro::as_text(**message)));
        if (coro::as_text(**message) == "A456") co_await show.sleep(3);
        co_await client.messages.write(**message);
    }
    co_await client.messages.flush();
}

/// TCP does not say whose reply is whose. Replies come in the order of the messages, the lock is
/// granted in the order in which tasks begin to wait: so each reads the reply to its own message.
coro::task<> ask(framed_connection& server, errand task, stage& show) {
    co_await show.until(task.second);
    show.sent(task.connection, task.text);
    co_await server.messages.write(coro::as_bytes(task.text));
    const auto my_turn = co_await server.replies.lock();
    const auto reply = co_await server.messages.read();
    if (!reply) throw coro::io_error(coro::errc::end_of_stream, "read reply", task.text);
    show.answered(task.connection, printable(coro::as_text(*reply)));
}

coro::task<> run_tasks(const plan& tasks, endpoint server, stage& show) {
    std::map<std::string, framed_connection> connections;
    for (const errand& task : tasks) {
        if (connections.contains(task.connection)) continue;
        tcp_stream stream = co_await tcp_stream::connect(server);
        connections.try_emplace(task.connection, std::move(stream));
    }
    show.start_clock();
    std::vector<coro::task<>> side_by_side;
    for (const errand& task : tasks)
        side_by_side.push_back(ask(connections.at(task.connection), task, show));
    co_await coro::when_all(std::move(side_by_side));
}

/// Server and clients in one program: the server stops when the clients have ended.
coro::task<> run_once(const plan& tasks, endpoint where, stage& show) {
    auto listener = coro::net::tcp_listener::bind(where);
    show.begin(listener.local_endpoint());
    const auto handler = [&](tcp_stream peer) -> coro::task<> {
        co_await serve_serially(std::move(peer), show);
    };
    co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
        group.spawn(coro::serve(listener, handler, {.limits = {.first_byte = none, .idle = none}}));
        co_await run_tasks(tasks, listener.local_endpoint(), show);
        group.request_stop();
    });
    show.end();
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "shared_connection_demo [PORT] [--speed FACTOR]");
    const double speed = given.number("--speed", 1, 0.001, 1000);
    const auto where = endpoint::loopback(given.port_to_listen("PORT", 8086));
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each line as it happens, also into a pipe
    stage first("three tasks share connection A: they are served one after another", speed);
    stage second("each task has a connection of its own: nobody waits for another", speed);
    const int code = coro::run_main(run_once(shared, where, first));
    if (!first.is_over()) return code;  // Ctrl-C ends the program and not only the first run
    return coro::run_main(run_once(alone, where, second));
}
