// What the library promises to a transport, and to those who use a stream that stands on one.
#include <coro/net/transport.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/base/report.hpp>
#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"

namespace coro::net {
namespace {

using namespace std::chrono_literals;

/// What a test sees of a transport, also when that is gone.
struct record {
    transfer reading;
    transfer writing;
    int submits = 0;
    int cancels = 0;
    int closes = 0;
    int aborts = 0;
    bool alive = false;
    bool withdraws = true;  ///< at once when it is cancelled
};

/// Does nothing by itself.
class puppet final : public transport {
public:
    explicit puppet(record& seen) noexcept : seen_(seen) { seen_.alive = true; }
    ~puppet() override { seen_.alive = false; }

    void submit(transfer what) noexcept override {
        ++seen_.submits;
        (what.sends() ? seen_.writing : seen_.reading) = what;
    }
    void cancel(transfer what) noexcept override {
        ++seen_.cancels;
        if (seen_.withdraws) what.withdraw();
    }
    void shutdown_send() override {}
    void close() noexcept override { ++seen_.closes; }
    void abort() noexcept override { ++seen_.aborts; }
    std::uint64_t activity() const noexcept override { return 0; }
    std::string_view describe() const noexcept override { return "puppet example.org:443"; }

private:
    record& seen_;
};

template <typename Body>
void simulate(Body body) {
    run_options options;
    options.poller = poller_choice::simulation;
    run(body(), options);
}
task<> turn() { co_await sleep_for(1us); }

/// Reads once; what came of it.
class outcome {
public:
    std::size_t count = 0;
    std::error_code code;
    std::string what;
    bool was_cancelled = false;
    bool ended = false;
};
task<> read_into(stream& from, outcome& came) {
    std::array<std::byte, 8> buffer{};
    try {
        came.count = co_await from.read_some(buffer);
    } catch (const io_error& error) {
        came.code = error.code();
        came.what = error.what();
    } catch (const cancelled&) {
        came.was_cancelled = true;
        came.ended = true;
        throw;
    }
    came.ended = true;
}

class other_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "tls"; }
    std::string message(int code) const override {
        return code == 7 ? "the certificate has expired" : "?";
    }
};
const other_category& others() {
    static const other_category category;
    return category;
}

/// Reads and writes below through a relay, one request for each transfer, and shows the relay.
class middle final : public transport {
public:
    explicit middle(stream below) : below_(std::move(below)) {}

    void submit(transfer what) noexcept override { asking.forward(what); }
    void cancel(transfer) noexcept override { asking.cancel(); }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    std::string_view describe() const noexcept override { return "middle"; }
    void ended(relay& which) noexcept override {
        EXPECT_FALSE(which.is_pending());
        if (drops) which.forwarded().fail(std::make_error_code(std::errc::bad_message));
        else which.pass_on();
    }

    relay asking{*this, below_};
    bool drops = false;  ///< what has come below, in place of passing it on

private:
    stream below_;
};

/// A byte comes below in a turn in which the task above has not been told yet.
TEST(transport_test, a_relay_is_pending_until_its_transport_was_told) {
    simulate([]() -> task<> {
        auto [near, far] = memory_stream::pair();
        auto owned = std::make_unique<middle>(std::move(near));
        const relay& asking = owned->asking;
        stream on(std::move(owned));
        outcome came;
        const auto write = [](const relay& looked_at, stream& other) -> task<> {
            co_await turn();
            EXPECT_TRUE(looked_at.is_pending());
            co_await write_all(other, as_bytes("x"));
            EXPECT_TRUE(looked_at.is_pending()) << "its answer is on its way";
        };
        co_await when_all(read_into(on, came), write(asking, far));
        EXPECT_EQ(came.count, 1u);
        EXPECT_FALSE(asking.is_pending());
    });
}

TEST(transport_test, a_lease_that_is_not_passed_on_goes_back) {
    simulate([]() -> task<> {
        auto [near, far] = memory_stream::pair();
        auto owned = std::make_unique<middle>(std::move(near));
        owned->drops = true;
        stream on(std::move(owned));
        for (int i = 0; i < 3; ++i) {
            co_await write_all(far, as_bytes("x"));
            const auto failed = co_await as_result(on.read_leased());
            EXPECT_FALSE(failed.has_value());
            EXPECT_LE(current_loop_stats().leases, 1u);
        }
        on.close();
        co_await turn();
        EXPECT_EQ(current_loop_stats().leases, 0u);
    });
}

