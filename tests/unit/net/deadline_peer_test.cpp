// The error of a deadline that ends a read or a write names the peer.
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/framed_stream.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/net/stream_pair.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;
using net::stream_tests::connected_pair;

class deadline_peer_test : public core_test {};

/// The peer that the error of a deadline around `work` names.
task<std::string> named_by(task<> work) {
    try {
        co_await coro::with_timeout(1s, std::move(work));
    } catch (const coro::io_error& error) {
        EXPECT_EQ(error.code(), coro::errc::deadline_exceeded);
        EXPECT_NE(std::string(error.what()).find("with_timeout of 1 s at "), std::string::npos);
        co_return std::string(error.endpoint());
    }
    co_return "no error";
}

TEST_F(deadline_peer_test, each_read_names_what_it_reads_from) {
    std::vector<std::string> named;
    std::string peer;
    const auto body = [&]() -> task<> {
        auto pair = co_await connected_pair();
        peer = pair.client.remote_endpoint().to_string();
        std::array<std::byte, 8> into{};
        const auto some = [&]() -> task<> { (void)co_await pair.client.read_some(into); };
        const auto leased = [&]() -> task<> { (void)co_await pair.client.read_leased(); };
        const auto exact = [&]() -> task<> { co_await net::read_exact(pair.client, into); };
        named.push_back(co_await named_by(some()));
        named.push_back(co_await named_by(leased()));
        named.push_back(co_await named_by(exact()));
        net::connection over(std::move(pair.client));
        const auto line = [&]() -> task<> { (void)co_await over.in.read_line(); };
        named.push_back(co_await named_by(line()));
        net::framed_stream messages(std::move(over));
        const auto frame = [&]() -> task<> { (void)co_await messages.read(); };
        named.push_back(co_await named_by(frame()));
    };
    simulate(body());
    EXPECT_EQ(named, std::vector<std::string>(5, peer));
}

TEST_F(deadline_peer_test, writes_do_too_and_what_is_no_stream_names_nobody) {
    std::string of_a_write;
    std::string of_a_large_write;
    std::string of_a_sleep;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair({.capacity = 16});
        const std::vector<std::byte> much(1000);
        const auto all = [&]() -> task<> { co_await net::write_all(ends.first, much); };
        of_a_write = co_await named_by(all());
        auto others = net::memory_stream::pair({.capacity = 16});
        net::buffered_writer out(others.first, {.limit = 100});
        const auto large = [&]() -> task<> { co_await out.write(much); };
        of_a_large_write = co_await named_by(large());
        of_a_sleep = co_await named_by(sleep_task(1h));
    };
    simulate(body());
    EXPECT_EQ(of_a_write, "memory");
    EXPECT_EQ(of_a_large_write, "memory");
    EXPECT_EQ(of_a_sleep, "");
}

}  // namespace
}  // namespace coro_test
