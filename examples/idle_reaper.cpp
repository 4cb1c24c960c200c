// A line server that puts out clients which are silent, slow, or too many, and says why.
//
// Run:   build/debug/examples/idle_reaper             (port 8089; 0: the kernel chooses one)
//        build/debug/examples/idle_reaper 8089 --idle 5 --first 3 --header 4 --per-address 2
// Talk:  nc 127.0.0.1 8089, in several terminals; each line comes back
// See:   127.0.0.1:40000 connected
//        127.0.0.1:40000 ended: no byte at first       (say nothing for 3 s)
//        127.0.0.1:40000 ended: an unfinished line     (printf 'half a li', then wait)
//        127.0.0.1:40000 ended: silence                (say one line, then nothing for 5 s)
//        The third nc at once is refused with a line. Ctrl-C ends with 0 and prints the counts.
#include <coro/coro.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>

#include "arguments.hpp"

using coro::net::end_cause;

constexpr std::array<const char*, coro::net::end_causes> words{
    "by its client", "no byte at first", "an unfinished line", "silence", "its age", "its pace",
    "closed, not read", "room for others",
};
const char* word_of(end_cause why) { return words[static_cast<std::size_t>(why)]; }

/// A line has begun: its end must come within `header`, however the client drips.
coro::task<bool> answer_line(coro::net::connection& peer, coro::net::guarded& guard) {
    const auto first = co_await coro::until_stop(peer.in.read_exact(1));
    if (!first) co_return false;
    const auto unfinished = guard.header();
    std::string line(coro::as_text(*first));
    if (line != "\n") line += co_await peer.in.read_until("\n");
    if (!line.ends_with('\n')) line += '\n';
    co_await peer.out.write(coro::as_bytes(line));
    co_await peer.out.flush();
    co_return true;
}

coro::task<> handle(coro::net::tcp_stream stream, coro::net::guarded guard) {
    const std::string who = stream.remote_endpoint().to_string();
    std::printf("%s connected\n", who.c_str());
    coro::net::connection peer{coro::net::stream(std::move(stream))};
    try {
        while (co_await answer_line(peer, guard)) {}
    } catch (const coro::io_error&) {  // the end of the stream, in the middle of a line or not
    }
    std::printf("%s ended: %s\n", who.c_str(), word_of(guard.cause()));
}

/// At its end, however that comes.
struct summary {
    explicit summary(const coro::server_control& of) : control(of) {}
    summary(const summary&) = delete;
    summary& operator=(const summary&) = delete;
    ~summary() {
        const coro::server_stats seen = control.stats();
        std::printf("%llu served, %llu turned away\n",
                    static_cast<unsigned long long>(seen.accepted),
                    static_cast<unsigned long long>(seen.over_address));
        for (std::size_t i = 1; i < seen.ended.size(); ++i)
            if (seen.ended[i] != 0)
                std::printf("%llu ended: %s\n", static_cast<unsigned long long>(seen.ended[i]),
                            words[i]);
    }
    const coro::server_control& control;
};

coro::task<> serve(coro::net::endpoint where, coro::server_limits limits) {
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    coro::server_control control;
    const summary at_the_end(control);
    co_await coro::serve(listener, handle,
                         {.limits = limits,
                          .control = &control,
                          .refusal = "your address has enough connections\n"});
}

int main(int count, char** values) {
    arguments given(count, values,
                    "idle_reaper [PORT] [--idle S] [--first S] [--header S] [--per-address N]");
    using seconds = std::chrono::duration<double>;
    const auto span = [&](const char* name, double otherwise) {
        return coro::time_span(std::chrono::ceil<coro::duration>(
            seconds(given.number(name, otherwise, 0.001, 86400))));
    };
    coro::server_limits limits{.connections = 1'000, .limit_loopback = true};
    limits.idle = span("--idle", 60);
    limits.first_byte = span("--first", 10);
    limits.header = span("--header", 20);
    limits.per_address = given.count("--per-address", 100, 1, 1'000'000);
    limits.drain = std::chrono::seconds(1);
    const auto where = coro::net::endpoint::loopback(given.port_to_listen("PORT", 8089));
    given.end();
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    return coro::run_main(serve(where, limits), {.drain = std::chrono::milliseconds(1500)});
}
