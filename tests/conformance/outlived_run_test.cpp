// Objects that outlive the run in which they were used: what needs a loop only while tasks wait
// finds a new home in the next run; what belongs to the poller of its loop says one sentence. A
// loop of a later run may have the address of one that is gone, so nothing may depend on addresses.
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/mutex.hpp>
#include <coro/runtime/semaphore.hpp>

#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include <coro/net/buffered_writer.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Enough runs for loops to come back at an address.
constexpr int runs = 20;

struct kept_objects {
    event set;
    mutex guard;
    semaphore slots{2};
    channel<int> numbers{4};

    task<> use(int expected) {
        EXPECT_EQ(set.is_set(), expected != 0);
        set.reset();
        set.set();
        co_await set.wait();
        {
            const auto tried = guard.try_lock();
            EXPECT_TRUE(tried);
        }
        const auto lock = co_await guard.lock();
        const auto permit = co_await slots.acquire(2);
        if (expected != 0) {
            const std::optional<int> number = co_await numbers.receive();
            EXPECT_EQ(number, expected);
        }
        const bool sent = numbers.try_send(expected + 1);
        EXPECT_TRUE(sent);
    }
    task<> visit(int before) {
        co_await set.wait();
        const auto lock = co_await guard.lock();
        const auto permit = co_await slots.acquire();
        const std::optional<int> number = co_await numbers.receive();
        EXPECT_EQ(number, before + 1);
        co_await numbers.send(before + 1);
    }
};

class outlived_run_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, outlived_run_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(outlived_run_test, locks_events_and_channels_are_used_by_run_after_run) {
    kept_objects kept;
    for (int number = 0; number < runs; ++number) run(kept.use(number), options_for(GetParam()));
    EXPECT_TRUE(kept.set.is_set());  // outside of any run nobody else is there
}

TEST_P(outlived_run_test, so_are_those_that_were_made_in_the_first_one) {
    std::optional<kept_objects> kept;
    for (int number = 0; number < runs; ++number) {
        const auto main = [&]() -> task<> {
            if (!kept) kept.emplace();
            co_await kept->use(number);
        };
        run(main(), options_for(GetParam()));
    }
}

TEST_P(outlived_run_test, a_lock_that_is_held_beyond_its_run_is_held_in_the_next) {
    mutex guard;
    mutex::scoped_lock held = run(
        [](mutex& of) -> task<mutex::scoped_lock> { co_return co_await of.lock(); }(guard),
        options_for(GetParam()));
    const auto main = [&]() -> task<> {
        EXPECT_FALSE(guard.try_lock());
        const auto locks = [&]() -> task<bool> {
            const auto lock = co_await guard.lock();
            co_return static_cast<bool>(lock);
        };
        EXPECT_FALSE(co_await move_on_after(duration::zero(), locks()));
        held.unlock();
        EXPECT_EQ(co_await move_on_after(1h, locks()), true);
    };
    run(main(), options_for(GetParam()));
    held = run([](mutex& of) -> task<mutex::scoped_lock> { co_return co_await of.lock(); }(guard),
               options_for(GetParam()));
    held.unlock();  // outside of any run
    EXPECT_FALSE(guard.is_locked());
}

class outlived_run_loops_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, outlived_run_loops_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// The first user of each run is on another of its loops; the others wait for what lives there.
TEST_P(outlived_run_loops_test, the_first_user_of_a_run_decides_where_they_live) {
    kept_objects kept;
    for (unsigned number = 0; number < runs; ++number) {
        const auto main = [&kept, number]() -> task<> {
            const unsigned home = number % 2;
            const int value = static_cast<int>(number);
            const auto first = [&](task_group& group) -> task<> {
                group.spawn({.loop = home}, &kept_objects::use, std::ref(kept), value);
                co_return;
            };
            co_await with_task_group(first);
            const auto second = [&](task_group& group) -> task<> {
                group.spawn({.loop = 1 - home}, &kept_objects::visit, std::ref(kept), value);
                co_return;
            };
            co_await with_task_group(second);
        };
        in_loops(2, main());
    }
}

// --- what belongs to a poller

class outlived_run_death_test : public world_test {
protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }

    /// Makes a stream in one run, and has it used in another one.
    void use_in_the_next_run(task<> (*use)(net::tcp_stream stream)) {
        net::tcp_stream kept;
        const auto make = [](net::tcp_stream& into) -> task<> {
            stream_pair pair;
            co_await pair.open();
            into = std::move(pair.near);
        };
        const auto next = [](net::tcp_stream& from, task<> (*how)(net::tcp_stream)) -> task<> {
            stream_pair other;  // whose slot the kept one must not be taken for
            co_await other.open();
            co_await how(std::move(from));
        };
        run(make(kept), options_for(GetParam()));
        run(next(kept, use), options_for(GetParam()));
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, outlived_run_death_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(outlived_run_death_test, a_stream_is_not_used_in_the_next_run) {
    using use = task<> (*)(net::tcp_stream stream);
    const use uses[] = {
        [](net::tcp_stream stream) -> task<> { co_await say(stream, "x"); },
        [](net::tcp_stream stream) -> task<> { co_await read_to_end(stream); },
        [](net::tcp_stream stream) -> task<> { co_await stream.rebind(); },
        [](net::tcp_stream stream) -> task<> {
            static_cast<void>(stream.remote_endpoint());
            co_return;
        },
        [](net::tcp_stream stream) -> task<> {
            net::buffered_writer writer(stream);
            co_await writer.write(as_bytes("x"));
            co_await writer.flush();
        },
    };
    for (const use each : uses)
        EXPECT_DEATH(use_in_the_next_run(each),
                     "a stream or listener was used outside of the run\\(\\) in which it was made");
    EXPECT_DEATH(use_in_the_next_run([](net::tcp_stream) -> task<> { co_return; }),
                 "a stream or listener was destroyed outside of its loop: it must end inside of "
                 "the run\\(\\) in which it was made");
}

TEST_P(outlived_run_death_test, a_lease_does_not_end_in_the_next_run) {
    const auto program = [] {
        net::read_lease kept;
        const auto make = [](net::read_lease& into) -> task<> {
            stream_pair pair;
            co_await pair.open();
            co_await say(pair.far, "x");
            into = co_await pair.near.read_leased();
        };
        const auto next = [](net::read_lease lease) -> task<> {
            lease = net::read_lease();
            co_return;
        };
        run(make(kept), options_for(GetParam()));
        run(next(std::move(kept)), options_for(GetParam()));
    };
    EXPECT_DEATH(program(), "a read lease ended outside of its loop");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