TEST(transport_test, an_error_that_says_cancelled_is_an_error) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto fail = [&seen]() -> task<> {
            co_await turn();
            seen.reading.fail(std::make_error_code(std::errc::operation_canceled));
        };
        co_await when_all(read_into(on, came), fail());
        EXPECT_FALSE(came.was_cancelled);
        EXPECT_EQ(came.code, std::errc::operation_canceled);
    });
}

/// Completes each read at once, with one byte.
class one_byte_each final : public transport {
public:
    void submit(transfer what) noexcept override {
        what.put(as_bytes("x"));
        what.complete();
    }
    void cancel(transfer) noexcept override {}
    void shutdown_send() override {}
    void close() noexcept override {}
    void abort() noexcept override {}
    std::uint64_t activity() const noexcept override { return 0; }
    std::string_view describe() const noexcept override { return "one byte each"; }
};

/// Asks below a thousand times for each read of a task.
class patient final : public transport {
public:
    explicit patient(stream below) : below_(std::move(below)) {}

    void submit(transfer what) noexcept override {
        reading_ = what;
        asking_.receive(piece_);
    }
    void cancel(transfer) noexcept override { asking_.cancel(); }
    void shutdown_send() override {}
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return 0; }
    std::string_view describe() const noexcept override { return "patient"; }
    void ended(relay&) noexcept override {
        if (++asked_ < 1000) return asking_.receive(piece_);
        reading_.put(as_bytes("y"));
        reading_.complete();
    }

private:
    stream below_;
    std::array<std::byte, 1> piece_{};
    transfer reading_;
    int asked_ = 0;
    relay asking_{*this, below_};
};

TEST(transport_test, a_relay_that_asks_again_and_again_gives_way) {
    simulate([]() -> task<> {
        stream on(std::make_unique<patient>(stream(std::make_unique<one_byte_each>())));
        outcome came;
        const std::uint64_t before = current_loop_stats().turns;
        co_await read_into(on, came);
        EXPECT_EQ(came.count, 1u);
        EXPECT_GT(current_loop_stats().turns, before + 10);
    });
}

/// Closed with the last words of the program, while its relay has yet to end.
TEST(transport_test, one_that_ends_with_the_run_may_own_streams) {
    simulate([]() -> task<> {
        auto [near, far] = memory_stream::pair();
        auto [inner, peer] = memory_stream::pair();
        static_cast<void>(far);
        class owner final : public transport {
        public:
            owner(stream below, stream also) : below_(std::move(below)), also_(std::move(also)) {}
            void submit(transfer what) noexcept override { asking_.forward(what); }
            void cancel(transfer) noexcept override { asking_.cancel(); }
            void shutdown_send() override {}
            void close() noexcept override { below_.close(); }
            void abort() noexcept override { below_.abort(); }
            std::uint64_t activity() const noexcept override { return 0; }
            std::string_view describe() const noexcept override { return "owner"; }

        private:
            stream below_;
            stream also_;  // open until the transport is gone
            relay asking_{*this, below_};
        };
        auto on = std::make_unique<stream>(
            std::make_unique<owner>(std::move(near), std::move(inner)));
        const auto read = [](stream& from) -> task<> {
            std::array<std::byte, 1> one{};
            static_cast<void>(co_await as_result(from.read_some(one)));
        };
        const auto close = [](std::unique_ptr<stream>& which) -> task<> {
            co_await turn();
            which->close();
        };
        co_await when_all(read(*on), close(on));
        static_cast<void>(peer);
    });
}

TEST(transport_test, an_error_of_any_category_names_verb_and_transport) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto fail = [&seen]() -> task<> {
            co_await turn();
            seen.reading.fail({7, others()});
        };
        co_await when_all(read_into(on, came), fail());
        EXPECT_EQ(came.code, std::error_code(7, others()));
        EXPECT_EQ(came.what, "recv puppet example.org:443: the certificate has expired");
    });
}

TEST(transport_test, what_is_withdrawn_after_close_is_closed_and_the_transport_goes_last) {
    simulate([]() -> task<> {
        record seen;
        seen.withdraws = false;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto close = [](record& of, stream& which, outcome& read) -> task<> {
            co_await turn();
            which.close();
            EXPECT_EQ(of.cancels, 1);
            EXPECT_EQ(of.closes, 1);
            co_await turn();
            EXPECT_TRUE(of.alive) << "it still has a transfer";
            EXPECT_FALSE(read.ended);
            EXPECT_EQ(current_loop_stats().operations, 1u);
            of.reading.withdraw();
            EXPECT_TRUE(of.alive) << "nothing goes inside of its own functions";
            co_await turn();
            EXPECT_FALSE(of.alive);
            EXPECT_EQ(current_loop_stats().sockets, 0u);
        };
        co_await when_all(read_into(on, came), close(seen, on, came));
        EXPECT_EQ(came.code, errc::closed);
    });
}

