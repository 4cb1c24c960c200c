// Memory that is refused: the n-th allocation of a scenario fails, alone or with all that follow,
// for each n. The run goes on, or an exception leaves it; nothing stays open, and nothing hangs or
// ends the process. Malloc and its like are refused, so what the C++ runtime and the C library need
// is refused as well. Not in builds with a sanitizer, which brings its own malloc.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CORO_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CORO_TEST_SANITIZED
#endif
#endif

#ifndef CORO_TEST_SANITIZED

#include <array>
#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include <coro/runtime/local_task_group.hpp>

#include "conformance/net_test_support.hpp"
#include "support/leftovers.hpp"

namespace {

/// Of all threads. The count is LONG_MIN while nobody looks.
std::atomic<long> allocations{LONG_MIN};
std::atomic<long> first_refused{0};
std::atomic<long> last_refused{0};

bool refused() noexcept {
    if (allocations.load(std::memory_order_relaxed) < 0) return false;
    const long number = allocations.fetch_add(1, std::memory_order_relaxed) + 1;
    if (number < first_refused || number > last_refused) return false;
    errno = ENOMEM;
    return true;
}

}  // namespace

extern "C" {
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept { return refused() ? nullptr : __libc_malloc(size); }
void* calloc(std::size_t count, std::size_t size) noexcept {
    return refused() ? nullptr : __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
    return refused() ? nullptr : __libc_realloc(memory, size);
}
}

namespace coro { inline namespace v0 { namespace detail::regression {
namespace {

using namespace conformance;

struct scenario {
    const char* name;
    unsigned loops;
    task<> (*main)();
};

// --- the scenarios

/// A client talks to a server on two loops. Where the server has no memory for it, the client gives
/// up after a while.
task<> talk(net::endpoint where) {
    for (int i = 0; i < 2; ++i) {
        net::tcp_stream stream = co_await net::tcp_stream::connect(where);
        co_await say(stream, "hello");
        co_await hear(stream, "hello");
    }
}
task<> serve_a_client() {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto body = [&](task_group& group) -> task<> {
        group.spawn([](net::tcp_listener& from) -> task<> {
            co_await serve(from, echo, {.limits = {.connections = 10, .drain = 100ms}});
        }, std::ref(listener));
        static_cast<void>(co_await move_on_after(100ms, talk(where)));
        group.request_stop();  // not cancel(), which would end a server that hangs
    };
    co_await with_task_group(body);
}

task<> connect_and_talk() {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto body = [&](task_group& group) -> task<> {
        group.spawn([](net::tcp_listener& from) -> task<> {
            net::tcp_stream peer = co_await from.accept();
            co_await echo(std::move(peer));
        }, std::ref(listener));
        net::tcp_stream stream = co_await net::tcp_stream::connect(where);
        net::buffered_writer writer(stream);
        co_await writer.write(as_bytes("hello\n"));
        co_await writer.flush();
        net::buffered_stream reader(stream);
        const auto line = co_await reader.read_line();
        EXPECT_TRUE(line.has_value());
    };
    static_cast<void>(co_await move_on_after(100ms, with_task_group(body)));
}

task<> yield_twice() {
    co_await yield();
    co_await yield();
}
/// Ends a stream on another loop than its own.
task<> drop(net::tcp_stream) { co_return; }

task<> groups_over_loops() {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::tcp_stream near = co_await net::tcp_stream::connect(listener.local_endpoint());
    const net::tcp_stream far = co_await listener.accept();
    const auto dropping = [&](task_group& group) -> task<> {
        group.spawn({.loop = 1}, drop, std::move(near));
        co_return;
    };
    co_await with_task_group(dropping);
    for (int round = 0; round < 2; ++round) {
        const auto body = [](task_group& group) -> task<> {
            for (unsigned i = 0; i < 4; ++i)
                group.spawn({.loop = i % 2}, yield_twice);
            co_await group.join();
        };
        co_await with_task_group(body);
    }
}

struct shared_things {
    channel<std::string> words{1};
    mutex guard;
    semaphore slots{1};
    event done;

