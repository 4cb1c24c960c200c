// buffered_writer in virtual time: one send a turn, back-pressure, order, errors, the end,
// cancellation.
#include <coro/net/buffered_writer.hpp>

#include <array>
#include <chrono>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <coro/base/report.hpp>
#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

constexpr poller_choice sim = poller_choice::simulation;

/// Collects what the report hook is told while it lives.
class reports {
public:
    reports() {
        set_report_hook(
            [](const report_event& event, void* user) noexcept {
                if (event.verb == "write")
                    static_cast<reports*>(user)->texts.emplace_back(event.text);
            },
            this);
    }
    reports(const reports&) = delete;
    reports& operator=(const reports&) = delete;
    ~reports() { set_report_hook(nullptr, nullptr); }

    std::vector<std::string> texts;
};

std::string filled(std::size_t size, char with) { return std::string(size, with); }

/// Writes `text` as a task of its own.
task<> write_text(buffered_writer& to, const std::string& text) {
    co_await to.write(as_bytes(text));
}

TEST(buffered_writer, what_one_turn_writes_leaves_in_one_send) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        const loop_stats before = current_loop_stats();
        for (int i = 0; i < 16; ++i) co_await out.write(as_bytes("0123456789abcdef"));
        EXPECT_EQ(out.unsent(), 256u);
        EXPECT_EQ(current_loop_stats().turns, before.turns) << "a write with room suspended";
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls);
        co_await next_turn();
        EXPECT_EQ(out.unsent(), 0u);
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls + 1);
        EXPECT_EQ((co_await receive_exactly(pair.client, 256)).substr(240), "0123456789abcdef");
        // The next turn is the next send.
        co_await out.write(as_bytes("more"));
        co_await next_turn();
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls + 2);
    };
    with_pair(body);
}

TEST(buffered_writer, one_that_always_has_room_starves_nobody) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        int written = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(other, std::cref(written), std::ref(seen));
            for (; written < 1000; ++written) co_await out.write(as_bytes("."));
        });
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
        EXPECT_EQ(co_await receive_exactly(pair.client, 1000), filled(1000, '.'));
    };
    with_pair(body);
}

TEST(buffered_writer, replies_of_several_tasks_in_one_turn_leave_in_one_send) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        const loop_stats before = current_loop_stats();
        const auto reply = [](buffered_writer& to, char letter) -> task<> {
            co_await to.write(as_bytes(std::string_view(&letter, 1)));
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            for (char letter = 'a'; letter < 'q'; ++letter)
                group.spawn(reply, std::ref(out), letter);
            co_return;
        });
        EXPECT_EQ(co_await receive_exactly(pair.client, 16), "abcdefghijklmnop");
        EXPECT_EQ(current_loop_stats().send_calls, before.send_calls + 1);
    };
    with_pair(body);
}

