// Misuse of streams, listeners, leases, buffers and operations ends in the sentence that names it;
// memory that the kernel may still write into is not given back in silence. Each in all worlds in
// which it means something.
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/framed_stream.hpp>

#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <thread>

#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/loop.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

// --- what is pending stays where it is

class pending_death_test : public poller_fixture {
protected:
    /// In the child nothing is asked of the poller: a ring belongs to the process that made it.
    void SetUp() override {
        poller_fixture::SetUp();
        GTEST_FLAG_SET(death_test_style, "fast");
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, pending_death_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(pending_death_test, destroying_a_pending_operation_aborts) {
    const listener_socket listener = listen();
    operation accepting(opcode::accept, listener.handle);
    ASSERT_FALSE(submit(accepting));
    EXPECT_DEATH(accepting.~operation(), "an operation was destroyed while the kernel may still");
    world().cancel(accepting);
    finish(accepting);
}

class pending_memory_death_test : public pending_death_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, pending_memory_death_test,
                         ::testing::ValuesIn(real_worlds()), parameter_name);

TEST_P(pending_memory_death_test, giving_a_block_back_under_a_pending_receive_aborts) {
    const connected_pair pair = connect_pair();
    void* const block = allocate_block(128);
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = static_cast<std::byte*>(block) + 100;
    receiving.buffer.size = 28;
    ASSERT_FALSE(submit(receiving));
    EXPECT_DEATH(free_block(block, 128), "a pending receive may still write into it");
    world().cancel(receiving);
    finish(receiving);
    free_block(block, 128);
}

// --- loops and their objects

class misuse_death_test : public world_test {
protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, misuse_death_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// Runs `body()` on a loop of this thread, without the checks of run_in(): the child dies.
template <typename Body>
void run_bare(poller_choice world, Body body) {
    run(body(), options_for(world));
}

void use_on_another_loop(poller_choice world) {
    run_bare(world, [world]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::thread other([&] {
            run_bare(world, [&]() -> task<> { (void)co_await listener.accept(); });
        });
        other.join();
        co_return;
    });
}

TEST_P(misuse_death_test, a_listener_on_a_loop_of_another_run) {
    EXPECT_DEATH(use_on_another_loop(GetParam()),
                 "a stream or listener was used outside of the run\\(\\) in which it was made");
}

/// What asks a stream something without waiting, where it is not at home.
void ask_on_another_loop(poller_choice world, void (*question)(net::tcp_stream& stream)) {
    run_bare(world, [world, question]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::thread other([&] {
            run_bare(world, [&]() -> task<> {
                question(pair.near);
                co_return;
            });
        });
        other.join();
    });
}

TEST_P(misuse_death_test, questions_to_a_stream_on_a_loop_of_another_run) {
    using question = void (*)(net::tcp_stream&);
    const question questions[] = {
        [](net::tcp_stream& stream) { static_cast<void>(stream.remote_endpoint()); },
        [](net::tcp_stream& stream) { static_cast<void>(stream.local_endpoint()); },
        [](net::tcp_stream& stream) { stream.set_options({.no_delay = false}); },
        [](net::tcp_stream& stream) { stream.shutdown_send(); },
        [](net::tcp_stream& stream) {
            static_cast<void>(is_broken(stream_access::ref(stream), direction::either));
        },
    };
    for (const question ask : questions) {
        EXPECT_DEATH(ask_on_another_loop(GetParam(), ask),
                     "a stream or listener was used outside of the run\\(\\) in which it was made");
    }
}

void destroy_outside_of_its_loop(poller_choice world) {
    std::unique_ptr<net::tcp_listener> kept;
    run_bare(world, [&]() -> task<> {
        kept = std::make_unique<net::tcp_listener>(
            net::tcp_listener::bind(net::endpoint::loopback(0)));
        co_return;
    });
    kept.reset();
}

TEST_P(misuse_death_test, a_listener_that_outlives_its_loop) {
    EXPECT_DEATH(destroy_outside_of_its_loop(GetParam()),
                 "a stream or listener was destroyed outside of its loop");
}

void keep_a_lease(poller_choice world) {
    net::read_lease kept;
    run_bare(world, [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "x");
        net::read_lease lease = co_await pair.near.read_leased();
        std::thread other([&] { const net::read_lease ends_here = std::move(lease); });
        other.join();
    });
}

TEST_P(misuse_death_test, a_lease_that_ends_outside_of_its_loop) {
    EXPECT_DEATH(keep_a_lease(GetParam()), "a read lease ended outside of its loop");
}

void serve_nobody(poller_choice world) {
    run_bare(world, []() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        co_await serve(listener, echo, {.limits = {.connections = 0}});
    });
}

TEST_P(misuse_death_test, a_server_of_no_connections) {
    EXPECT_DEATH(serve_nobody(GetParam()), "server_limits.connections must be at least 1");
}

void read_until_nothing(poller_choice world) {
    run_bare(world, []() -> task<> {
        stream_pair pair;
        co_await pair.open();
        net::buffered_stream in(pair.near);
        (void)co_await in.read_until("");
    });
}

TEST_P(misuse_death_test, an_empty_delimiter) {
    EXPECT_DEATH(read_until_nothing(GetParam()), "a delimiter of at least one byte");
}

void limit_frames_to(poller_choice world, std::size_t limit) {
    run_bare(world, [limit]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        net::buffered_stream in(pair.near);
        net::buffered_writer out(pair.near);
        const net::framed_stream messages(in, out, {.limit = limit});
    });
}

TEST_P(misuse_death_test, frames_that_do_not_fit_their_length) {
    EXPECT_DEATH(limit_frames_to(GetParam(), std::size_t{1} << 32),
                 "the limit of frames does not fit their 4-byte length");
}

void destroy_a_writer_in_use(poller_choice world) {
    run_bare(world, []() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        std::optional<net::buffered_writer> out(std::in_place, pair.near,
                                                net::buffered_writer_options{.limit = 16});
        const auto write = [](net::buffered_writer& to) -> task<> {
            const std::string much(1 << 24, 'x');
            co_await to.write(as_bytes(much));
        };
        co_await with_task_group([&](task_group& group) -> task<> {
            group.spawn(write, std::ref(*out));
            co_await sleep_for(1ms);
            out.reset();
        });
    });
}

TEST_P(misuse_death_test, a_writer_that_is_destroyed_while_a_task_writes) {
    EXPECT_DEATH(destroy_a_writer_in_use(GetParam()),
                 "destroyed while a task waits in its write or flush");
}

// --- lists

struct item : list_node<item> {};

TEST(list_death_test, an_object_in_two_lists_and_a_list_that_ends_with_objects_abort) {
    item one;
    intrusive_list<item> first;
    intrusive_list<item> second;
    first.push_back(one);
    EXPECT_DEATH(second.push_back(one), "put into a list while it was in one");
    EXPECT_DEATH(second.push_front(one), "put into a list while it was in one");
    EXPECT_DEATH(first.~intrusive_list(), "an intrusive list ended while objects were in it");
    one.unlink();
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