    task<> produce() {
        for (int i = 0; i < 4; ++i) {
            const auto lock = co_await guard.lock();
            std::string word(100, 'x');
            co_await words.send(std::move(word));
        }
        words.close();
    }
    task<> consume() {
        for (;;) {
            const auto permit = co_await slots.acquire();
            const auto word = co_await words.receive();
            if (!word) break;
        }
        done.set();
    }
};
task<> channels() {
    for (const unsigned producer : {0u, 1u}) {
        shared_things things;
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.loop = producer}, &shared_things::produce, std::ref(things));
            group.spawn({.loop = 1 - producer}, &shared_things::consume, std::ref(things));
            co_await things.done.wait();
        };
        co_await with_task_group(body);
    }
}

task<> fibers() {
    const auto outer = [] {
        local_task_group group;
        for (int i = 0; i < 3; ++i)
            group.spawn_fiber([] { coro::await(yield_twice()); });
        group.spawn(yield_twice());
        group.join();
        try {
            coro::await(with_timeout(duration::zero(), sleep_for(1h)));
        } catch (const io_error&) {
        }
    };
    co_await fiber(outer);
}

task<> blocking_calls() {
    const auto body = [](task_group& group) -> task<> {
        for (int i = 0; i < 3; ++i)
            group.spawn([]() -> task<> {
                const int value = co_await blocking([] { return 42; });
                EXPECT_EQ(value, 42);
            });
        co_await group.join();
        const std::string dump = dump_tasks();
        EXPECT_LE(dump.size(), 10000u);
    };
    co_await with_task_group(body);
}

const scenario scenarios[] = {
    {"serve", 2, serve_a_client},       {"connect", 1, connect_and_talk},
    {"groups", 2, groups_over_loops},   {"channels", 2, channels},
    {"fibers", 1, fibers},              {"blocking", 1, blocking_calls},
};

// --- the sweep

/// More allocations than this are those of a steady state.
constexpr long most_swept = 200;

struct sweep {
    const scenario& of;
    poller_choice world;
    long counted = 0;    ///< allocations of the last run
    unsigned thrown = 0;

