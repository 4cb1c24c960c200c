// server_control in virtual time: a server is paused and goes on; and how a server ends.
#include <coro/service/server_control.hpp>

#include <array>
#include <functional>
#include <span>

#include <coro/core/when_all.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/service/server.hpp>

#include "unit/core/core_fixture.hpp"
#include "unit/service/server_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;
using server_tests::beside;
using server_tests::read_until_end;

class server_control_test : public core_test {};

TEST_F(server_control_test, a_server_that_is_paused_serves_those_it_has_and_accepts_none) {
    coro::server_control control;
    const auto echo = [](net::tcp_stream peer) -> task<> {
        std::array<std::byte, 64> into{};
        while (const std::size_t n = co_await peer.read_some(into))
            co_await net::write_all(peer, std::span(into).first(n));
    };
    const auto client = [&](net::endpoint where) -> task<> {
        const auto asked = [](net::tcp_stream& of) -> task<> {
            std::array<std::byte, 1> byte{};
            co_await net::write_all(of, byte);
            co_await net::read_exact(of, byte);
        };
        auto before = co_await net::tcp_stream::connect(where);
        co_await asked(before);
        for (int round = 0; round < 3; ++round) {
            control.pause_accepting();
            control.pause_accepting();
            EXPECT_TRUE(control.is_paused());
            co_await coro::sleep_for(1ms);
            auto waiting = co_await net::tcp_stream::connect(where);
            co_await asked(before);
            EXPECT_FALSE(co_await coro::move_on_after(3s, asked(waiting)));
            EXPECT_EQ(control.stats().accepted, 1u + 2u * static_cast<unsigned>(round));
            control.resume_accepting();
            auto late = co_await net::tcp_stream::connect(where);
            co_await asked(late);
            EXPECT_EQ(control.stats().accepted, 3u + 2u * static_cast<unsigned>(round));
            waiting.close();
        }
    };
    simulate(beside(echo, {.control = &control}, client));
}

TEST_F(server_control_test, a_server_is_paused_from_another_loop) {
    coro::server_control control;
    const auto handler = [](net::tcp_stream peer) -> task<> { co_await read_until_end(peer); };
    const auto pause = [](coro::server_control& of) -> task<> {
        of.pause_accepting();
        co_return;
    };
    const auto resume = [](coro::server_control& of) -> task<> {
        of.resume_accepting();
        co_return;
    };
    const auto client = [&](net::endpoint where) -> task<> {
        const auto elsewhere = [&](auto& change) -> task<> {
            const auto body = [&](coro::task_group& group) -> task<> {
                group.spawn({.loop = 1}, change, std::ref(control));
                co_return;
            };
            co_await coro::with_task_group(body);
            co_await coro::sleep_for(1ms);
        };
        co_await elsewhere(pause);
        auto one = co_await net::tcp_stream::connect(where);
        co_await coro::sleep_for(1s);
        EXPECT_EQ(control.stats().accepted, 0u);
        co_await elsewhere(resume);
        EXPECT_EQ(control.stats().accepted, 1u);
        co_await elsewhere(pause);  // its message may come after the end
    };
    coro::run(beside(handler, {.control = &control}, client),
              {.poller = coro::poller_choice::simulation, .loops = 2});
}

TEST_F(server_control_test, a_listener_that_is_closed_ends_its_server) {
    const auto body = []() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto handler = [](net::tcp_stream peer) -> task<> { co_await read_until_end(peer); };
        const auto closing = [&]() -> task<> {
            co_await coro::sleep_for(1s);
            listener.close();
        };
        const auto serving = [&]() -> task<> { co_await coro::serve(listener, handler); };
        bool closed = false;
        try {
            co_await coro::when_all(serving(), closing());
        } catch (const coro::io_error& error) {
            closed = error.code() == coro::errc::closed;
        }
        EXPECT_TRUE(closed);
    };
    simulate(body());
}

TEST_F(server_control_test, a_server_that_is_paused_stops_when_it_is_told_to) {
    coro::server_control control;
    control.pause_accepting();
    const auto handler = [](net::tcp_stream peer) -> task<> { co_await read_until_end(peer); };
    const auto client = [](net::endpoint) -> task<> { co_await coro::sleep_for(1s); };
    simulate(beside(handler, {.control = &control}, client));
    EXPECT_EQ(control.stats().accepted, 0u);
}

}  // namespace
}  // namespace coro_test
