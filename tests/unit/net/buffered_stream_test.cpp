// buffered_stream in virtual time: answers, bounds, memory, and a property test under cancellation.
#include <coro/net/buffered_stream.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <span>
#include <string>
#include <vector>

#include <coro/core/as_result.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

task<> send_and_end(tcp_stream& to, std::string_view text) {
    co_await send_text(to, text);
    to.shutdown_send();
}

TEST(buffered_stream, lines_end_with_lf_or_cr_lf_and_the_last_one_with_the_stream) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, "a\r\nb\n\r\n\nc\rd\nlast\r");
        buffered_stream in(pair.server);
        std::vector<std::string> lines;
        while (const auto line = co_await in.read_line()) lines.emplace_back(*line);
        EXPECT_EQ(lines, (std::vector<std::string>{"a", "b", "", "", "c\rd", "last\r"}));
        EXPECT_FALSE(co_await in.read_line());
        EXPECT_EQ(in.buffered(), 0u);
    };
    with_pair(body);
}

TEST(buffered_stream, one_that_is_always_ready_starves_nobody) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, std::string(1000, '\n'));
        buffered_stream in(pair.server);
        co_await in.peek(1000);
        int lines = 0;
        int seen = -1;
        const auto other = [](const int& counter, int& saw) -> task<> {
            saw = counter;
            co_return;
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(other, std::cref(lines), std::ref(seen));
            while (co_await in.read_line()) ++lines;
        });
        EXPECT_EQ(lines, 1000);
        EXPECT_GE(seen, 1);
        EXPECT_LE(seen, detail::inline_completions);
    };
    with_pair(body);
}

TEST(buffered_stream, a_read_whose_answer_goes_through_the_run_queue_keeps_others_out) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, std::string(100, '\n') + "last");
        buffered_stream in(pair.server);
        co_await in.peek(104);
        bool busy = false;
        const auto other = [](buffered_stream& from, bool& met) -> task<> {
            const auto line = co_await as_result(from.read_line());
            met = !line && line.error().code() == errc::busy;
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(other, std::ref(in), std::ref(busy));
            for (int i = 0; i < 100; ++i) EXPECT_EQ(co_await in.read_line(), "");
        });
        EXPECT_TRUE(busy);
        EXPECT_EQ(co_await in.read_line(), "last");
    };
    with_pair(body);
}

TEST(buffered_stream, a_record_may_come_in_any_pieces) {
    const auto body = [](stream_pair& pair) -> task<> {
        const auto dribble = [](tcp_stream& to) -> task<> {
            for (const char letter : std::string_view("GET /\r\nHost: x\r\n\r\n12345678\r"))
                co_await send_text(to, {&letter, 1}), co_await sleep_for(3ms);
            to.shutdown_send();
        };
        const auto read = [](tcp_stream& from) -> task<> {
            buffered_stream in(from);
            EXPECT_EQ(co_await in.read_until("\r\n\r\n"), "GET /\r\nHost: x\r\n\r\n");
            EXPECT_EQ(text_of(co_await in.peek(3)), "123");
            EXPECT_EQ(text_of(co_await in.read_exact(5)), "12345");
            std::array<std::byte, 3> rest{};
            co_await in.read_exact(rest);
            EXPECT_EQ(text_of(rest), "678");
            EXPECT_EQ(text_of(co_await in.peek(9)), "\r");
            expect_error(co_await error_of([&] { return in.read_until("\r\n"); }),
                         errc::end_of_stream, "read_until", 1);
            EXPECT_EQ(co_await in.read_some(rest), 1u);
            EXPECT_EQ(co_await in.read_some(rest), 0u);
            EXPECT_TRUE((co_await in.peek(1)).empty());
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(dribble, std::ref(pair.client));
            group.spawn(read, std::ref(pair.server));
            co_return;
        });
    };
    with_pair(body);
}

