// shared_connection in virtual time: whose reply is whose, what ends a connection, and its bounds.
#include <coro/service/shared_connection.hpp>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <coro/core/fiber.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/service/shared_fixture.hpp"

namespace coro_test::sharing {
namespace {

class shared_connection_test : public core_test {};

TEST_F(shared_connection_test, many_tasks_share_one_connection_and_one_write) {
    server peer;
    std::vector<outcome> ended(100);
    coro::shared_connection_stats counts;
    with_server(peer, {}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 100; ++i)
                group.spawn(ask, std::ref(shared), i, std::ref(ended[static_cast<std::size_t>(i)]));
            co_return;
        });
        counts = shared.stats();
    });
    for (int i = 0; i < 100; ++i) EXPECT_EQ(ended[static_cast<std::size_t>(i)].reply, i);
    EXPECT_TRUE(std::is_sorted(peer.got.begin(), peer.got.end()));
    EXPECT_EQ(peer.accepted, 1);
    EXPECT_EQ(counts.requests, 100u);
    EXPECT_EQ(counts.replies, 100u);
    EXPECT_EQ(counts.dropped, 0u);
    EXPECT_LE(counts.writes, 2u) << "what is queued leaves together";
    EXPECT_EQ(counts.connections, 1u);
}

TEST_F(shared_connection_test, fibers_ask_as_tasks_do) {
    server peer;
    int reply = 0;
    with_server(peer, {}, [&](connection& shared) -> task<> {
        co_await coro::fiber([&] { reply = coro::await(shared.request(8)); });
    });
    EXPECT_EQ(reply, 8);
}

TEST_F(shared_connection_test, nobody_connects_before_somebody_asks) {
    server peer;
    with_server(peer, {}, [&](connection& shared) -> task<> {
        co_await coro::sleep_for(1h);
        EXPECT_EQ(shared.stats().attempts, 0u);
        EXPECT_EQ(co_await shared.request(7), 7);
        EXPECT_TRUE(shared.stats().connected);
    });
    EXPECT_EQ(peer.accepted, 1);
}

TEST_F(shared_connection_test, a_caller_who_leaves_before_the_sending_is_not_sent) {
    server peer;
    with_server(peer, {.max_pipelined = 1}, [&](connection& shared) -> task<> {
        std::vector<outcome> ended(3);
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(ask, std::ref(shared), 1, std::ref(ended[0]));
            group.spawn([](connection& of) -> task<> {
                EXPECT_FALSE(co_await coro::move_on_after(5ms, of.request(2)));
                EXPECT_EQ(of.stats().waiting, 1u) << "it has left the queue";
            }, std::ref(shared));
            group.spawn(ask, std::ref(shared), 3, std::ref(ended[2]));
            co_return;
        });
        EXPECT_EQ(ended[0].reply, 1);
        EXPECT_EQ(ended[2].reply, 3);
    }, 0, {.latency = 2ms});
    EXPECT_EQ(peer.got, (std::vector{1, 3}));
}

TEST_F(shared_connection_test, the_reply_of_a_caller_who_left_is_dropped) {
    server peer([](int number) -> task<std::string> {
        co_await coro::sleep_for(10ms);
        co_return std::to_string(number) + "\n";
    });
    with_server(peer, {}, [&](connection& shared) -> task<> {
        EXPECT_FALSE(co_await coro::move_on_after(5ms, shared.request(1)));
        EXPECT_EQ(shared.stats().pipelined, 1u);
        EXPECT_EQ(co_await shared.request(2), 2);
        EXPECT_EQ(shared.stats().dropped, 1u);
    });
    EXPECT_EQ(peer.got, (std::vector{1, 2}));
    EXPECT_EQ(peer.accepted, 1);
}

