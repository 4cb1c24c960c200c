// copy and proxy in all worlds: every byte, once, in order, whoever stalls.
#include <coro/net/copy.hpp>

#include <csignal>

#include <array>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <coro/net/memory_stream.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

constexpr std::size_t mib = std::size_t{1} << 20;

class copy_test : public world_test {
protected:
    /// What a kernel moves in a moment a simulation moves packet by packet.
    [[nodiscard]] std::size_t much() const { return simulated() || sanitized ? mib : 16 * mib; }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, copy_test, ::testing::ValuesIn(all_worlds()), parameter_name);

/// Two connections. What stands between their near ends is tested.
struct two_connections {
    task<> open(bool narrow = false) {
        co_await client.open(narrow);
        co_await server.open(narrow);
    }
    [[nodiscard]] net::tcp_stream& first() { return client.near; }
    [[nodiscard]] net::tcp_stream& second() { return server.near; }

    stream_pair client;
    stream_pair server;
};

/// Writes that much of the pattern in pieces of all sizes, with pauses, and ends the direction.
task<> send_pattern(net::stream& to, std::size_t size, std::uint32_t seed) {
    std::mt19937 random(seed);
    for (std::size_t sent = 0; sent < size;) {
        const std::size_t most = random() % 4 == 0 ? 4000 : 700'000;
        const std::size_t piece = std::min<std::size_t>(1 + random() % most, size - sent);
        const std::vector<std::byte> bytes = pattern_bytes(sent, piece);
        co_await net::write_all(to, const_bytes(bytes));
        sent += piece;
        if (random() % 4 == 0) co_await sleep_for(std::chrono::microseconds(random() % 2000));
    }
    to.shutdown_send();
}

/// Reads the pattern to its end, with pauses.
task<> expect_pattern(net::stream& from, std::size_t size, std::uint32_t seed) {
    std::mt19937 random(seed);
    std::vector<std::byte> into(256 * 1024);
    std::size_t got = 0;
    while (const std::size_t n = co_await from.read_some(mutable_bytes(into))) {
        EXPECT_EQ(first_difference(into.data(), n, got), n) << "after byte " << got;
        got += n;
        if (random() % 8 == 0) co_await sleep_for(std::chrono::microseconds(random() % 4000));
    }
    EXPECT_EQ(got, size);
}

task<> expect_both_ways(two_connections& through, std::size_t size) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(send_pattern, std::ref(through.client.far), size, 1u);
        group.spawn(send_pattern, std::ref(through.server.far), size / 2, 2u);
        group.spawn(expect_pattern, std::ref(through.server.far), size, 3u);
        group.spawn(expect_pattern, std::ref(through.client.far), size / 2, 4u);
        const net::proxied moved = co_await net::proxy(through.first(), through.second());
        EXPECT_EQ(moved.to_second, size);
        EXPECT_EQ(moved.to_first, size / 2);
    };
    co_await with_task_group(body);
}

TEST_P(copy_test, a_proxy_passes_on_every_byte_whoever_stalls) {
    for (const bool narrow : {false, true}) {
        const auto body = [&]() -> task<> {
            two_connections through;
            co_await through.open(narrow);
            co_await expect_both_ways(through, narrow ? mib : much());
        };
        in_world(body);
    }
}

TEST_P(copy_test, a_transport_is_copied_like_a_socket) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        auto ends = net::memory_stream::pair();
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(send_pattern, std::ref(through.client.far), mib, 1u);
            group.spawn(expect_pattern, std::ref(ends.second), mib, 2u);
            const std::uint64_t moved = co_await net::copy(through.first(), ends.first);
            EXPECT_EQ(moved, mib);
            ends.first.shutdown_send();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

TEST_P(copy_test, it_ends_after_at_most_so_many_bytes_and_leaves_the_rest) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        constexpr std::size_t limit = 300'001;
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(send_pattern, std::ref(through.client.far), mib, 1u);
            group.spawn(expect_pattern, std::ref(through.server.far), limit, 2u);
            const std::uint64_t moved =
                co_await net::copy(through.first(), through.second(), {.at_most = limit});
            EXPECT_EQ(moved, limit);
            const std::uint64_t none =
                co_await net::copy(through.first(), through.second(), {.at_most = 0});
            EXPECT_EQ(none, 0u);
            through.second().shutdown_send();
            const std::string rest = co_await read_to_end(through.first());
            const auto* bytes = reinterpret_cast<const std::byte*>(rest.data());
            EXPECT_EQ(rest.size(), mib - limit);
            EXPECT_EQ(first_difference(bytes, rest.size(), limit), rest.size());
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