TEST(buffered_stream, the_end_inside_of_a_record_takes_nothing) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, "abc");
        buffered_stream in(pair.server);
        std::array<std::byte, 8> into{};
        expect_error(co_await error_of([&] { return in.read_exact(into); }), errc::end_of_stream,
                     "read_exact", 3);
        expect_error(co_await error_of([&] { return in.read_exact(4); }), errc::end_of_stream,
                     "read_exact", 3);
        EXPECT_EQ(in.buffered(), 3u);
        EXPECT_EQ(co_await in.read_some(into), 3u);
        EXPECT_EQ(text_of(std::span(into).first(3)), "abc");
        expect_error(co_await error_of([&] { return in.read_exact(1); }), errc::end_of_stream,
                     "read_exact", 0);
        EXPECT_TRUE((co_await in.read_exact(0)).empty());
    };
    with_pair(body);
}

TEST(buffered_stream, a_record_above_the_limit_is_refused_and_stays) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, "0123456789\nab\n");
        buffered_stream in(pair.server, {.limit = 8});
        std::array<std::byte, 9> into{};
        for (int again = 0; again < 2; ++again) {
            expect_error(co_await error_of([&] { return in.read_line(); }), errc::limit_exceeded,
                         "read_line", 0);
            EXPECT_EQ(in.buffered(), 8u);
        }
        expect_error(co_await error_of([&] { return in.read_until("\n"); }), errc::limit_exceeded,
                     "read_until", 0);
        expect_error(co_await error_of([&] { return in.read_exact(9); }), errc::limit_exceeded,
                     "read_exact", 0);
        expect_error(co_await error_of([&] { return in.read_exact(into); }), errc::limit_exceeded,
                     "read_exact", 0);
        expect_error(co_await error_of([&] { return in.peek(9); }), errc::limit_exceeded, "peek",
                     0);
        EXPECT_EQ(co_await in.read_some(into), 8u);
        EXPECT_EQ(text_of(std::span(into).first(8)), "01234567");
        EXPECT_EQ(co_await in.read_line(), "89");
        EXPECT_EQ(co_await in.read_line(), "ab");
    };
    with_pair(body);
}

TEST(buffered_stream, a_last_line_as_long_as_the_limit_is_a_line) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_and_end(pair.client, "1234567\n12345678");
        buffered_stream in(pair.server, {.limit = 8});
        EXPECT_EQ(co_await in.read_line(), "1234567");
        // Whether the end follows is not known yet when eight bytes have come without a line end.
        expect_error(co_await error_of([&] { return in.read_line(); }), errc::limit_exceeded,
                     "read_line", 0);
        EXPECT_EQ(text_of(co_await in.read_exact(8)), "12345678");
        EXPECT_FALSE(co_await in.read_line());
    };
    with_pair(body);
}

TEST(buffered_stream, it_holds_memory_only_while_bytes_are_unread) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_stream in(pair.server);
        const auto leases = [] { return current_loop_stats().leases; };
        co_await send_text(pair.client, "one\ntwo\nthr");
        EXPECT_EQ(co_await in.read_line(), "one");
        EXPECT_EQ(leases(), 1u);
        EXPECT_EQ(co_await in.read_line(), "two");
        // The rest of a record that must wait moves out of the lease.
        EXPECT_FALSE(co_await move_on_after(10ms, in.read_line()));
        EXPECT_EQ(leases(), 0u);
        EXPECT_EQ(in.buffered(), 3u);
        co_await send_text(pair.client, "ee\n");
        EXPECT_EQ(co_await in.read_line(), "three");
        // The view lives until the next read begins; then nothing is left.
        EXPECT_FALSE(co_await move_on_after(10ms, in.read_line()));
        EXPECT_EQ(leases(), 0u);
        EXPECT_EQ(in.buffered(), 0u);
        // Copied out, it is gone at once.
        co_await send_text(pair.client, "four");
        std::array<std::byte, 4> into{};
        co_await in.read_exact(into);
        EXPECT_EQ(leases(), 0u);
    };
    with_pair(body);
}

