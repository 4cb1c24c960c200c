// Fibers at the sockets, in all three worlds: every operation of streams, listeners, buffers and
// frames awaited by coro::await; ends by the peer, by a deadline, by cancellation.
#include <string>
#include <vector>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class fiber_streams_test : public world_test {
protected:
    /// Runs `body()` as a fiber in this world.
    template <typename Body>
    void in_fiber(Body& body) {
        const auto as_task = [&]() -> task<> { co_await fiber(std::ref(body)); };
        in_world(as_task);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, fiber_streams_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

void echo_fiber(net::tcp_stream peer) {
    while (const net::read_lease lease = await(peer.read_leased()))
        await(net::write_all(peer, lease.bytes()));
}

void client_fiber(net::endpoint where, unsigned number) {
    constexpr std::size_t size = 60'000;
    const std::size_t offset = number * 1009;
    auto stream = await(net::tcp_stream::connect(where));
    local_task_group group;
    group.spawn_fiber([&] {
        for (std::size_t sent = 0; sent < size; sent += 6000)
            await(net::write_all(stream, const_bytes(pattern_bytes(offset + sent, 6000))));
        stream.shutdown_send();
    });
    std::size_t got = 0;
    std::array<std::byte, 3000> into{};
    while (const std::size_t n = await(stream.read_some(mutable_bytes(into)))) {
        EXPECT_EQ(first_difference(into.data(), n, offset + got), n) << "at byte " << got;
        got += n;
    }
    group.join();
    EXPECT_EQ(got, size);
}

TEST_P(fiber_streams_test, echoes_32_connections_byte_by_byte) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        local_task_group servers;
        servers.spawn_fiber([&] {
            for (;;) servers.spawn_fiber({.name = "echo"}, echo_fiber, await(listener.accept()));
        });
        local_task_group clients;
        for (unsigned i = 0; i < 32; ++i)
            clients.spawn_fiber({.name = "client"}, client_fiber, listener.local_endpoint(), i);
        clients.join();
    };
    in_fiber(body);
}

TEST_P(fiber_streams_test, tasks_and_fibers_talk_to_each_other) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        local_task_group group;
        for (const bool as_task : {true, false}) {
            group.spawn_fiber(client_fiber, listener.local_endpoint(), 1u);
            auto peer = await(listener.accept());
            if (as_task) group.spawn(echo, std::move(peer));
            else group.spawn_fiber(echo_fiber, std::move(peer));
        }
        group.join();
    };
    in_fiber(body);
}

void bytes_of_streams(stream_pair& pair) {
    std::array<std::byte, 64> into{};
    EXPECT_EQ(await(pair.far.write_some(as_bytes("some"))), 4u);
    EXPECT_EQ(await(pair.near.read_some(mutable_bytes(into))), 4u);
    EXPECT_EQ(as_text(const_bytes(into).first(4)), "some");
    await(net::write_all(pair.far, as_bytes("leased")));
    {
        const net::read_lease lease = await(pair.near.read_leased());
        EXPECT_EQ(as_text(lease.bytes()), "leased");
    }
    await(net::write_all(pair.far, as_bytes("exact")));
    await(net::read_exact(pair.near, mutable_bytes(into).first(5)));
    EXPECT_EQ(as_text(const_bytes(into).first(5)), "exact");
}

void text_of_buffers(stream_pair& pair) {
    std::array<std::byte, 64> into{};
    net::buffered_stream in(pair.near);
    net::buffered_writer out(pair.far);
    await(out.write(as_bytes("line\nuntil;peekexact=8some")));
    await(out.flush());
    EXPECT_EQ(await(in.read_line()), "line");
    EXPECT_NE(await(in.read_until(";")).find("until"), std::string_view::npos);
    EXPECT_EQ(as_text(await(in.peek(4))), "peek");
    EXPECT_EQ(as_text(await(in.read_exact(4))), "peek");
    await(in.read_exact(mutable_bytes(into).first(7)));
    EXPECT_EQ(as_text(const_bytes(into).first(7)), "exact=8");
    EXPECT_EQ(await(in.read_some(mutable_bytes(into))), 4u);
    net::framed_stream messages(in, out);
    await(messages.write(as_bytes("a frame")));
    await(messages.flush());
    const auto frame = await(messages.read());
    ASSERT_TRUE(frame.has_value());
    EXPECT_EQ(as_text(*frame), "a frame");
}

