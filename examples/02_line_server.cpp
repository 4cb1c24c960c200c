// A small store of keys and values that speaks lines: one task per connection, one shared table.
//
// Run:   build/debug/examples/02_line_server 7000        (0: the kernel chooses a port)
// Talk:  nc 127.0.0.1 7000, and type: set colour green | get colour | get taste | quit
// See:   `listening 127.0.0.1:7000`; nc answers: ok | green | unknown key | bye
//        A line of more than 1 KiB ends the connection with `line too long`. Ctrl-C ends those who
//        wait for a line; answers have up to two seconds; a second Ctrl-C ends it at once.
#include <coro/coro.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <map>
#include <optional>
#include <string>
#include <string_view>

using namespace std::chrono_literals;

/// Tasks of one loop never run at the same time, so what is not held over a co_await needs no lock.
using table = std::map<std::string, std::string, std::less<>>;
constexpr std::size_t most_keys = 1000;
constexpr std::size_t longest_line = 1024;

/// Cuts off the first word and drops the blank behind it.
std::string_view cut_word(std::string_view& text) {
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(std::min(text.size(), word.size() + 1));
    return word;
}

std::string answer(std::string_view line, table& store) {
    const std::string_view command = cut_word(line);
    const std::string key(cut_word(line));
    if (command == "get") {
        const auto found = store.find(key);
        return found == store.end() ? "unknown key\n" : found->second + "\n";
    }
    if (command == "set" && !key.empty()) {
        if (store.size() >= most_keys && !store.contains(key)) return "no room\n";
        store.insert_or_assign(key, std::string(line));
        return "ok\n";
    }
    if (command == "quit") return "bye\n";
    return "say: set KEY VALUE, get KEY, quit\n";
}

coro::task<> talk(coro::net::tcp_stream& peer, table& store) {
    coro::net::buffered_stream in(peer, {.limit = longest_line});
    coro::net::buffered_writer out(peer);  // what is written in one turn leaves in one send
    bool more = true;
    while (more) {
        const auto line = co_await coro::as_result(coro::until_stop(in.read_line()));
        if (!line.has_value()) {
            const coro::io_error& error = line.error();
            if (error != coro::errc::limit_exceeded) throw coro::io_error(error);
            co_await out.write(coro::as_bytes("line too long\n"));
            break;
        }
        const std::optional<std::string_view> text = (*line).value_or(std::nullopt);
        if (!text) break;  // a stop was requested, or the end of the stream
        more = *text != "quit";
        const std::string reply = answer(*text, store);
        co_await out.write(coro::as_bytes(reply));
    }
    co_await out.flush();
}

coro::task<> serve_table(const char* port) {
    const auto where = coro::net::endpoint::parse(std::string("127.0.0.1:") + port).value();
    auto listener = coro::net::tcp_listener::bind(where);
    std::printf("listening %s\n", listener.local_endpoint().to_string().c_str());
    std::fflush(stdout);

    table store;
    const auto handler = [&store](coro::net::tcp_stream peer) -> coro::task<> {
        co_await talk(peer, store);
        co_await peer.close_gracefully(1s);  // the peer gets to read the last line in any case
    };
    co_await coro::serve(listener, handler,
                         {.limits = {.connections = 1'000,
                                     .first_byte = 60s,
                                     .idle = 60s,
                                     .drain = 2s}});
}

int main(int argc, char** argv) {
    return coro::run_main(serve_table(argc > 1 ? argv[1] : "7000"), {.drain = 3s});
}