TEST(buffered_stream, what_is_buffered_is_answered_without_suspending) {
    const auto body = [](stream_pair& pair) -> task<> {
        std::string lines;
        for (int i = 0; i < 2000; ++i) lines += "line\n";
        co_await send_text(pair.client, lines);
        co_await sleep_for(10ms);
        buffered_stream in(pair.server);
        (void)co_await in.peek(lines.size());
        const loop_stats before = current_loop_stats();
        std::array<std::byte, 1> one{};
        for (int i = 0; i < 1990; ++i) {
            EXPECT_EQ(co_await in.read_line(), "line");
        }
        (void)co_await in.read_exact(2);
        (void)co_await in.read_some(one);
        co_await in.read_exact(one);
        EXPECT_EQ(co_await in.read_until("\n"), "\n");
        const loop_stats after = current_loop_stats();
        // One in 33 goes through the run queue, in the same turn, so that others have theirs.
        EXPECT_LE(after.resumed, before.resumed + 1995 / detail::inline_completions);
        EXPECT_EQ(after.turns, before.turns);
        EXPECT_EQ(after.receive_calls, before.receive_calls);
        EXPECT_EQ(after.frames, before.frames);
    };
    with_pair(body);
}

TEST(buffered_stream, cancellation_wins_at_entry_even_over_buffered_bytes) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_text(pair.client, "a\nb\n");
        buffered_stream in(pair.server);
        EXPECT_EQ(co_await in.read_line(), "a");
        const bool ended = co_await with_cancel_scope([&](cancel_scope& scope) -> task<> {
            scope.cancel();
            (void)co_await in.read_line();
        });
        EXPECT_FALSE(ended);
        EXPECT_EQ(in.buffered(), 2u);
        EXPECT_EQ(co_await in.read_line(), "b");
    };
    with_pair(body);
}

TEST(buffered_stream, errors_come_out_of_combinators_in_order) {
    const auto body = [](stream_pair& pair) -> task<> {
        co_await send_text(pair.client, "0123456789");
        buffered_stream in(pair.server, {.limit = 4});
        // Named tasks: with_timeout refers to the operation, which must live as long as the await.
        const auto read_within = [&](duration limit, std::size_t count) -> task<std::string> {
            co_return text_of(co_await with_timeout(limit, in.read_exact(count)));
        };
        expect_error(co_await error_of([&]() -> task<std::string> {
                         co_return co_await read_within(1s, 5);
                     }),
                     errc::limit_exceeded, "read_exact", 0);
        const result<std::optional<std::string_view>> line = co_await as_result(in.read_line());
        EXPECT_EQ(line.error().code(), errc::limit_exceeded);
        EXPECT_EQ(co_await read_within(1s, 4), "0123");
        EXPECT_EQ(co_await read_within(1s, 4), "4567");
        expect_error(co_await error_of([&]() -> task<std::string> {
                         co_return co_await read_within(1ms, 4);
                     }),
                     errc::deadline_exceeded, "with_timeout", 0);
        EXPECT_EQ(text_of(co_await in.peek(2)), "89");
    };
    with_pair(body);
}

TEST(buffered_stream, a_second_reader_is_busy) {
    const auto body = [](stream_pair& pair) -> task<> {
        buffered_stream in(pair.server);
        const auto first = [](buffered_stream& from) -> task<> {
            EXPECT_EQ(co_await from.read_line(), "line");
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(first, std::ref(in));
            co_await sleep_for(1ms);
            expect_error(co_await error_of([&] { return in.read_exact(1); }), errc::busy,
                         "read_exact", 0);
            co_await send_text(pair.client, "line\n");
        });
    };
    with_pair(body);
}