    /// Runs the scenario and refuses the allocations `from` to `to`.
    void run_refusing(long from, long to) {
        run_options options = options_for(world);
        options.strict = false;  // without memory for a ring it may be epoll
        options.loops = of.loops;
        const std::size_t descriptors = open_descriptors();
        first_refused = from;
        last_refused = to;
        bool failed = false;
        std::exception_ptr error;
        allocations = 0;
        try {
            run(of.main(), options);
        } catch (...) {
            failed = true;
            error = std::current_exception();
        }
        counted = allocations.exchange(LONG_MIN);
        thrown += failed ? 1 : 0;
        EXPECT_EQ(open_descriptors(), descriptors) << of.name << " " << from << " to " << to;
        if (!failed) return;
        try {
            std::rethrow_exception(error);
        } catch (const std::exception&) {
        } catch (...) {
            ADD_FAILURE() << of.name << " " << from << ": ended with something else";
        }
    }
};

class out_of_memory_test : public ::testing::TestWithParam<poller_choice> {
protected:
    void SetUp() override {
        coro_test::watch_memory(false);  // its registries allocate
        set_report_hook([](const report_event&, void*) noexcept {}, nullptr);
    }
    void TearDown() override { set_report_hook(nullptr, nullptr); }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, out_of_memory_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(out_of_memory_test, a_run_goes_on_or_ends_with_an_exception) {
    for (const scenario& each : scenarios) {
        sweep once{each, GetParam()};
        once.run_refusing(LONG_MAX, LONG_MAX);
        ASSERT_EQ(once.thrown, 0u) << each.name;
        const long all = std::min(once.counted, most_swept);
        ASSERT_GT(all, 3) << each.name;
        for (long n = 1; n <= all; ++n) once.run_refusing(n, n);
        EXPECT_GT(once.thrown, 0u) << each.name;
        sweep from_then_on{each, GetParam()};
        for (long n = 1; n <= all; ++n) from_then_on.run_refusing(n, LONG_MAX);
        EXPECT_GT(from_then_on.thrown, 0u) << each.name;
        sweep after{each, GetParam()};
        after.run_refusing(LONG_MAX, LONG_MAX);  // nothing is the worse for it
        EXPECT_EQ(after.thrown, 0u) << each.name;
    }
}

// --- a connection on its way to another loop

/// Passes everything on, and refuses the n-th allocation of each move.
class refusing_moves final : public served {
public:
    refusing_moves(served& below, long number) noexcept : below_(below), number_(number) {}
    task<> accept_all(acceptor& by) override { return below_.accept_all(by); }
    task<> accept_if_waiting(acceptor& by) override { return below_.accept_if_waiting(by); }
    task<> call(net::stream& stream, net::guarded&& guard) override {
        return below_.call(stream, std::move(guard));
    }
    std::optional<net::endpoint> endpoint_of(const net::stream& stream) const noexcept override {
        return below_.endpoint_of(stream);
    }
    bool can_move(const net::stream& stream) const noexcept override {
        return below_.can_move(stream);
    }
    void move_to(const loop_handle& loop, net::stream& stream, arrival& as) override {
        struct refusing {
            refusing(long number, long& into) noexcept : counted(into) {
                first_refused = last_refused = number;
                allocations = 0;
            }
            ~refusing() { counted = allocations.exchange(LONG_MIN); }
            long& counted;
        };
        name_ = stream.describe();
        failed_ = true;
        const refusing now(number_, counted_);
        below_.move_to(loop, stream, as);
        failed_ = false;
    }
    [[nodiscard]] bool failed() const noexcept { return failed_; }
    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// Allocations of the last move.
    [[nodiscard]] long counted() const noexcept { return counted_; }

private:
    served& below_;
    long number_;
    long counted_ = 0;
    bool failed_ = false;
    std::string name_;
};

struct lost_or_served {
    bool move_failed = false;
    long allocations_of_the_move = 0;
    std::string name;
    std::string heard;  ///< until the end of the stream
    std::vector<std::string> reported;
};

/// Sends a word, and stays until the client has closed its end.
task<> say_hello(net::stream peer) {
    co_await say(peer, "hello");
    std::array<std::byte, 16> into{};
    while (co_await peer.read_some(mutable_bytes(into)) != 0) {
    }
}

/// Two clients, one for each loop: the second one has to move.
lost_or_served move_refusing(long number) {
    lost_or_served seen;
    const report_collector reports;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        auto* const handler = &say_hello;
        served_types<net::tcp_listener, task<>(*const)(net::stream)> plain(listener, handler);
        refusing_moves moves(plain, number);
        const auto clients = [&](task_group& group) -> task<> {
            group.spawn(serve_connections(moves, {.limits = {.drain = 100ms}}));
            net::tcp_stream stays = co_await net::tcp_stream::connect(where);
            co_await hear(stays, "hello");
            net::tcp_stream moves_on = co_await net::tcp_stream::connect(where);
            moves_on.shutdown_send();
            std::array<std::byte, 16> into{};
            while (const std::size_t got = co_await moves_on.read_some(mutable_bytes(into)))
                seen.heard += as_text(const_bytes(into).first(got));
            group.request_stop();
        };
        co_await with_task_group(clients);
        seen.move_failed = moves.failed();
        seen.allocations_of_the_move = moves.counted();
        seen.name = moves.name();
    };
    run_options options;
    options.poller = poller_choice::simulation;
    options.loops = 2;
    run(body(), options);
    for (const auto& each : reports.entries) seen.reported.push_back(each.endpoint);
    return seen;
}

class hand_over_test : public ::testing::Test {
protected:
    void SetUp() override { coro_test::watch_memory(false); }
};

/// The last allocation is the message to the other loop: the connection has left this one before.
TEST_F(hand_over_test, a_connection_that_is_lost_on_its_way_is_reported_with_its_peer) {
    const lost_or_served moved = move_refusing(LONG_MAX);
    ASSERT_FALSE(moved.name.empty()) << "no connection moved";
    EXPECT_FALSE(moved.move_failed);
    EXPECT_EQ(moved.heard, "hello");
    EXPECT_EQ(moved.reported, std::vector<std::string>{});
    ASSERT_GT(moved.allocations_of_the_move, 0);

    const lost_or_served lost = move_refusing(moved.allocations_of_the_move);
    EXPECT_TRUE(lost.move_failed);
    EXPECT_EQ(lost.heard, "") << "it ends in order: a reset would have thrown at the client";
    EXPECT_EQ(lost.reported, std::vector<std::string>{lost.name});
}

}  // namespace
}}}  // namespace coro::v0::detail::regression

#endif