TEST(buffered_writer, flush_sends_at_once_and_waits_for_the_kernel) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        co_await out.flush();
        co_await out.write(as_bytes("now"));
        const loop_stats before = current_loop_stats();
        co_await out.flush();
        EXPECT_EQ(out.unsent(), 0u);
        EXPECT_EQ(current_loop_stats().turns, before.turns) << "it waited, although there was room";
        // More than the sockets hold: the flush ends when the peer has read enough.
        const std::string much = filled(20'000, 'x');
        co_await out.write(as_bytes(much));
        EXPECT_FALSE(co_await move_on_after(100ms, out.flush()));
        EXPECT_GT(out.unsent(), 0u);
        EXPECT_EQ(co_await receive_exactly(pair.client, 3), "now");
        EXPECT_EQ(co_await receive_exactly(pair.client, 19'000), filled(19'000, 'x'));
        co_await out.flush();
        EXPECT_EQ(out.unsent(), 0u);
        EXPECT_EQ(co_await receive_exactly(pair.client, 1'000), filled(1'000, 'x'));
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, a_full_buffer_holds_the_writer_back) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 1000});
        std::string expected;
        const auto produce = [](buffered_writer& to, std::string& all,
                                std::size_t& made) -> task<> {
            for (; made < 200; ++made) {
                const std::string text = filled(100 + made, static_cast<char>('a' + made % 26));
                co_await to.write(as_bytes(text));
                all += text;
                EXPECT_LE(to.unsent(), 1000u);
            }
            co_await to.flush();
        };
        std::size_t made = 0;
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(produce, std::ref(out), std::ref(expected), std::ref(made));
            co_await sleep_for(1s);
            EXPECT_LT(expected.size(), 8192u + 1000u + 1u);
            EXPECT_GT(expected.size(), 8192u);
            const std::string got = co_await receive_exactly(pair.client, 39'900);
            EXPECT_EQ(got, expected);
        });
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, large_writes_keep_their_place) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 64});
        const std::string first = filled(10, 'a'), second = filled(30'000, 'b');
        const std::string third = filled(20, 'c'), fourth = filled(64, 'd'), fifth = filled(5, 'e');
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(write_text, std::ref(out), std::cref(first));
            group.spawn(write_text, std::ref(out), std::cref(second));
            group.spawn(write_text, std::ref(out), std::cref(third));
            group.spawn(write_text, std::ref(out), std::cref(fourth));
            group.spawn(write_text, std::ref(out), std::cref(fifth));
            co_await sleep_for(10ms);
            EXPECT_EQ(co_await receive_exactly(pair.client, 30'099),
                      first + second + third + fourth + fifth);
        });
        co_await out.flush();
        EXPECT_EQ(out.unsent(), 0u);
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, a_cancelled_write_queues_nothing) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 10'000});
        const std::string one = filled(9'000, '1'), two = filled(9'500, '2');
        const std::string three = filled(9'900, '3'), large = filled(10'000, 'L');
        co_await out.write(as_bytes(one));  // the sockets take 8192 of it
        co_await out.write(as_bytes(two.substr(0, 9'000)));
        const std::size_t unsent = out.unsent();
        EXPECT_EQ(unsent, 9'808u);
        EXPECT_FALSE(co_await move_on_after(10ms, out.write(as_bytes(three))));
        EXPECT_FALSE(co_await move_on_after(10ms, out.write(as_bytes(large))));
        EXPECT_EQ(out.unsent(), unsent);
        // Cancelled at entry, although there is room.
        EXPECT_FALSE(co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
            scope.cancel();
            co_await out.write(as_bytes("x"));
        }));
        EXPECT_FALSE(co_await move_on_after(10ms, out.flush()));
        EXPECT_EQ(out.unsent(), unsent);
        EXPECT_EQ(co_await receive_exactly(pair.client, 18'000), one + two.substr(0, 9'000));
        co_await out.write(as_bytes("end"));
        EXPECT_EQ(co_await receive_exactly(pair.client, 3), "end");
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, a_large_write_that_is_cut_short_breaks_the_writer) {
    const auto body = [](stream_pair& pair) -> task<> {
        const reports told;
        {
            buffered_writer out(pair.server, {.limit = 100});
            const std::string large = filled(30'000, 'L');
            std::size_t moved = 0;
            const auto write = [&]() -> task<> {
                try {
                    co_await out.write(as_bytes(large));
                } catch (const cancelled& end) {
                    moved = end.bytes_transferred();
                    throw;
                }
            };
            EXPECT_FALSE(co_await move_on_after(10ms, write()));
            EXPECT_EQ(moved, 8192u);
            expect_error(co_await error_of([&] { return out.write(as_bytes("x")); }), errc::broken,
                         "write", 0);
            expect_error(co_await error_of([&] { return out.flush(); }), errc::broken, "flush", 0);
            EXPECT_TRUE(pair.server.is_broken());
        }
        EXPECT_TRUE(told.texts.empty()) << told.texts.front();
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, the_error_of_a_send_comes_out_of_what_is_called_next_and_stays) {
    const auto body = [](stream_pair& pair) -> task<> {
        const reports told;
        {
            buffered_writer out(pair.server);
            pair.client = tcp_stream();
            co_await out.write(as_bytes("into the void"));
            co_await sleep_for(10ms);  // the reset comes back
            co_await out.write(as_bytes("more"));
            co_await next_turn();
            for (int again = 0; again < 2; ++again) {
                const result<void> written = co_await as_result(out.write(as_bytes("x")));
                EXPECT_FALSE(written.has_value());
                EXPECT_TRUE(written.error().code() == std::errc::connection_reset ||
                            written.error().code() == std::errc::broken_pipe);
                EXPECT_STREQ(written.error().operation(), "write");
                EXPECT_FALSE((co_await as_result(out.flush())).has_value());
            }
        }
        EXPECT_TRUE(told.texts.empty()) << told.texts.front();
    };
    with_pair(body);
}

TEST(buffered_writer, errors_end_every_wait) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 10'000});
        const std::string text = filled(9'900, 'x'), large = filled(10'000, 'L');
        int failed = 0;
        const auto fail = [](buffered_writer& to, const std::string& what, int& count) -> task<> {
            try {
                if (what.empty()) co_await to.flush();
                else co_await to.write(as_bytes(what));
            } catch (const io_error& error) {
                EXPECT_EQ(error.code(), std::errc::connection_reset);
                ++count;
            }
        };
        const std::string nothing;
        co_await out.write(as_bytes(text));
        co_await with_task_group([&](task_group& group) -> task<> {
            co_await sleep_for(1ms);
            co_await out.write(as_bytes(text.substr(0, 8'000)));
            group.spawn(fail, std::ref(out), std::cref(nothing), std::ref(failed));
            group.spawn(fail, std::ref(out), std::cref(text), std::ref(failed));
            group.spawn(fail, std::ref(out), std::cref(large), std::ref(failed));
            co_await sleep_for(1ms);
            pair.client = tcp_stream();  // with unread bytes: a reset
        });
        EXPECT_EQ(failed, 3);
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, a_closed_stream_is_told_and_what_it_lost_is_reported) {
    const auto body = [](stream_pair& pair) -> task<> {
        const reports told;
        {
            buffered_writer out(pair.server);
            co_await out.write(as_bytes("12345"));
            pair.server.close();
            co_await next_turn();
            expect_error(co_await error_of([&] { return out.flush(); }), errc::closed, "flush", 0);
        }
        EXPECT_EQ(told.texts.size(), 1u);
        tcp_stream none;
        buffered_writer never(none);
        expect_error(co_await error_of([&] { return never.write(as_bytes("x")); }), errc::closed,
                     "write", 0);
    };
    with_pair(body);
}

TEST(buffered_writer, somebody_elses_write_makes_it_busy_and_loses_nothing) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server);
        const auto other = [](tcp_stream& to) -> task<> {
            const std::string much = filled(10'000, 'o');
            co_await send_text(to, much);
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(other, std::ref(pair.server));
            co_await sleep_for(1ms);
            co_await out.write(as_bytes("mine"));
            co_await sleep_for(1ms);
            // Stored at the end of the turn, told by the next call, whichever it is, once.
            expect_error(co_await error_of([&] { return out.write(as_bytes("x")); }), errc::busy,
                         "write", 0);
            expect_error(co_await error_of([&] { return out.flush(); }), errc::busy, "flush", 0);
            EXPECT_EQ(out.unsent(), 4u);
            EXPECT_EQ(co_await receive_exactly(pair.client, 10'000), filled(10'000, 'o'));
        });
        co_await out.flush();
        EXPECT_EQ(co_await receive_exactly(pair.client, 4), "mine");
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, unsent_bytes_are_reported_at_the_end) {
    const auto body = [](stream_pair& pair) -> task<> {
        const reports told;
        {
            buffered_writer out(pair.server);
            co_await out.write(as_bytes("12345"));
        }
        EXPECT_EQ(told.texts.size(), 1u);
        EXPECT_EQ(told.texts.front(),
                  "5 bytes were written and never sent: co_await flush() before the writer ends");
        {
            buffered_writer out(pair.server);
            co_await out.write(as_bytes("12345"));
            co_await out.flush();
        }
        EXPECT_EQ(told.texts.size(), 1u);
        EXPECT_EQ(co_await receive_exactly(pair.client, 5), "12345");
    };
    with_pair(body);
}

TEST(buffered_writer, a_send_in_flight_outlives_the_writer) {
    const auto body = [](stream_pair& pair) -> task<> {
        const reports told;
        auto out = std::make_unique<buffered_writer>(pair.server);
        const std::string text = filled(20'000, 'x');
        co_await out->write(as_bytes(text));
        co_await next_turn();
        EXPECT_EQ(out->unsent(), 20'000u - 8192u);
        co_await out->write(as_bytes("lost"));
        out.reset();
        EXPECT_EQ(co_await receive_exactly(pair.client, 20'000), text);
        co_await sleep_for(1ms);
        EXPECT_EQ(told.texts.size(), 1u);
        EXPECT_TRUE(told.texts.front().starts_with("4 bytes "));
        // The line is free again.
        co_await send_text(pair.server, "next");
        EXPECT_EQ(co_await receive_exactly(pair.client, 4), "next");
    };
    with_pair(body, sim, 4096);
}

TEST(buffered_writer, the_stream_may_end_before_the_send_that_outlives_the_writer) {
    const reports told;
    const auto body = [](stream_pair& pair) -> task<> {
        const std::string text = filled(20'000, 'x');
        buffered_writer out(pair.server);
        co_await out.write(as_bytes(text));
        co_await next_turn();
    };
    with_pair(body, sim, 4096);
    ASSERT_EQ(told.texts.size(), 1u);
    EXPECT_TRUE(told.texts.front().starts_with("11808 bytes "));
}

// --- the property: whoever is cancelled whenever, each write is there as a whole, in order, or not

struct record_header {
    std::uint32_t writer = 0;
    std::uint32_t number = 0;
    std::uint32_t size = 0;
};

std::string record_of(std::uint32_t writer, std::uint32_t number, std::size_t size) {
    const record_header header{writer, number, static_cast<std::uint32_t>(size)};
    std::string text(sizeof header + size, static_cast<char>('a' + (writer * 7 + number) % 26));
    std::memcpy(text.data(), &header, sizeof header);
    return text;
}

constexpr std::size_t limit_of_records = 1000;

struct written_log {
    std::vector<std::uint32_t> accepted;  ///< numbers, in order
    unsigned interrupted = 0;
    bool broke = false;
};

task<> write_counted(buffered_writer& to, const std::string& text, std::size_t& moved) {
    try {
        co_await to.write(as_bytes(text));
    } catch (const cancelled& end) {
        moved = end.bytes_transferred();
        throw;
    }
}

task<> write_records(buffered_writer& to, std::uint32_t writer, written_log& log,
                     std::uint64_t seed) {
    random_source random(seed);
    for (std::uint32_t number = 0; number < 40; ++number) {
        const std::size_t most = random.chance(12) ? 1200 : 300;
        const std::string text = record_of(writer, number, random.below(most));
        std::size_t moved = 0;
        const auto span = std::chrono::microseconds(random.below(4000));
        try {
            if (random.chance(6)) co_await to.write(as_bytes(text));
            else co_await with_timeout(span, write_counted(to, text, moved));
            log.accepted.push_back(number);
            if (random.chance(6)) co_await with_timeout(span, to.flush());
        } catch (const io_error& error) {
            if (error.code() == errc::broken) {
                log.broke = true;
                co_return;
            }
            EXPECT_EQ(error.code(), errc::deadline_exceeded);
            EXPECT_TRUE(moved == 0 || text.size() >= limit_of_records);
            log.broke = log.broke || moved != 0;
            ++log.interrupted;
        }
        if (random.chance(2)) co_await sleep_for(std::chrono::microseconds(random.below(300)));
    }
}

task<> receive_slowly(tcp_stream& from, std::string& all, std::uint64_t seed) {
    random_source random(seed);
    for (;;) {
        const read_lease lease = co_await from.read_leased(1 + random.below(3000));
        if (lease.empty()) co_return;
        all += as_text(lease.bytes());
        if (random.chance(2)) co_await sleep_for(std::chrono::microseconds(random.below(20'000)));
    }
}

/// Whole records of each writer in the order of its log; with `cut` the last one may be a part, and
/// records at the end may be missing.
void check_stream(std::string_view got, const std::vector<written_log>& logs, bool cut) {
    std::vector<std::size_t> seen(logs.size());
    while (got.size() >= sizeof(record_header)) {
        record_header header;
        std::memcpy(&header, got.data(), sizeof header);
        ASSERT_LT(header.writer, logs.size());
        const std::string wanted = record_of(header.writer, header.number, header.size);
        if (got.size() < wanted.size()) break;
        ASSERT_EQ(got.substr(0, wanted.size()), wanted);
        const written_log& log = logs[header.writer];
        ASSERT_LT(seen[header.writer], log.accepted.size()) << "a cancelled write is there";
        ASSERT_EQ(header.number, log.accepted[seen[header.writer]++]);
        got.remove_prefix(wanted.size());
    }
    if (cut) return;
    EXPECT_TRUE(got.empty());
    for (std::size_t i = 0; i < logs.size(); ++i) EXPECT_EQ(seen[i], logs[i].accepted.size());
}

TEST(buffered_writer, cancelling_at_any_await_keeps_every_write_whole) {
    unsigned interrupted = 0;
    unsigned broken = 0;
    for (std::uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        const reports quiet;
        std::vector<written_log> logs(3);
        std::string got;
        const auto body = [&](stream_pair& pair) -> task<> {
            const auto write = [&]() -> task<> {
                buffered_writer out(pair.server, {.limit = limit_of_records});
                co_await with_task_group([&](task_group& group) -> task<> {
                    for (std::uint32_t writer = 0; writer < logs.size(); ++writer)
                        group.spawn(write_records, std::ref(out), writer, std::ref(logs[writer]),
                                    seed * 10 + writer);
                    co_return;
                });
                (void)co_await as_result(out.flush());
                pair.server.shutdown_send();
            };
            co_await with_task_group([&](task_group& group) -> task<> {
                group.spawn(receive_slowly, std::ref(pair.client), std::ref(got), seed * 10 + 9);
                co_await write();
            });
        };
        with_pair(body, sim, 4096);
        bool cut = false;
        for (const written_log& log : logs) {
            interrupted += log.interrupted;
            cut = cut || log.broke;
        }
        broken += cut ? 1 : 0;
        check_stream(got, logs, cut);
    }
    EXPECT_GT(interrupted, 2000u);
    EXPECT_GT(broken, 20u);
    EXPECT_LT(broken, 280u);
}

}  // namespace
}  // namespace coro::net::stream_tests
