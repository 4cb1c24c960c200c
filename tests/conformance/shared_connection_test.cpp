// shared_connection on real sockets: the protocol of Redis, callers on several loops of which some
// leave, and a server that goes away and comes back.
#include <atomic>
#include <charconv>

#include <coro/service/shared_connection.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class shared_connections : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, shared_connections, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// A part of RESP: a request is a line, a reply a string of a given length, as "$5\r\nhello\r\n".
struct bulk_codec {
    using request = std::string;
    using reply = std::string;
    static void encode(const request& what, std::string& to) { to += what + "\r\n"; }
    static task<reply> read(net::buffered_stream& from) {
        const std::string_view head = co_await from.read_until("\r\n");
        std::size_t size = 0;
        std::from_chars(head.data() + 1, head.data() + head.size(), size);
        if (head.front() != '$') throw std::runtime_error("no string: " + std::string(head));
        std::string value(as_text(co_await from.read_exact(size + 2)));
        value.resize(size);
        co_return value;
    }
};
using shared_bulk = shared_connection<bulk_codec>;

task<> reply_in_bulk(net::tcp_stream peer) {
    net::buffered_stream in(peer);
    std::string out;
    while (auto line = co_await in.read_line()) {
        out = "$" + std::to_string(line->size()) + "\r\n";
        out.append(*line).append("\r\n");
        co_await net::write_all(peer, as_bytes(out));
    }
}

struct tally {
    std::atomic<int> right{0};
    std::atomic<int> foreign{0};
    std::atomic<int> left{0};
};

/// Asks again and again, each time for another text; every third time with little patience.
task<> ask_often(shared_bulk& shared, tally& seen, int caller) {
    for (int i = 0; i < 200; ++i) {
        const std::string text = std::to_string(caller) + "." + std::to_string(i);
        const duration patience =
            i % 3 == 0 ? duration(std::chrono::microseconds(i)) : duration(1min);
        const auto reply = co_await move_on_after(patience, shared.request(text));
        if (!reply) ++seen.left;
        else ++(*reply == text ? seen.right : seen.foreign);
    }
}

TEST_P(shared_connections, callers_on_all_loops_leave_and_nobody_gets_a_foreign_reply) {
    tally seen;
    shared_connection_stats counts;
    const auto main = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto around = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, reply_in_bulk));
            const auto connect = [&] { return net::tcp_stream::connect(where); };
            const auto body = [&](shared_bulk& shared) -> task<> {
                co_await with_task_group([&](task_group& callers) -> task<> {
                    for (int i = 0; i < 24; ++i)
                        callers.spawn({.loop = static_cast<unsigned>(i) % 3}, ask_often,
                                      std::ref(shared), std::ref(seen), i);
                    co_return;
                });
                const std::string last = co_await shared.request("last");
                EXPECT_EQ(last, "last");
                counts = shared.stats();
            };
            co_await with_shared_connection<bulk_codec>(connect, {}, body);
            group.cancel();
        };
        co_await with_task_group(around);
    };
    in_loops(3, main());
    EXPECT_EQ(seen.foreign.load(), 0);
    EXPECT_EQ(seen.right.load() + seen.left.load(), 24 * 200);
    EXPECT_GE(seen.right.load(), 24 * 133) << "the patient ones";
    EXPECT_EQ(counts.connections, 1u);
    EXPECT_EQ(counts.replies, counts.requests);
}

TEST_P(shared_connections, a_server_that_goes_away_and_comes_back) {
    const auto main = []() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::endpoint where = listener.local_endpoint();
        const auto connect = [&] { return net::tcp_stream::connect(where); };
        const auto body = [&](shared_bulk& shared) -> task<> {
            co_await with_task_group([&](task_group& group) -> task<> {
                group.spawn(serve(listener, reply_in_bulk));
                const std::string reply = co_await shared.request("first");
                EXPECT_EQ(reply, "first");
                group.cancel();
            });
            listener.close();
            const auto down = co_await as_result(shared.request("down"));
            EXPECT_FALSE(down);
            // At another port: somebody else may have taken that one.
            listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            where = listener.local_endpoint();
            co_await with_task_group([&](task_group& group) -> task<> {
                group.spawn(serve(listener, reply_in_bulk));
                for (;;) {  // in the pauses of the breaker requests fail at once
                    const auto reply = co_await as_result(shared.request("up"));
                    if (reply) {
                        EXPECT_EQ(*reply, "up");
                        break;
                    }
                    co_await sleep_for(10ms);
                }
                group.cancel();
            });
        };
        co_await with_shared_connection<bulk_codec>(connect, {}, body);
    };
    in_world(main);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
