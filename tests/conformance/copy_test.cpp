// copy and proxy in all worlds: every byte, once, in order, whoever stalls; and the kernel's way.
#include <coro/net/copy.hpp>

#include <sys/resource.h>
#include <unistd.h>

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
    [[nodiscard]] std::size_t much() const { return simulated() || sanitized ? mib : 32 * mib; }
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

task<> expect_both_ways(two_connections& through, std::size_t size, net::copy_options how) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(send_pattern, std::ref(through.client.far), size, 1u);
        group.spawn(send_pattern, std::ref(through.server.far), size / 2, 2u);
        group.spawn(expect_pattern, std::ref(through.server.far), size, 3u);
        group.spawn(expect_pattern, std::ref(through.client.far), size / 2, 4u);
        const net::proxied moved = co_await net::proxy(through.first(), through.second(), how);
        EXPECT_EQ(moved.to_second, size);
        EXPECT_EQ(moved.to_first, size / 2);
    };
    co_await with_task_group(body);
}

TEST_P(copy_test, a_proxy_passes_on_every_byte_whoever_stalls) {
    for (const bool splices : {true, false}) {
        for (const bool narrow : {false, true}) {
            const auto body = [&]() -> task<> {
                two_connections through;
                co_await through.open(narrow);
                co_await expect_both_ways(through, narrow ? mib : much(), {.splices = splices});
            };
            in_world(body);
        }
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
    struct ::sigaction before {};
    struct ::sigaction deadly {};
    deadly.sa_handler = SIG_DFL;
    ::sigaction(SIGPIPE, &deadly, &before);
    const auto body = [&]() -> task<> {
        for (const bool splices : {true, false}) {
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
                    net::proxy(through.first(), through.second(), {.splices = splices}));
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
        }
    };
    in_world(body);
    sigset_t waiting;
    ::sigpending(&waiting);
    EXPECT_EQ(::sigismember(&waiting, SIGPIPE), 0);
    ::sigaction(SIGPIPE, &before, nullptr);
}

TEST_P(copy_test, a_second_reader_or_writer_is_busy) {
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
        for (const bool splices : {true, false}) {
            two_connections through;
            co_await through.open(true);
            const auto sends = [&]() -> task<> {
                (void)co_await as_result(send_pattern(through.client.far, 16 * mib, 1u));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(std::ref(sends));
                const auto ended = co_await move_on_after(
                    200ms, net::copy(through.first(), through.second(), {.splices = splices}));
                EXPECT_FALSE(ended.has_value());
                EXPECT_TRUE(through.second().is_broken());
                EXPECT_TRUE(through.second().was_interrupted());
                through.first().abort();
            };
            co_await with_task_group(in_group);
        }
    };
    in_world(body);
}

TEST_P(copy_test, a_stop_ends_it_where_that_is_asked_for) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        const auto copies = [&]() -> task<> {
            const std::uint64_t moved = co_await net::copy(through.first(), through.second(),
                                                           {.ends_at_stop = true});
            EXPECT_EQ(moved, 5u);
            through.second().shutdown_send();
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(std::ref(copies));
            co_await net::write_all(through.client.far, as_bytes("hello"));
            std::array<std::byte, 5> into{};
            co_await net::read_exact(through.server.far, mutable_bytes(into));
            group.request_stop();
        };
        co_await with_task_group(in_group);
        const std::string rest = co_await read_to_end(through.server.far);
        EXPECT_EQ(rest, "");
    };
    in_world(body);
}

class kernel_copy_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, kernel_copy_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Two descriptors more are the pipe.
TEST_P(kernel_copy_test, a_pipe_is_there_while_much_comes_at_once) {
    constexpr std::size_t size = 100 * 1024;
    for (const bool splices : {true, false}) {
        const auto body = [&]() -> task<> {
            two_connections through;
            co_await through.open();
            std::vector<std::byte> into(size);
            const auto pass = [&](std::size_t bytes) -> task<> {
                const std::vector<std::byte> text = pattern_bytes(0, bytes);
                co_await net::write_all(through.client.far, const_bytes(text));
                co_await net::read_exact(through.server.far, mutable_bytes(into).first(bytes));
            };
            const std::vector<std::byte> text = pattern_bytes(0, size);
            co_await net::write_all(through.client.far, const_bytes(text));
            while (through.first().activity() < size) co_await sleep_for(1ms);
            const std::size_t alone = open_descriptors();
            const auto copies = [&]() -> task<> {
                co_await net::copy(through.first(), through.second(), {.splices = splices});
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(std::ref(copies));
                co_await net::read_exact(through.server.far, mutable_bytes(into));
                EXPECT_EQ(open_descriptors(), alone + (splices ? 2 : 0));
                // Each that comes whole is hardly worth the pipe.
                do {
                    co_await pass(17 * 1024);
                } while (open_descriptors() != alone);
                through.client.far.shutdown_send();
            };
            co_await with_task_group(in_group);
        };
        in_world(body);
    }
}

/// Then it copies as if it had not been asked to splice.
TEST_P(kernel_copy_test, without_descriptors_for_a_pipe_it_copies) {
    const auto body = [&]() -> task<> {
        two_connections through;
        co_await through.open();
        std::vector<int> taken;
        for (int each = ::dup(0); each >= 0; each = ::dup(0)) taken.push_back(each);
        co_await expect_both_ways(through, mib, {});
        for (const int each : taken) ::close(each);
    };
    rlimit before{};
    ::getrlimit(RLIMIT_NOFILE, &before);
    rlimit low = before;
    low.rlim_cur = 200;
    ::setrlimit(RLIMIT_NOFILE, &low);
    in_world(body);
    ::setrlimit(RLIMIT_NOFILE, &before);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