TEST_F(shared_connection_test, a_server_that_dies_in_mid_reply_fails_those_that_were_sent) {
    int served = 0;
    server peer([&](int number) -> task<std::string> {
        if (++served == 3) co_return "";  // without a word
        if (served == 2) co_await coro::sleep_for(5ms);
        co_return std::to_string(number) + "\n";
    });
    std::vector<outcome> ended(8);
    with_server(peer, {.max_pipelined = 4}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 8; ++i)
                group.spawn(ask, std::ref(shared), i, std::ref(ended[static_cast<std::size_t>(i)]));
            co_return;
        });
    });
    EXPECT_EQ(ended[0].reply, 0);
    EXPECT_EQ(ended[1].reply, 1);
    for (const std::size_t i : {2u, 3u, 4u})
        EXPECT_EQ(ended[i].error.find("recv 127.0.0.1:7000: "), 0u) << i << ": " << ended[i].error;
    for (const std::size_t i : {5u, 6u, 7u})
        EXPECT_EQ(ended[i].reply, static_cast<int>(i)) << ended[i].error << ": it was not sent";
    EXPECT_EQ(peer.accepted, 2);
}

TEST_F(shared_connection_test, half_a_reply_is_no_reply) {
    int served = 0;
    std::vector<outcome> ended(2);
    coro::run([](int& answered, std::vector<outcome>& results) -> task<> {
        auto listener = net::tcp_listener::bind(server::where());
        const auto peer = [&]() -> task<> {
            for (;;) {
                net::tcp_stream one = co_await listener.accept();
                net::buffered_stream in(one);
                while (auto line = co_await in.read_line()) {
                    std::string reply = std::string(*line) + "\n";
                    const bool half = ++answered == 1;
                    if (half) reply.resize(2);
                    co_await net::write_all(one, coro::as_bytes(reply));
                    if (half) break;
                }
            }
        };
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(std::ref(peer));
            const auto body = [&](connection& shared) -> task<> {
                co_await ask(shared, 1234, results[0]);
                co_await ask(shared, 56, results[1]);
            };
            co_await coro::with_shared_connection<numbers>(connector(), {}, body);
            group.cancel();
        });
    }(served, ended), {.poller = coro::poller_choice::simulation});
    EXPECT_EQ(ended[0].code, coro::errc::end_of_stream) << ended[0].error;
    EXPECT_EQ(ended[1].reply, 56) << ended[1].error;
}

TEST_F(shared_connection_test, one_that_was_closed_while_idle_is_noticed_before_the_next_request) {
    server peer;
    std::vector<int> replies;
    coro::run([](server& of, std::vector<int>& got) -> task<> {
        const auto body = [&](connection& shared) -> task<> {
            for (int i = 0; i < 3; ++i) {
                of.open();
                co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                    group.spawn(of.serve_open());
                    got.push_back(co_await shared.request(i));
                    of.close();  // and all connections with it
                });
                co_await coro::sleep_for(1s);
                EXPECT_FALSE(shared.stats().connected);
            }
            EXPECT_EQ(shared.stats().attempts, 3u) << "only for a request";
        };
        co_await coro::with_shared_connection<numbers>(connector(), {}, body);
    }(peer, replies), {.poller = coro::poller_choice::simulation});
    EXPECT_EQ(replies, (std::vector{0, 1, 2}));
}

TEST_F(shared_connection_test, the_queue_is_bounded_and_first_come_first_served) {
    server peer([](int number) -> task<std::string> {
        co_await coro::sleep_for(10ms);
        co_return std::to_string(number) + "\n";
    });
    std::vector<outcome> ended(10);
    with_server(peer, {.max_pipelined = 2, .max_waiters = 3}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            for (int i = 0; i < 10; ++i) {
                group.spawn(ask, std::ref(shared), i, std::ref(ended[static_cast<std::size_t>(i)]));
                if (i == 1) co_await coro::sleep_for(1ms);
            }
            co_await coro::sleep_for(1ms);
            EXPECT_EQ(shared.stats().pipelined, 2u);
            EXPECT_EQ(shared.stats().waiting, 3u);
        });
    });
    for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(ended[i].reply, static_cast<int>(i));
    for (std::size_t i = 5; i < 10; ++i)
        EXPECT_EQ(ended[i].code, coro::errc::limit_exceeded) << ended[i].error;
    EXPECT_EQ(peer.got, (std::vector{0, 1, 2, 3, 4}));
    for (std::size_t i = 1; i < 5; ++i) EXPECT_LT(ended[i - 1].at, ended[i].at);
}

