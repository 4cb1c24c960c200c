// TCP streams and listeners as programs use them, the same in all three worlds.
#include <csignal>
#include <random>

#include "kernel_queues.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class tcp_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, tcp_test, ::testing::ValuesIn(all_worlds()), parameter_name);

// --- bytes

task<> echo_server(net::tcp_listener& listener, task_group& group) {
    for (;;) group.spawn(echo, co_await listener.accept());
}

task<> send_pattern(net::tcp_stream& to, std::size_t from, std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    for (std::size_t sent = 0; sent < size;) {
        const std::size_t part = std::min<std::size_t>(size - sent, 1 + random() % 9000);
        const std::vector<std::byte> bytes = pattern_bytes(from + sent, part);
        co_await net::write_all(to, const_bytes(bytes));
        sent += part;
    }
    to.shutdown_send();
}

task<> echo_client(net::endpoint where, unsigned number) {
    constexpr std::size_t size = 60'000;
    const std::size_t offset = number * 1009;  // each connection has a pattern of its own
    net::tcp_stream stream = co_await net::tcp_stream::connect(where);
    std::size_t got = 0;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(send_pattern, std::ref(stream), offset, size, number);
        std::array<std::byte, 3000> into{};
        while (const std::size_t n = co_await stream.read_some(mutable_bytes(into))) {
            EXPECT_EQ(first_difference(into.data(), n, offset + got), n) << "at byte " << got;
            got += n;
        }
    };
    co_await with_task_group(body);
    EXPECT_EQ(got, size);
}

TEST_P(tcp_test, echoes_64_connections_byte_by_byte) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto servers = [&](task_group& group) -> task<> {
            group.spawn(echo_server, std::ref(listener), std::ref(group));
            const auto clients = [&](task_group& inner) -> task<> {
                for (unsigned i = 0; i < 64; ++i)
                    inner.spawn(echo_client, listener.local_endpoint(), i);
                co_return;
            };
            co_await with_task_group(clients);
            group.cancel();
        };
        co_await with_task_group(servers);
    };
    in_world(body);
}

TEST_P(tcp_test, vectored_transfers_keep_the_order_of_their_buffers) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const std::string text = "abcdefghijklmnopqrstuvwxyz";
        std::vector<const_bytes> out;
        for (std::size_t i = 0; i < 20; ++i) out.push_back(as_bytes(text).subspan(i, 1));
        const std::size_t sent =
            co_await pair.near.write_some(std::span<const const_bytes>(out));
        EXPECT_EQ(sent, net::most_slices) << "the first most_slices buffers";
        std::string first(3, '.');
        std::string second(5, '.');
        std::string third(100, '.');
        const std::array<mutable_bytes, 3> in{std::as_writable_bytes(std::span(first)),
                                              std::as_writable_bytes(std::span(second)),
                                              std::as_writable_bytes(std::span(third))};
        std::size_t got = 0;
        got += co_await pair.far.read_some(std::span<const mutable_bytes>(in));
        EXPECT_EQ(got, 16u);
        EXPECT_EQ(first, "abc");
        EXPECT_EQ(second, "defgh");
        EXPECT_EQ(third.substr(0, 8), "ijklmnop");
    };
    in_world(body);
}

TEST_P(tcp_test, a_lease_holds_what_came_and_no_more_than_asked_for) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "0123456789");
        const std::uint64_t leases = current_loop_stats().leases;
        net::read_lease lease = co_await pair.near.read_leased(4);
        EXPECT_EQ(as_text(lease.bytes()), "0123");
        net::read_lease moved = std::move(lease);
        EXPECT_TRUE(lease.empty());  // NOLINT(bugprone-use-after-move): promised
        EXPECT_EQ(as_text(moved.bytes()), "0123");
        EXPECT_EQ(current_loop_stats().leases, leases + 1);
        moved = co_await pair.near.read_leased();
        EXPECT_EQ(as_text(moved.bytes()), "456789");
        EXPECT_EQ(current_loop_stats().leases, leases + 1);
        pair.far.shutdown_send();
        moved = co_await pair.near.read_leased();
        EXPECT_TRUE(moved.empty());
        EXPECT_EQ(current_loop_stats().leases, leases);
    };
    in_world(body);
}

