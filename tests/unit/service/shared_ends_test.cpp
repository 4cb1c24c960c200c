// shared_connection at its end: the reader is in the midst of a reply, callers of other loops are
// on their way; and a codec that cancels itself.
#include <coro/service/shared_connection.hpp>

#include <functional>
#include <string>

#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/service/shared_fixture.hpp"

namespace coro_test::sharing {
namespace {

class shared_ends_test : public core_test {};

/// As `numbers`, but it needs its time between the bytes and the reply, also when it is cancelled.
struct slow_numbers : numbers {
    static task<int> read(net::buffered_stream& from) {
        const int value = co_await numbers::read(from);
        co_await coro::shield(coro::sleep_for(5ms));
        co_return value;
    }
};

TEST_F(shared_ends_test, a_reader_in_the_midst_of_a_reply_outlives_the_body) {
    for (const bool somebody_waits : {false, true}) {
        server peer;
        outcome late;
        const auto main = [&]() -> task<> {
            peer.open();
            const auto body = [&](coro::shared_connection<slow_numbers>& shared) -> task<> {
                EXPECT_FALSE(co_await coro::move_on_after(2ms, shared.request(1)));
            };
            const auto ask_late = [](coro::shared_connection<slow_numbers>& of,
                                     outcome& into) -> task<> {
                try {
                    into.reply = co_await of.request(2);
                } catch (const coro::io_error& error) {
                    into.code = error.code();
                }
            };
            const auto with_late = [&](coro::task_group& outer) -> task<> {
                const auto inside =
                    [&](coro::shared_connection<slow_numbers>& shared) -> task<> {
                    if (somebody_waits)
                        outer.spawn(ask_late, std::ref(shared), std::ref(late));
                    co_await body(shared);
                };
                co_await coro::with_shared_connection<slow_numbers>(connector(), {.drain = 0s},
                                                                    inside);
            };
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                group.spawn(peer.serve_open());
                co_await coro::with_task_group(with_late);
                peer.close();
            });
        };
        simulate(main());
        if (somebody_waits) {
            EXPECT_EQ(late.code, coro::errc::closed);
        }
    }
}

/// Asks until the connection is closed.
task<> ask_until_closed(connection& of, int& answered) {
    for (;;) {
        try {
            EXPECT_EQ(co_await of.request(7), 7);
            ++answered;
        } catch (const coro::io_error& error) {
            EXPECT_TRUE(error == coro::errc::closed) << error.what();
            co_return;
        }
    }
}

TEST_F(shared_ends_test, callers_of_other_loops_may_be_on_their_way) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
        server peer;
        int answered = 0;
        const auto main = [&]() -> task<> {
            peer.open();
            co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
                group.spawn(peer.serve_open());
                const auto beside = [&](coro::task_group& outer) -> task<> {
                    const auto body = [&](connection& shared) -> task<> {
                        for (unsigned loop = 1; loop < 3; ++loop)
                            outer.spawn({.loop = loop}, ask_until_closed, std::ref(shared),
                                        std::ref(answered));
                        co_await coro::sleep_for(std::chrono::microseconds(300 + seed * 50));
                    };
                    co_await coro::with_shared_connection<numbers>(connector(), {}, body);
                };
                co_await coro::with_task_group(beside);
                peer.close();
            });
        };
        coro::run(main(), {.poller = coro::poller_choice::simulation,
                           .loops = 3,
                           .simulation = {.latency = 10us, .latency_most = 90us},
                           .seed = seed});
        EXPECT_GT(answered, 0);
    }
}

/// Its first reply meets a cancellation of the codec's own.
struct leaving_numbers : numbers {
    task<int> read(net::buffered_stream& from) {
        if (!left_) {
            left_ = true;
            throw coro::cancelled();
        }
        co_return co_await numbers::read(from);
    }

private:
    bool left_ = false;
};

TEST_F(shared_ends_test, a_codec_that_cancels_itself_ends_the_connection) {
    server peer;
    const auto main = [&]() -> task<> {
        peer.open();
        const auto body = [&](coro::shared_connection<leaving_numbers>& shared) -> task<> {
            const auto start = coro::now();
            const auto first = co_await coro::as_result(shared.request(1));
            EXPECT_TRUE(first.error() == coro::errc::broken) << first.error().what();
            EXPECT_LT(elapsed_ms(start), 100);  // and not by reply_timeout
            EXPECT_EQ(co_await shared.request(2), 2);
        };
        co_await coro::with_task_group([&](coro::task_group& group) -> task<> {
            group.spawn(peer.serve_open());
            co_await coro::with_shared_connection<leaving_numbers>(connector(), {}, body);
            peer.close();
        });
    };
    simulate(main());
    EXPECT_EQ(peer.accepted, 2);
}

}  // namespace
}  // namespace coro_test::sharing