TEST(transport_test, a_second_transfer_never_reaches_the_transport) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome first;
        outcome second;
        const auto end = [](record& of) -> task<> {
            co_await turn();
            EXPECT_EQ(of.submits, 1);
            EXPECT_EQ(of.reading.put(as_bytes("0123456789")), 8u);
            of.reading.complete();
        };
        co_await when_all(read_into(on, first), read_into(on, second), end(seen));
        EXPECT_EQ(first.count, 8u);
        EXPECT_EQ(second.code, errc::busy);
    });
}

TEST(transport_test, success_that_came_first_wins_over_a_cancellation) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto both = [](record& of) -> task<> {
            co_await turn();
            of.reading.put(as_bytes("ab"));
            of.reading.complete();
            throw io_error(errc::closed, "test");  // cancels the sibling
        };
        const auto end = co_await as_result(when_all(read_into(on, came), both(seen)));
        EXPECT_FALSE(end.has_value());
        EXPECT_FALSE(came.was_cancelled);
        EXPECT_EQ(came.count, 2u);
        EXPECT_EQ(seen.cancels, 0);
    });
}

TEST(transport_test, a_cancelled_wait_asks_the_transport_and_waits_for_its_answer) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto fail = [](record&) -> task<> {
            co_await turn();
            throw io_error(errc::closed, "test");
        };
        const auto end = co_await as_result(when_all(read_into(on, came), fail(seen)));
        EXPECT_FALSE(end.has_value());
        EXPECT_TRUE(came.was_cancelled);
        EXPECT_EQ(seen.cancels, 1);
    });
}

TEST(transport_test, aborting_is_said_once_and_is_no_close) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        on.abort();
        on.abort();
        on.close();
        EXPECT_EQ(seen.aborts, 1);
        EXPECT_EQ(seen.closes, 0);
        co_await turn();
        EXPECT_FALSE(seen.alive);
    });
}

/// A world whose buffers are all lent to others while `none_left`.
bool none_left = false;
class without_buffers final : public detail::forwarding_poller {
public:
    using forwarding_poller::forwarding_poller;
    std::size_t lend(detail::operation& op) noexcept override {
        return none_left ? 0 : forwarding_poller::lend(op);
    }
};

TEST(transport_test, a_leased_read_that_finds_no_buffer_is_limit_exceeded_and_loses_nothing) {
    detail::wrap_poller =
        [](std::unique_ptr<detail::poller> world) -> std::unique_ptr<detail::poller> {
        return std::make_unique<without_buffers>(std::move(world));
    };
    simulate([]() -> task<> {
        auto ends = memory_stream::pair();
        co_await write_all(ends.first, as_bytes("x"));
        none_left = true;
        const auto none = co_await as_result(ends.second.read_leased());
        EXPECT_TRUE(!none.has_value() && none.error() == errc::limit_exceeded);
        none_left = false;
        const read_lease lease = co_await ends.second.read_leased();
        EXPECT_EQ(as_text(lease.bytes()), "x");
    });
    detail::wrap_poller = nullptr;
}

TEST(transport_test, a_leased_read_lends_no_buffer_for_the_end_of_the_stream_or_an_error) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        const auto read = [](stream& from) -> task<> {
            const read_lease lease = co_await from.read_leased();
            EXPECT_TRUE(lease.empty());
        };
        const auto end = [](record& of) -> task<> {
            co_await turn();
            EXPECT_FALSE(of.reading.room().empty());
            EXPECT_EQ(current_loop_stats().leases, 1u);
            of.reading.complete();
        };
        co_await when_all(read(on), end(seen));
        EXPECT_EQ(current_loop_stats().leases, 0u);
    });
}

TEST(transport_test, a_writer_outlives_the_stream_and_its_transport) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        buffered_writer out(on);
        co_await out.write(as_bytes("hello"));
        co_await turn();
        EXPECT_EQ(seen.submits, 1);
        on.close();
        co_await turn();
        EXPECT_FALSE(seen.alive);
        const auto end = co_await as_result(out.flush());
        EXPECT_TRUE(!end.has_value() && end.error() == errc::closed);
    });
}