TEST_F(shared_connection_test, a_request_that_cannot_be_encoded_is_its_callers_alone) {
    server peer;
    std::vector<outcome> ended(3);
    with_server(peer, {}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(ask, std::ref(shared), 1, std::ref(ended[0]));
            group.spawn(ask, std::ref(shared), numbers::not_to_encode, std::ref(ended[1]));
            group.spawn(ask, std::ref(shared), 3, std::ref(ended[2]));
            co_return;
        });
    });
    EXPECT_EQ(ended[0].reply, 1);
    EXPECT_EQ(ended[1].error, "no number of a request");
    EXPECT_EQ(ended[2].reply, 3);
    EXPECT_EQ(peer.got, (std::vector{1, 3}));
    EXPECT_EQ(peer.accepted, 1);
}

TEST_F(shared_connection_test, a_reply_that_cannot_be_read_ends_the_connection_and_its_callers) {
    server peer([](int number) -> task<std::string> {
        co_return number == 2 ? "bad\n" : std::to_string(number) + "\n";
    });
    std::vector<outcome> ended(4);
    with_server(peer, {}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            for (const int i : {1, 2, 3})
                group.spawn(ask, std::ref(shared), i, std::ref(ended[static_cast<std::size_t>(i)]));
            co_return;
        });
        EXPECT_EQ(co_await shared.request(4), 4) << "on the next connection";
    });
    EXPECT_EQ(ended[1].reply, 1);
    EXPECT_EQ(ended[2].error, "not a number: bad");
    EXPECT_EQ(ended[3].error, "not a number: bad");
    EXPECT_EQ(peer.accepted, 2);
}

TEST_F(shared_connection_test, bytes_that_nobody_asked_for_end_the_connection) {
    server peer([](int number) -> task<std::string> {
        co_return std::to_string(number) + (number == 1 ? "\n99\n" : "\n");
    });
    with_server(peer, {}, [&](connection& shared) -> task<> {
        EXPECT_EQ(co_await shared.request(1), 1);
        co_await coro::sleep_for(1s);
        EXPECT_FALSE(shared.stats().connected);
        EXPECT_EQ(co_await shared.request(2), 2) << "and not 99";
    });
    EXPECT_EQ(peer.accepted, 2);
}

TEST_F(shared_connection_test, a_silent_server_is_given_up_in_time_and_a_slow_one_is_not) {
    server peer([](int number) -> task<std::string> {
        co_await coro::sleep_for(number == 3 ? coro::duration(1h) : coro::duration(900ms));
        co_return std::to_string(number) + "\n";
    });
    std::vector<outcome> ended(5);
    coro::duration silence{};
    with_server(peer, {.reply_timeout = 1s}, [&](connection& shared) -> task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            for (const int i : {0, 1, 2})
                group.spawn(ask, std::ref(shared), i, std::ref(ended[static_cast<std::size_t>(i)]));
            co_return;
        });
        const coro::time_point from = coro::now();
        co_await ask(shared, 3, ended[3]);
        silence = ended[3].at - from;
        co_await ask(shared, 4, ended[4]);
    });
    for (const std::size_t i : {0u, 1u, 2u, 4u})
        EXPECT_EQ(ended[i].reply, static_cast<int>(i)) << ended[i].error;
    EXPECT_EQ(ended[3].code, coro::errc::deadline_exceeded) << ended[3].error;
    EXPECT_GE(silence, coro::duration(1s));
    EXPECT_LE(silence, coro::duration(1125ms));
}

