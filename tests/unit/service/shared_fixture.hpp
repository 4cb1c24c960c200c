// What the tests of shared_connection have in common: a codec, a server that can go away and come
// back, and what a request came to.
#pragma once

#include <charconv>
#include <functional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <coro/base/error.hpp>
#include <coro/core/as_result.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/tcp.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/service/shared_connection.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test::sharing {

using coro::task;
namespace net = coro::net;

/// `number\n` there, `number\n` back. The request "bad" cannot be encoded, the reply "bad" cannot
/// be read.
struct numbers {
    using request = int;
    using reply = int;
    static constexpr int not_to_encode = -1;

    static void encode(int what, std::string& to) {
        to += std::to_string(what);
        if (what == not_to_encode) throw std::invalid_argument("no number of a request");
        to += '\n';
    }
    static task<int> read(net::buffered_stream& from) {
        std::string_view line = co_await from.read_until("\n");
        line.remove_suffix(1);
        int value = 0;
        if (std::from_chars(line.data(), line.data() + line.size(), value).ec != std::errc())
            throw std::runtime_error("not a number: " + std::string(line));
        co_return value;
    }
};
static_assert(coro::exchange_codec<numbers>);
using connection = coro::shared_connection<numbers>;

/// What a server of the tests does with a request: the bytes of its reply.
using answer = std::function<task<std::string>(int)>;

inline task<std::string> echo(int number) { co_return std::to_string(number) + "\n"; }

/// A server on one port that can go away and come back. Notes what it got, and answers one request
/// after the other.
class server {
public:
    explicit server(answer how = echo) : how_(std::move(how)) {}

    void open() { listener_ = net::tcp_listener::bind(where()); }
    void close() { listener_.close(); }
    static net::endpoint where() { return net::endpoint::loopback(7000); }

    task<> run() {
        open();
        co_await serve_open();
    }
    /// Until it is closed.
    task<> serve_open() {
        co_await coro::with_task_group([this](coro::task_group& group) -> task<> {
            for (;;) {
                auto next = co_await coro::as_result(listener_.accept());
                if (!next) break;
                ++accepted;
                group.spawn(&server::handle, this, std::move(*next));
            }
            group.cancel();
        });
    }

    std::vector<int> got;
    int accepted = 0;

private:
    task<> handle(net::tcp_stream peer) {
        net::buffered_stream in(peer);
        try {
            while (auto line = co_await in.read_line()) {
                const int number = std::stoi(std::string(*line));
                got.push_back(number);
                const std::string reply = co_await how_(number);
                if (reply.empty()) co_return;  // it dies
                co_await net::write_all(peer, coro::as_bytes(reply));
            }
        } catch (const coro::io_error&) {
            // The client has gone.
        }
    }

    net::tcp_listener listener_;
    answer how_;
};

inline auto connector() {
    return [] { return net::tcp_stream::connect(server::where()); };
}

/// Runs `body` with a connection to `peer`, which serves meanwhile.
template <typename Body>
void with_server(server& peer, const coro::shared_connection_options& options, Body body,
                 std::uint64_t seed = 0, coro::sim::options network = {}) {
    coro::run(
        [](server& of, coro::shared_connection_options how, Body& inside) -> task<> {
            of.open();
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                group.spawn(of.serve_open());
                co_await coro::with_shared_connection<numbers>(connector(), how, inside);
                of.close();
            });
        }(peer, options, body),
        {.poller = coro::poller_choice::simulation, .simulation = network, .seed = seed});
}

/// What a request came to: its reply, or the error.
struct outcome {
    int reply = 0;
    std::string error;
    std::error_code code;
    bool was_cancelled = false;
    coro::time_point at{};
};

inline task<> ask(connection& of, int number, outcome& into) {
    try {
        into.reply = co_await of.request(number);
    } catch (const coro::io_error& error) {
        into.error = error.what();
        into.code = error.code();
    } catch (const std::exception& error) {
        into.error = error.what();
    } catch (const coro::cancelled&) {
        into.was_cancelled = true;
        into.at = coro::now();
        throw;
    }
    into.at = coro::now();
}

}  // namespace coro_test::sharing