TEST(transport_test, a_large_write_arrives_at_most_so_many_bytes_at_once) {
    simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        const std::string much(600 * 1024, 'x');
        const auto take = [](record& of, std::size_t& most) -> task<> {
            std::vector<std::byte> into(1024 * 1024);
            for (int i = 0; i < 3; ++i) {
                co_await turn();
                most = std::max(most, of.writing.take(into));
                of.writing.complete();
            }
        };
        std::size_t most = 0;
        co_await when_all(write_all(on, as_bytes(much)), take(seen, most));
        EXPECT_EQ(most, 256u * 1024u);
        EXPECT_EQ(seen.submits, 3);
    });
}

TEST(transport_test, a_loop_has_its_turns_while_two_ends_in_memory_exchange_all_they_can) {
    simulate([]() -> task<> {
        auto ends = memory_stream::pair();
        const std::string much(8 * 1024 * 1024, 'x');
        bool done = false;
        int turns = 0;
        const auto write = [](stream& to, const std::string& text) -> task<> {
            co_await write_all(to, as_bytes(text));
        };
        const auto read = [](stream& from, std::size_t count, bool& all) -> task<> {
            std::vector<std::byte> into(count);
            co_await read_exact(from, into);
            all = true;
        };
        const auto count = [](bool& all, int& of) -> task<> {
            while (!all) {
                ++of;
                co_await yield();
            }
        };
        co_await when_all(write(ends.first, much), read(ends.second, much.size(), done),
                          count(done, turns));
        EXPECT_GE(turns, 60);  // 128 pieces of 64 KiB
    });
}

using transport_death_test = ::testing::Test;

TEST(transport_death_test, completing_twice_says_so) {
    EXPECT_DEATH(simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto end = [](record& of) -> task<> {
            co_await turn();
            of.reading.complete();
            of.reading.complete();
        };
        co_await when_all(read_into(on, came), end(seen));
    }), "a transport completed a transfer that it had completed already");
}

TEST(transport_death_test, a_write_that_takes_nothing_says_so) {
    EXPECT_DEATH(simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        const auto end = [](record& of) -> task<> {
            co_await turn();
            of.writing.complete();
        };
        co_await when_all(write_all(on, as_bytes("x")), end(seen));
    }), "completed a write of which it has taken no byte");
}

TEST(transport_death_test, a_failure_without_an_error_says_so) {
    EXPECT_DEATH(simulate([]() -> task<> {
        record seen;
        stream on(std::make_unique<puppet>(seen));
        outcome came;
        const auto end = [](record& of) -> task<> {
            co_await turn();
            of.reading.fail({});
        };
        co_await when_all(read_into(on, came), end(seen));
    }), "a transfer had failed without an error");
}

TEST(transport_death_test, a_relay_that_is_asked_twice_and_a_part_that_is_forwarded_say_so) {
    static bool moves = false;
    class hasty final : public transport {
    public:
        explicit hasty(stream below) : below_(std::move(below)) {}
        void submit(transfer what) noexcept override {
            if (moves) what.put(as_bytes("x"));
            asking_.forward(what);
            asking_.forward(what);
        }
        void cancel(transfer) noexcept override {}
        void shutdown_send() override {}
        void close() noexcept override {}
        void abort() noexcept override {}
        std::uint64_t activity() const noexcept override { return 0; }
        std::string_view describe() const noexcept override { return "hasty"; }

    private:
        stream below_;
        relay asking_{*this, below_};
    };
    const auto read = []() -> task<> {
        auto [near, far] = memory_stream::pair();
        stream on(std::make_unique<hasty>(std::move(near)));
        outcome came;
        co_await read_into(on, came);
        static_cast<void>(far);
    };
    EXPECT_DEATH(simulate(read), "a relay was given a request while another one is pending");
    moves = true;
    EXPECT_DEATH(simulate(read), "forwarded a transfer of which it had moved a part itself");
}

TEST(transport_death_test, a_stream_outside_of_run_and_one_without_room_say_so) {
    record seen;
    EXPECT_DEATH(stream(std::make_unique<puppet>(seen)), "made of a transport outside of run");
    EXPECT_DEATH(simulate([]() -> task<> {
        static_cast<void>(memory_stream::pair({.capacity = 0}));
        co_return;
    }), "can carry nothing");
}

}  // namespace
}  // namespace coro::net