TEST_P(tcp_test, reading_into_nothing_is_zero) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "x");
        const std::size_t n = co_await pair.near.read_some(mutable_bytes());
        EXPECT_EQ(n, 0u);
        co_await hear(pair.near, "x");
    };
    in_world(body);
}

/// On a connection on which nothing comes, and on one that cannot take a byte more.
TEST_P(tcp_test, what_asks_for_no_byte_ends_at_once) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        const std::array<std::byte, 65536> much{};
        for (bool room = true; room;) {
            const auto some = co_await move_on_after(duration::zero(), pair.near.write_some(much));
            room = some.has_value();
        }
        const std::array<mutable_bytes, 2> into{};
        const std::array<const_bytes, 2> from{};
        EXPECT_EQ(co_await pair.near.read_some(mutable_bytes()), 0u);
        EXPECT_EQ(co_await pair.near.read_some(std::span<const mutable_bytes>()), 0u);
        EXPECT_EQ(co_await pair.near.read_some(into), 0u);
        const net::read_lease lease = co_await pair.near.read_leased(0);
        EXPECT_TRUE(lease.empty());
        co_await net::read_exact(pair.near, mutable_bytes());
        EXPECT_EQ(co_await pair.near.write_some(const_bytes()), 0u);
        EXPECT_EQ(co_await pair.near.write_some(std::span<const const_bytes>()), 0u);
        EXPECT_EQ(co_await pair.near.write_some(from), 0u);
        co_await net::write_all(pair.near, const_bytes());
        net::buffered_stream reader(pair.near);
        const std::size_t buffered = co_await reader.read_some(mutable_bytes());
        EXPECT_EQ(buffered, 0u);
        co_await reader.read_exact(mutable_bytes());
    };
    in_world(body);
}

TEST_P(tcp_test, a_lease_of_at_most_nothing_is_empty_and_lends_nothing) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "x");
        co_await sleep_for(1ms);
        const net::read_lease lease = co_await pair.near.read_leased(0);
        EXPECT_TRUE(lease.empty());
        EXPECT_EQ(current_loop_stats().leases, 0u);
        co_await hear(pair.near, "x");
    };
    in_world(body);
}

TEST_P(tcp_test, more_connections_are_busy_at_once_than_the_pool_has_buffers) {
    const auto body = [&]() -> task<> {
        std::vector<stream_pair> pairs(700);
        std::vector<net::read_lease> held;
        for (stream_pair& pair : pairs) {
            co_await pair.open();
            co_await say(pair.far, "x");
        }
        for (stream_pair& pair : pairs) held.push_back(co_await pair.near.read_leased());
        for (const net::read_lease& lease : held) EXPECT_EQ(lease.size(), 1u);
    };
    in_world(body);
}

// --- exact transfers

TEST_P(tcp_test, read_exact_says_how_much_had_come_when_the_stream_ends) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "seven b");
        pair.far.shutdown_send();
        std::array<std::byte, 10> into{};
        const auto ended = co_await as_result(net::read_exact(pair.near, mutable_bytes(into)));
        EXPECT_FALSE(ended.has_value());
        EXPECT_EQ(ended.error().code(), errc::end_of_stream);
        EXPECT_EQ(ended.error().bytes_transferred(), 7u);
        EXPECT_EQ(ended.error().endpoint(), pair.far.local_endpoint().to_string());
        EXPECT_TRUE(pair.near.is_broken());
        const auto later = co_await as_result(net::read_exact(pair.near, mutable_bytes(into)));
        EXPECT_EQ(later.error().code(), errc::broken);
        const auto written = co_await as_result(net::write_all(pair.near, as_bytes("x")));
        EXPECT_TRUE(written.has_value()) << "the other direction still works";
    };
    in_world(body);
}

TEST_P(tcp_test, a_cancelled_read_exact_says_how_much_had_come) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "abc");
        do co_await sleep_for(1ms);
        while (!is_acknowledged(pair.far));
        std::array<std::byte, 10> into{};
        std::size_t moved = 99;
        const auto reading = [&]() -> task<> {
            try {
                co_await net::read_exact(pair.near, mutable_bytes(into));
            } catch (const cancelled& end) {
                moved = end.bytes_transferred();
                throw;
            }
        };
        const bool whole = co_await move_on_after(20ms, reading());
        EXPECT_FALSE(whole);
        EXPECT_EQ(moved, 3u);
        EXPECT_TRUE(pair.near.is_broken());
        // What comes later is still there for who reads without framing.
        co_await say(pair.far, "def");
        pair.far.shutdown_send();
        EXPECT_EQ(co_await read_to_end(pair.near), "def");
    };
    in_world(body);
}