TEST_P(fiber_streams_test, every_operation_of_a_stream_can_be_awaited) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        EXPECT_FALSE(await(listener.accept_if_waiting()).has_value());
        stream_pair pair;
        auto [near, far] = await(
            when_all(net::tcp_stream::connect(listener.local_endpoint()), listener.accept()));
        pair.near = std::move(near);
        pair.far = std::move(far);
        bytes_of_streams(pair);
        text_of_buffers(pair);
        local_task_group group;
        group.spawn_fiber([&] {
            EXPECT_FALSE(static_cast<bool>(await(pair.near.read_leased())));  // the end
            pair.near.close();
        });
        await(pair.far.close_gracefully());
        group.join();
    };
    in_fiber(body);
}

/// Waits in vain in each operation that can wait, under a deadline of its own.
TEST_P(fiber_streams_test, a_deadline_ends_every_wait_and_takes_nothing) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        stream_pair pair;
        await(pair.open(true));
        std::array<std::byte, 64> into{};
        net::buffered_stream in(pair.near);
        EXPECT_FALSE(await(move_on_after(3ms, listener.accept())).has_value());
        EXPECT_FALSE(await(move_on_after(3ms, pair.near.read_some(mutable_bytes(into)))));
        EXPECT_FALSE(await(move_on_after(3ms, pair.near.read_leased())).has_value());
        EXPECT_FALSE(await(move_on_after(3ms, in.read_line())).has_value());
        EXPECT_FALSE(await(move_on_after(3ms, in.peek(1))).has_value());
        const std::vector<std::byte> much(4 * 1024 * 1024);
        EXPECT_FALSE(await(move_on_after(3ms, net::write_all(pair.near, const_bytes(much)))));
        await(net::write_all(pair.far, as_bytes("line\n")));
        EXPECT_EQ(await(in.read_line()), "line");
    };
    in_fiber(body);
}

TEST_P(fiber_streams_test, cancellation_ends_every_wait) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        stream_pair pair;
        await(pair.open());
        int cancelled_waits = 0;
        const auto counted = [&cancelled_waits](auto wait) {
            try {
                wait();
            } catch (const cancelled&) {
                ++cancelled_waits;
                throw;
            }
        };
        std::array<std::byte, 64> into{};
        local_task_group group;
        group.spawn_fiber(counted, [&] { static_cast<void>(await(listener.accept())); });
        group.spawn_fiber(counted, [&] {
            static_cast<void>(await(pair.near.read_some(mutable_bytes(into))));
        });
        group.spawn_fiber(counted, [&] { static_cast<void>(await(pair.far.read_leased())); });
        await(sleep_for(3ms));
        group.cancel();
        group.join();
        EXPECT_EQ(cancelled_waits, 3);
        await(net::write_all(pair.far, as_bytes("x")));
        EXPECT_EQ(await(pair.near.read_some(mutable_bytes(into))), 1u);
    };
    in_fiber(body);
}

TEST_P(fiber_streams_test, a_reset_is_an_error_that_names_the_peer) {
    const auto body = [] {
        stream_pair pair;
        await(pair.open());
        pair.reset_far();
        std::array<std::byte, 1> into{};
        try {
            static_cast<void>(await(pair.near.read_some(mutable_bytes(into))));
            ADD_FAILURE() << "read from a connection that was reset";
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), std::errc::connection_reset);
            EXPECT_NE(error.endpoint(), "");
        }
    };
    in_fiber(body);
}

task<> handle(net::tcp_stream peer) { co_await fiber(echo_fiber, std::move(peer)); }

TEST_P(fiber_streams_test, serve_hands_connections_to_fibers) {
    const auto body = [] {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        local_task_group group;
        group.spawn([](net::tcp_listener& from) -> task<> {
            co_await serve(from, handle, {.limits = {.connections = 4}});
        }, std::ref(listener));
        local_task_group clients;
        for (unsigned i = 0; i < 8; ++i)
            clients.spawn_fiber(client_fiber, listener.local_endpoint(), i);
        clients.join();
        group.request_stop();
        group.join();
    };
    in_fiber(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