TEST_P(copy_test, a_peer_that_resets_in_the_middle_is_an_error_and_no_signal) {
    const auto before = std::signal(SIGPIPE, SIG_DFL);  // which would end this program
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        const auto sends = [&]() -> task<> {
            const auto sent = co_await as_result(
                send_pattern(through.client.far, 64 * mib, 1u));
            EXPECT_FALSE(sent.has_value()) << "nobody has closed";
        };
        const auto reads_a_part = [&]() -> task<> {
            std::vector<std::byte> into(512 * 1024);
            (void)co_await through.server.far.read_some(mutable_bytes(into));
            through.server.reset_far();
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(sends));
            group.spawn(std::ref(reads_a_part));
            const auto ended = co_await as_result(
                net::proxy(through.first(), through.second()));
            EXPECT_FALSE(ended.has_value());
            if (!ended.has_value()) {
                const std::error_code why = ended.error().code();
                EXPECT_TRUE(why == std::errc::connection_reset ||
                            why == std::errc::broken_pipe)
                    << ended.error().what();
            }
            through.first().abort();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
    std::signal(SIGPIPE, before);
}

TEST_P(copy_test, a_second_reader_is_busy) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        const auto reads = [&]() -> task<> {
            const auto end = co_await as_result(read_to_end(through.first()));
            EXPECT_FALSE(end.has_value());
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(reads));
            co_await sleep_for(1ms);
            const auto ended =
                co_await as_result(net::copy(through.first(), through.second()));
            EXPECT_TRUE(!ended && ended.error().code() == errc::busy);
            through.first().close();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

TEST_P(copy_test, a_copy_that_is_cancelled_in_a_write_leaves_a_broken_stream) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open(true);
        const auto sends = [&]() -> task<> {
            (void)co_await as_result(send_pattern(through.client.far, 16 * mib, 1u));
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(sends));
            do {  // where it was cancelled in a read nothing is lost, and it goes on
                (void)co_await move_on_after(200ms,
                                             net::copy(through.first(), through.second()));
            } while (!through.second().is_broken());
            EXPECT_TRUE(through.second().was_interrupted());
            through.first().abort();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

TEST_P(copy_test, a_stop_ends_it_where_that_is_asked_for) {
    for (const std::size_t size : {std::size_t{5}, std::size_t{200'000}}) {
        const std::vector<std::byte> bytes = pattern_bytes(0, size);
        const auto body = [&]() -> task<> {
            two_connections through;
            co_await through.open();
            const auto copies = [&]() -> task<> {
                const std::uint64_t moved = co_await net::copy(through.first(), through.second(),
                                                               {.ends_at_stop = true});
                EXPECT_EQ(moved, size);
                through.second().shutdown_send();
            };
            const auto sends = [&]() -> task<> {
                co_await net::write_all(through.client.far, const_bytes(bytes));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(std::ref(copies));
                group.spawn(std::ref(sends));
                std::vector<std::byte> into(size);
                co_await net::read_exact(through.server.far, mutable_bytes(into));
                group.request_stop();
            };
            co_await with_task_group(in_group);
            const std::string rest = co_await read_to_end(through.server.far);
            EXPECT_EQ(rest, "");
        };
        in_world(body);
    }
}

TEST_P(copy_test, an_idle_copy_holds_no_lease) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        const auto copies = [&]() -> task<> {
            co_await net::copy(through.first(), through.second());
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(copies));
            co_await net::write_all(through.client.far, as_bytes("hello"));
            std::array<std::byte, 5> into{};
            co_await net::read_exact(through.server.far, mutable_bytes(into));
            while (current_loop_stats().leases != 0) co_await sleep_for(1ms);
            through.client.far.shutdown_send();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

TEST_P(copy_test, a_stream_that_is_copied_into_itself_echoes) {
    const auto body = [&]() -> task<> {
        stream_pair ends;
        co_await ends.open();
        const auto echoes = [&]() -> task<> {
            const std::uint64_t moved = co_await net::copy(ends.near, ends.near);
            EXPECT_EQ(moved, mib);
            ends.near.shutdown_send();
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(echoes));
            group.spawn(send_pattern, std::ref(ends.far), mib, 1u);
            co_await expect_pattern(ends.far, mib, 2u);
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