TEST_P(tcp_test, an_exact_transfer_of_nothing_is_done_at_once) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await net::read_exact(pair.near, mutable_bytes());
        co_await net::write_all(pair.near, const_bytes());
        EXPECT_FALSE(pair.near.is_broken());
    };
    in_world(body);
}

// --- ends

TEST_P(tcp_test, after_a_half_close_the_other_direction_goes_on) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.near, "question");
        pair.near.shutdown_send();
        EXPECT_EQ(co_await read_to_end(pair.far), "question");
        co_await say(pair.far, "answer");
        pair.far.close();
        EXPECT_EQ(co_await read_to_end(pair.near), "answer");
    };
    in_world(body);
}

constexpr std::string_view refusal = "413 too large, and a reason that is long enough to be cut";

/// Refuses an upload early: replies after the first bytes and closes while the client still sends.
task<> refuse(net::tcp_stream peer) {
    std::array<std::byte, 512> into{};
    static_cast<void>(co_await peer.read_some(mutable_bytes(into)));
    co_await net::write_all(peer, as_bytes(refusal));
    co_await peer.close_gracefully();
}

task<> upload(net::endpoint where, int& replies) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(where);
    const std::vector<std::byte> bytes = pattern_bytes(0, 300'000);
    static_cast<void>(co_await as_result(net::write_all(stream, const_bytes(bytes))));
    stream.shutdown_send();
    const std::string reply = co_await read_to_end(stream);
    EXPECT_EQ(reply, refusal);
    ++replies;
}

TEST_P(tcp_test, who_uploads_reads_the_whole_early_refusal) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        int replies = 0;
        const auto serving = [&](task_group& group) -> task<> {
            for (int i = 0; i < 200; ++i)
                group.spawn(upload, listener.local_endpoint(), std::ref(replies));
            for (int i = 0; i < 200; ++i) group.spawn(refuse, co_await listener.accept());
        };
        co_await with_task_group(serving);
        EXPECT_EQ(replies, 200);
    };
    in_world(body);
}

TEST_P(tcp_test, writing_to_who_is_gone_is_an_error_and_no_signal) {
    struct sigaction before {};
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &plain, &before);
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        pair.far.close();
        std::error_code seen;
        while (!seen) {
            const auto written = co_await as_result(net::write_all(pair.near, as_bytes("x")));
            if (!written) seen = written.error().code();
            else co_await sleep_for(1ms);
        }
        EXPECT_TRUE(seen == std::errc::broken_pipe || seen == std::errc::connection_reset) << seen;
        const auto again = co_await as_result(pair.near.write_some(as_bytes("y")));
        EXPECT_FALSE(again.has_value());
    };
    in_world(body);
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_P(tcp_test, a_reset_is_told_apart_from_an_end) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        pair.reset_far();
        std::array<std::byte, 8> into{};
        const auto ended = co_await as_result(pair.near.read_some(mutable_bytes(into)));
        EXPECT_FALSE(ended.has_value());
        EXPECT_EQ(ended.error().code(), std::errc::connection_reset);
        EXPECT_STREQ(ended.error().operation(), "recv");
    };
    in_world(body);
}

// --- misuse, and the end of objects that are waited for

/// Ends with what the read ended with.
task<> read_into(net::tcp_stream& from, std::error_code& ended) {
    std::array<std::byte, 8> into{};
    const auto n = co_await as_result(from.read_some(mutable_bytes(into)));
    if (!n) ended = n.error().code();
}

TEST_P(tcp_test, a_second_reader_is_told_busy) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::error_code first;
        std::error_code second;
        const auto readers = [&](task_group& group) -> task<> {
            group.spawn(read_into, std::ref(pair.near), std::ref(first));
            co_await sleep_for(2ms);
            co_await read_into(pair.near, second);
            co_await say(pair.near, "one may write meanwhile");
            co_await say(pair.far, "x");
        };
        co_await with_task_group(readers);
        EXPECT_EQ(second, errc::busy);
        EXPECT_FALSE(first) << first;
    };
    in_world(body);
}

