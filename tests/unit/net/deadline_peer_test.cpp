// The error of a deadline that ends a read, a write, a flush or a connect names the peer.
#include <array>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/net/connection.hpp>
#include <coro/net/framed_stream.hpp>
#include <coro/net/local.hpp>
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
task<std::string> named_by(task<> work, coro::duration limit = 1s) {
    try {
        co_await coro::with_timeout(limit, std::move(work));
    } catch (const coro::io_error& error) {
        EXPECT_EQ(error.code(), coro::errc::deadline_exceeded);
        EXPECT_NE(std::string(error.what()).find("with_timeout of "), std::string::npos);
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

TEST_F(deadline_peer_test, a_flush_and_a_write_that_wait_for_room_do_too) {
    std::vector<std::string> named;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair({.capacity = 16});
        const std::vector<std::byte> much(90);
        net::buffered_writer out(ends.first, {.limit = 100});
        const auto some = [&]() -> task<> { co_await out.write(much); };
        const auto flush = [&]() -> task<> { co_await out.flush(); };
        co_await some();
        named.push_back(co_await named_by(flush()));
        named.push_back(co_await named_by(some()));  // which finds no room
        ends.second.close();
    };
    simulate(body());
    EXPECT_EQ(named, std::vector<std::string>(2, "memory"));
}

TEST_F(deadline_peer_test, a_connect_names_whom_it_wants_to_reach) {
    const net::endpoint far = net::endpoint::parse("192.0.2.1:80").value();
    const net::local_address name = net::local_address::abstract("deadline-peer");
    std::vector<std::string> named;
    const auto body = [&]() -> task<> {
        net::local_listener full = net::local_listener::bind(name, {.backlog = 0});
        const net::local_stream waits_there = co_await net::local_stream::connect(name);
        const auto tcp = [&]() -> task<> { (void)co_await net::tcp_stream::connect(far); };
        const auto local = [&]() -> task<> { (void)co_await net::local_stream::connect(name); };
        for (const coro::duration limit : {coro::duration(1s), coro::duration(0)}) {
            named.push_back(co_await named_by(tcp(), limit));
            named.push_back(co_await named_by(local(), limit));
        }
    };
    coro::run_options slow;
    slow.poller = coro::poller_choice::simulation;
    slow.simulation.latency = 1h;
    coro::run(body(), slow);
    const std::string tcp = "192.0.2.1:80";
    const std::string local = name.to_string();
    EXPECT_EQ(named, (std::vector<std::string>{tcp, local, tcp, local}));
}

TEST_F(deadline_peer_test, one_that_has_passed_before_the_wait_names_it_too) {
    std::vector<std::string> named;
    const auto body = [&]() -> task<> {
        auto ends = net::memory_stream::pair({.capacity = 1000});
        std::array<std::byte, 8> bytes{};
        const auto read = [&]() -> task<> { (void)co_await ends.first.read_some(bytes); };
        const auto exact = [&]() -> task<> { co_await net::read_exact(ends.first, bytes); };
        const auto all = [&]() -> task<> { co_await net::write_all(ends.first, bytes); };
        named.push_back(co_await named_by(read(), 0s));
        named.push_back(co_await named_by(exact(), 0s));
        named.push_back(co_await named_by(all(), 0s));
        net::connection over(std::move(ends.first));
        const auto line = [&]() -> task<> { (void)co_await over.in.read_line(); };
        const auto write = [&]() -> task<> { co_await over.out.write(bytes); };
        const auto flush = [&]() -> task<> { co_await over.out.flush(); };
        named.push_back(co_await named_by(line(), 0s));
        named.push_back(co_await named_by(write(), 0s));
        named.push_back(co_await named_by(flush(), 0s));
    };
    simulate(body());
    EXPECT_EQ(named, std::vector<std::string>(6, "memory"));
}

}  // namespace
}  // namespace coro_test