TEST_F(shared_connection_test, a_body_that_ends_lets_requests_under_way_finish) {
    server peer([](int number) -> task<std::string> {
        co_await coro::sleep_for(1s);
        co_return std::to_string(number) + "\n";
    });
    std::vector<outcome> ended(20);
    coro::run([](server& of, std::vector<outcome>& results) -> task<> {
        of.open();
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(of.serve_open());
            const auto body = [&](connection& shared) -> task<> {
                for (std::size_t i = 0; i < 20; ++i)
                    group.spawn(ask, std::ref(shared), static_cast<int>(i), std::ref(results[i]));
                co_await coro::sleep_for(1ms);
            };
            const coro::time_point begin = coro::now();
            co_await coro::with_shared_connection<numbers>(connector(), {.drain = 5s + 500ms},
                                                           body);
            EXPECT_EQ(elapsed_ms(begin), 5501);
            of.close();
        });
    }(peer, ended), {.poller = coro::poller_choice::simulation});
    for (std::size_t i = 0; i < 20; ++i) {
        if (i < 5) EXPECT_EQ(ended[i].reply, static_cast<int>(i)) << ended[i].error;
        else EXPECT_EQ(ended[i].code, coro::errc::closed) << i << ": " << ended[i].error;
    }
}

TEST_F(shared_connection_test, a_cancellation_from_outside_ends_all_at_once) {
    server peer([](int number) -> task<std::string> {
        co_await coro::sleep_for(1h);
        co_return std::to_string(number) + "\n";
    });
    outcome outside;
    outcome inside;
    coro::run([](server& of, outcome& out, outcome& in) -> task<> {
        of.open();
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(of.serve_open());
            const auto body = [&](connection& shared) -> task<> {
                group.spawn(ask, std::ref(shared), 1, std::ref(out));
                co_await ask(shared, 2, in);
            };
            const coro::time_point begin = coro::now();
            EXPECT_FALSE(co_await coro::move_on_after(
                1s, coro::with_shared_connection<numbers>(connector(), {}, body)));
            EXPECT_EQ(elapsed_ms(begin), 1000);
            of.close();
        });
    }(peer, outside, inside), {.poller = coro::poller_choice::simulation});
    EXPECT_TRUE(inside.was_cancelled);
    EXPECT_EQ(outside.code, coro::errc::closed) << outside.error;
}

TEST_F(shared_connection_test, options_that_cannot_be_are_named) {
    const auto complaint = [](const coro::shared_connection_options& options) {
        const auto body = [](connection&) -> task<> { co_return; };
        try {
            simulate(coro::with_shared_connection<numbers>(connector(), options, body));
        } catch (const std::invalid_argument& error) {
            return std::string(error.what());
        }
        return std::string("none");
    };
    EXPECT_EQ(complaint({.max_pipelined = 0}),
              "shared_connection: max_pipelined is 0: no request could be sent");
    for (const auto& [options, named] :
         std::vector<std::pair<coro::shared_connection_options, std::string>>{
             {{.max_waiters = 0}, "max_waiters"},
             {{.read_limit = 0}, "read_limit"},
             {{.breaker_threshold = 0}, "breaker_threshold"},
             {{.retry_first = 0s}, "retry_first"},
             {{.retry_first = 2s, .retry_most = 1s}, "retry_most"}})
        EXPECT_NE(complaint(options).find(named), std::string::npos) << named;
}

TEST_F(shared_connection_test, what_the_body_returns_or_throws_comes_out) {
    const auto value = [](connection&) -> task<std::string> { co_return "value"; };
    EXPECT_EQ(simulate(coro::with_shared_connection<numbers>(connector(), {}, value)), "value");
    const auto failing = [](connection& shared) -> task<> {
        co_await shared.request(1);
    };
    EXPECT_THROW(simulate(coro::with_shared_connection<numbers>(connector(), {}, failing)),
                 coro::io_error);
}

}  // namespace
}  // namespace coro_test::sharing