task<> write_much(net::tcp_stream& to, std::error_code& ended) {
    const std::vector<std::byte> bytes = pattern_bytes(0, 8'000'000);
    const auto written = co_await as_result(net::write_all(to, const_bytes(bytes)));
    if (!written) ended = written.error().code();
}

TEST_P(tcp_test, a_second_writer_is_told_busy) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        std::error_code first;
        const auto writers = [&](task_group& group) -> task<> {
            group.spawn(write_much, std::ref(pair.near), std::ref(first));
            co_await sleep_for(5ms);
            const auto second = co_await as_result(pair.near.write_some(as_bytes("x")));
            EXPECT_FALSE(second.has_value());
            if (!second) { EXPECT_EQ(second.error().code(), errc::busy); }
            pair.far.close();
        };
        co_await with_task_group(writers);
        EXPECT_TRUE(first) << "the peer is gone";
    };
    in_world(body);
}

TEST_P(tcp_test, closing_ends_what_others_wait_for) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        std::error_code reader;
        std::error_code writer;
        const auto waiting = [&](task_group& group) -> task<> {
            group.spawn(read_into, std::ref(pair.near), std::ref(reader));
            group.spawn(write_much, std::ref(pair.near), std::ref(writer));
            co_await sleep_for(5ms);
            pair.near.close();
        };
        co_await with_task_group(waiting);
        EXPECT_EQ(reader, errc::closed);
        EXPECT_EQ(writer, errc::closed);
    };
    in_world(body);
}

TEST_P(tcp_test, abort_is_a_reset_and_ends_what_others_wait_for) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        std::error_code reader;
        std::error_code writer;
        const auto waiting = [&](task_group& group) -> task<> {
            group.spawn(read_into, std::ref(pair.near), std::ref(reader));
            group.spawn(write_much, std::ref(pair.near), std::ref(writer));
            co_await sleep_for(5ms);
            pair.near.abort();
            EXPECT_FALSE(pair.near);
            pair.near.abort();
            pair.near.close();
        };
        co_await with_task_group(waiting);
        EXPECT_EQ(reader, errc::closed);
        EXPECT_EQ(writer, errc::closed);
        // What had come before is read still; then comes the reset, and no end.
        const auto rest = [&]() -> task<> { (void)co_await read_to_end(pair.far); };
        const auto ended = co_await as_result(rest());
        EXPECT_FALSE(ended.has_value()) << "a part was taken for the whole";
        EXPECT_EQ(ended.error().code(), std::errc::connection_reset);
    };
    in_world(body);
}

/// The stream is destroyed by its owner while a task that only borrowed it waits.
TEST_P(tcp_test, destroying_a_stream_ends_what_others_wait_for) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        auto owned = std::make_unique<net::tcp_stream>(std::move(pair.near));
        std::error_code reader;
        const auto waiting = [&](task_group& group) -> task<> {
            group.spawn(read_into, std::ref(*owned), std::ref(reader));
            co_await sleep_for(5ms);
            owned.reset();
        };
        co_await with_task_group(waiting);
        EXPECT_EQ(reader, errc::closed);
    };
    in_world(body);
}

TEST_P(tcp_test, a_moved_stream_goes_on_waiting) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::error_code reader = errc::busy;
        bool over = false;
        const auto waiting = [&](task_group& group) -> task<> {
            const auto reading = [](net::tcp_stream& from, std::error_code& ended,
                                    bool& at_end) -> task<> {
                co_await read_into(from, ended);
                at_end = true;
            };
            group.spawn(reading, std::ref(pair.near), std::ref(reader), std::ref(over));
            co_await sleep_for(5ms);
            net::tcp_stream moved = std::move(pair.near);
            EXPECT_FALSE(over);
            reader = {};
            co_await say(pair.far, "x");
            while (!over) co_await sleep_for(1ms);
        };
        co_await with_task_group(waiting);
        EXPECT_FALSE(reader) << reader;
    };
    in_world(body);
}

TEST_P(tcp_test, a_stream_without_a_connection_is_closed) {
    const auto body = [&]() -> task<> {
        net::tcp_stream none;
        std::error_code ended;
        co_await read_into(none, ended);
        EXPECT_EQ(ended, errc::closed);
        EXPECT_THROW(none.shutdown_send(), io_error);
        EXPECT_THROW(static_cast<void>(none.remote_endpoint()), io_error);
        co_await none.close_gracefully();
        none.close();
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