TEST(buffered_stream, large_records_are_read_past_the_leases) {
    const auto body = [](stream_pair& pair) -> task<> {
        std::string large(200'000, 'x');
        for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('a' + i % 23);
        co_await with_task_group([&](task_group& group) -> task<> {
            const auto send = [](tcp_stream& to, std::string& text) -> task<> {
                co_await send_text(to, text);
            };
            group.spawn(send, std::ref(pair.client), std::ref(large));
            buffered_stream in(pair.server, {.limit = 100'000});
            EXPECT_EQ(text_of(co_await in.read_exact(90'001)), large.substr(0, 90'001));
            EXPECT_EQ(text_of(co_await in.peek(100'000)), large.substr(90'001, 100'000));
            std::string into(60'000, '\0');
            co_await in.read_exact(std::as_writable_bytes(std::span(into)));
            EXPECT_EQ(into, large.substr(90'001, 60'000));
            EXPECT_EQ(text_of(co_await in.read_exact(49'999)), large.substr(150'001));
        });
    };
    with_pair(body);
}

// --- the property: whatever is cancelled whenever, what is read is what was sent

/// A text with lines, delimiters that overlap themselves, and stretches without either.
std::string random_text(random_source& random) {
    std::string text;
    for (std::size_t records = 5 + random.below(30); records > 0; --records) {
        const std::size_t length = random.chance(8) ? random.below(3000) : random.below(40);
        for (std::size_t i = 0; i < length; ++i) text += "ab-\r"[random.below(4)];
        if (!random.chance(6)) text += random.chance(2) ? "\n" : "\r\n";
        if (random.chance(2)) text += "--b";
    }
    return text;
}

/// Cancels the scope that stands here, at random moments.
struct canceller {
    cancel_scope* target = nullptr;
    bool ended = false;
};

task<> cancel_at_random(canceller& what, std::uint64_t seed) {
    random_source random(seed);
    while (!what.ended) {
        if (random.chance(3)) co_await yield();
        else co_await sleep_for(std::chrono::microseconds(random.below(1500)));
        if (what.target != nullptr) what.target->cancel();
    }
}

task<> send_in_pieces(tcp_stream& to, const std::string& text, std::uint64_t seed) {
    random_source random(seed);
    for (std::size_t sent = 0; sent < text.size();) {
        const std::size_t most = random.chance(12) ? 5000 : 1 + random.below(30);
        const std::string_view piece = std::string_view(text).substr(sent, 1 + random.below(most));
        co_await send_text(to, piece);
        sent += piece.size();
        if (!random.chance(3)) co_await sleep_for(std::chrono::microseconds(random.below(4000)));
    }
    to.shutdown_send();
}

/// Makes random reads, interrupts them, and compares with the text.
class checked_reader {
public:
    checked_reader(tcp_stream& from, const std::string& text, canceller& cancels,
                   std::uint64_t seed)
        : random_(seed),
          limit_(random_.chance(2) ? 64 + random_.below(64) : 8192),
          in_(from, {.limit = limit_}),
          text_(text),
          cancels_(cancels) {}

    task<> read_everything() {
        while (at_ < text_.size()) {
            try {
                co_await interrupted(random_.below(7));
            } catch (const io_error& error) {
                if (error.code() == errc::deadline_exceeded) ++interruptions;
                else check_error(error);
            }
            EXPECT_LE(in_.buffered(), limit_);
            if (testing::Test::HasFailure()) co_return;
        }
        std::array<std::byte, 1> none{};
        EXPECT_EQ(co_await in_.read_some(none), 0u);
    }

    unsigned interruptions = 0;
    unsigned refusals = 0;

private:
    /// One read, which is left alone, or given a tiny deadline, or cancelled by somebody else.
    task<> interrupted(std::size_t operation) {
        const auto span = std::chrono::microseconds(random_.below(900));
        switch (random_.below(5)) {
            case 0: co_await read(operation); break;
            case 1:
            case 2: co_await with_timeout(span, read(operation)); break;
            default: {
                const auto body = [this, operation](cancel_scope& scope) -> task<> {
                    cancels_.target = &scope;
                    const target_end guard(cancels_);
                    co_await read(operation);
                };
                if (!co_await with_cancel_scope(body)) ++interruptions;
            }
        }
    }

    struct target_end {
        explicit target_end(canceller& of) noexcept : cancels(of) {}
        target_end(const target_end&) = delete;
        target_end& operator=(const target_end&) = delete;
        ~target_end() { cancels.target = nullptr; }
        canceller& cancels;
    };

    task<> read(std::size_t operation) {
        operation_ = operation;
        count_ = random_.chance(3) ? random_.below(limit_ + 4) : random_.below(50);
        std::vector<std::byte> into(count_);
        switch (operation) {
            case 0: take(text_of(std::span(into).first(co_await in_.read_some(into)))); break;
            case 1:
                co_await in_.read_exact(into);
                take(text_of(into));
                break;
            case 2: take(text_of(co_await in_.read_exact(count_))); break;
            case 3: {
                const std::string seen = text_of(co_await in_.peek(count_));
                EXPECT_EQ(seen, text_.substr(at_, count_));
                break;
            }
            case 4: take(std::string(co_await in_.read_until("--b"))); break;
            default: {
                const auto line = co_await in_.read_line();
                EXPECT_TRUE(line.has_value());
                if (line) take_line(std::string(*line));
            }
        }
    }

    void take(const std::string& bytes) {
        EXPECT_EQ(bytes, text_.substr(at_, bytes.size()));
        if (operation_ == 4) {
            EXPECT_EQ(at_ + bytes.size(), text_.find("--b", at_) + 3);
        }
        if (operation_ == 1 || operation_ == 2) {
            EXPECT_EQ(bytes.size(), count_);
        }
        at_ += bytes.size();
    }
    void take_line(const std::string& line) {
        const std::size_t end = std::min(text_.find('\n', at_), text_.size());
        std::string wanted = text_.substr(at_, end - at_);
        if (end < text_.size() && wanted.ends_with('\r')) wanted.pop_back();
        EXPECT_EQ(line, wanted);
        at_ = std::min(end + 1, text_.size());
    }

    void check_error(const io_error& error) {
        ++refusals;
        const std::size_t left = text_.size() - at_;
        if (error.code() == errc::limit_exceeded) {
            if (operation_ < 4) {
                EXPECT_GT(count_, limit_);
            } else {
                const std::string_view delimiter = operation_ == 4 ? "--b" : "\n";
                EXPECT_GT(text_.find(delimiter, at_), at_ + limit_ - delimiter.size());
            }
        } else {
            EXPECT_EQ(error.code(), errc::end_of_stream);
            EXPECT_EQ(error.bytes_transferred(), left);
            EXPECT_TRUE(operation_ == 4 ? text_.find("--b", at_) == std::string::npos
                                        : count_ > left);
        }
    }

    random_source random_;
    std::size_t limit_;
    buffered_stream in_;
    const std::string& text_;
    canceller& cancels_;
    std::size_t at_ = 0;
    std::size_t operation_ = 0;
    std::size_t count_ = 0;
};

TEST(buffered_stream, cancelling_at_any_await_loses_nothing) {
    unsigned interruptions = 0;
    unsigned refusals = 0;
    for (std::uint64_t seed = 1; seed <= 300 && !HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        random_source random(seed);
        const std::string text = random_text(random);
        const auto body = [&](stream_pair& pair) -> task<> {
            canceller cancels;
            checked_reader reader(pair.server, text, cancels, seed + 1000);
            co_await with_task_group([&](task_group& group) -> task<> {
                group.spawn(send_in_pieces, std::ref(pair.client), std::cref(text), seed + 2000);
                group.spawn(cancel_at_random, std::ref(cancels), seed + 3000);
                co_await reader.read_everything();
                cancels.ended = true;
            });
            interruptions += reader.interruptions;
            refusals += reader.refusals;
        };
        with_pair(body);
    }
    // The test tests something.
    EXPECT_GT(interruptions, 4000u);
    EXPECT_GT(refusals, 300u);
}

}  // namespace
}  // namespace coro::net::stream_tests
