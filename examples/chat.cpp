// A chat room: per client a task that reads lines, and a channel with what the others say to it.
//
// Run:   build/debug/examples/chat                       (port 8087; 0: the kernel chooses one)
// Talk:  nc 127.0.0.1 8087, in several terminals
// See:   * your name, please
//        ann                                             (this you type)
//        * welcome, ann; others here: 1
//        bob: hello
//        * bob left
//        Who reads slowly slows down who speaks. Who takes nothing for a second while 64 lines wait
//        is put out (`* bob left: too slow`). A line of more than 1 KiB ends its connection. Ctrl-C
//        ends who waits for a line; what was said is delivered, for two seconds at most. The room
//        itself is in chat_room.hpp.
#include <coro/coro.hpp>

#include <chrono>
#include <cstdio>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "arguments.hpp"
#include "chat_room.hpp"
#include "printable.hpp"

using namespace std::chrono_literals;
using coro::net::tcp_stream;

constexpr std::size_t longest_line = 1024;

/// Waits for the client only: what has piled up meanwhile leaves in one send.
coro::task<> write_unread(tcp_stream& peer, member_handle me) {
    while (auto text = co_await me->unread.receive()) {
        while (const auto more = me->unread.try_receive()) *text += *more;
        co_await coro::net::write_all(peer, coro::as_bytes(*text));
    }
}

coro::task<> read_lines(tcp_stream& peer, const member_handle& me, room& all) {
    coro::net::buffered_stream in(peer, {.limit = longest_line});
    co_await me->unread.send("* your name, please\n");
    const auto name = co_await coro::until_stop(in.read_line());
    if (!name || !*name) co_return;  // a stop was requested, or it has gone already

    const std::string others = std::to_string(all.size());
    all.enter(me, printable(**name));
    co_await me->unread.send("* welcome, " + me->name + "; others here: " + others + "\n");
    for (;;) {
        const auto line = co_await coro::until_stop(in.read_line());
        if (!line || !*line) co_return;
        co_await all.say(me, printable(**line));
    }
}

/// Leaves the room at the end of its life, whatever brought it: then the writer ends too.
struct seat {
    ~seat() { all.leave(who, "left"); }
    room& all;
    member_handle who;
};

coro::task<> chat_with(tcp_stream peer, room& all) {
    co_await coro::with_task_group([&](coro::task_group& tasks) -> coro::task<> {
        const seat mine{all, std::make_shared<member>(tasks)};
        tasks.spawn({.name = "writer"}, write_unread, std::ref(peer), mine.who);
        co_await read_lines(peer, mine.who, all);
    });
}

coro::task<> serve_chat(coro::net::endpoint where) {
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    room all;
    const auto handler = [&all](tcp_stream peer) -> coro::task<> {
        co_await chat_with(std::move(peer), all);
    };
    co_await coro::serve(listener, handler,
                         {.limits = {.connections = 1'000,
                                     .first_byte = 1h,
                                     .idle = 1h,
                                     .drain = 2s}});
}

int main(int argc, char** argv) {
    arguments given(argc, argv, "chat [PORT]");
    const auto where = coro::net::endpoint::loopback(given.port_to_listen("PORT", 8087));
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, BUFSIZ);  // each line at once, also into a pipe
    return coro::run_main(serve_chat(where), {.drain = 3s});
}
