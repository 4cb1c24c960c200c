// stream::has_input(): what waits on a stream, seen without reading.
#include <coro/net/stream.hpp>

#include <array>
#include <cstdint>
#include <memory>
#include <string_view>
#include <utility>

#include <coro/core/when_all.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/net/transport.hpp>
#include <coro/runtime/timeout.hpp>

#include "runtime/make_poller.hpp"
#include "stream_pair.hpp"
#include "support/forwarding_poller.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

static_assert(noexcept(std::declval<const stream&>().has_input()));

/// Hands reads to the stream below if there is one. What it does not override is asked here.
class plain final : public transport {
public:
    explicit plain(stream below = {}) : below_(std::move(below)) {
        if (below_) asking_ = std::make_unique<relay>(*this, below_);
    }
    void submit(transfer what) noexcept override { asking_->forward(what); }
    void cancel(transfer) noexcept override { asking_->cancel(); }
    void shutdown_send() override {}
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return 0; }
    std::string_view describe() const noexcept override { return "plain"; }

private:
    stream below_;
    std::unique_ptr<relay> asking_;
};

TEST(stream_input_test, a_stream_without_a_connection_has_input) {
    with_pair([](stream_pair& pair) -> task<> {
        EXPECT_TRUE(stream().has_input()) << "a read of it does not wait";
        const tcp_stream moved = std::move(pair.client);
        EXPECT_TRUE(pair.client.has_input());
        EXPECT_FALSE(moved.has_input());
        pair.server.close();
        EXPECT_TRUE(pair.server.has_input());
        co_return;
    });
}

TEST(stream_input_test, sees_bytes_the_end_and_a_reset_of_a_socket) {
    with_pair([](stream_pair& pair) -> task<> {
        co_await send_text(pair.client, "ab");
        co_await sleep_for(1ms);
        EXPECT_TRUE(pair.server.has_input());
        EXPECT_EQ(co_await receive_exactly(pair.server, 2), "ab");
        EXPECT_FALSE(pair.server.has_input());
        pair.client.shutdown_send();
        co_await sleep_for(1ms);
        EXPECT_TRUE(pair.server.has_input());
        EXPECT_FALSE(pair.client.has_input());
        pair.server.abort();
        co_await sleep_for(1ms);
        EXPECT_TRUE(pair.client.has_input());
    });
}

TEST(stream_input_test, sees_bytes_the_end_and_a_reset_in_memory) {
    with_pair([](stream_pair&) -> task<> {
        auto [near, far] = memory_stream::pair();
        EXPECT_FALSE(near.has_input());
        co_await write_all(far, as_bytes("ab"));
        EXPECT_TRUE(near.has_input());
        EXPECT_FALSE(far.has_input());
        std::array<std::byte, 2> into{};
        co_await read_exact(near, into);
        EXPECT_FALSE(near.has_input());
        far.shutdown_send();
        EXPECT_TRUE(near.has_input());
        near.abort();
        EXPECT_TRUE(far.has_input());
        EXPECT_TRUE(near.has_input());
    });
}

TEST(stream_input_test, a_pending_read_counts_as_input_until_it_has_ended) {
    with_pair([](stream_pair& pair) -> task<> {
        auto [near, far] = memory_stream::pair();
        for (stream* each : {static_cast<stream*>(&pair.server), static_cast<stream*>(&near)}) {
            const auto read = [](stream& from) -> task<> {
                std::array<std::byte, 2> into{};
                EXPECT_FALSE(from.has_input());
                co_await move_on_after(1ms, from.read_some(into));
                EXPECT_FALSE(from.has_input());
            };
            const auto look = [](stream& at) -> task<> {
                co_await next_turn();
                EXPECT_TRUE(at.has_input());
            };
            co_await when_all(read(*each), look(*each));
        }
        static_cast<void>(far);
    });
}

TEST(stream_input_test, a_transport_asks_what_is_below_or_says_true) {
    with_pair([](stream_pair& pair) -> task<> {
        EXPECT_TRUE(stream(std::make_unique<plain>()).has_input()) << "it knows nothing of itself";
        stream over(std::make_unique<plain>(std::move(pair.server)));
        EXPECT_FALSE(over.has_input());
        co_await send_text(pair.client, "x");
        co_await sleep_for(1ms);
        EXPECT_TRUE(over.has_input());
        std::array<std::byte, 1> into{};
        co_await read_exact(over, into);
        EXPECT_FALSE(over.has_input());
        over.close();
        EXPECT_TRUE(over.has_input());
    });
}

/// A poller that cannot ask the kernel.
class blind final : public detail::forwarding_poller {
public:
    using forwarding_poller::forwarding_poller;
    int has_input(detail::handle, bool&) noexcept override { return -ENOMEM; }
};

TEST(stream_input_test, what_cannot_be_asked_is_not_taken_for_quiet) {
    detail::wrap_poller = [](std::unique_ptr<detail::poller> world)
        -> std::unique_ptr<detail::poller> { return std::make_unique<blind>(std::move(world)); };
    with_pair([](stream_pair& pair) -> task<> {
        EXPECT_TRUE(pair.server.has_input());
        co_return;
    });
    detail::wrap_poller = nullptr;
}

}  // namespace
}  // namespace coro::net::stream_tests
