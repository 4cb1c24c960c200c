// How serve() ends a connection: in order when its handler returns, by a reset when an exception
// ends it; the same in all three worlds.
#include <array>
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include <coro/net/buffered_writer.hpp>
#include <coro/net/transport.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/until_stop.hpp>

#include "net_test_support.hpp"
#include "support/leftovers.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class serve_ends_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, serve_ends_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);
class serve_ends_on_loops : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, serve_ends_on_loops, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

using handler_function = std::function<task<>(net::tcp_stream)>;

/// Starts a server with `handler`; its client has said one byte, which the handler is to read: a
/// close before that is a reset of the kernel's own. Returns what the client met after "part".
task<std::string> end_with(handler_function handler, serve_options limits = {},
                           std::function<task<>(task_group&)> meanwhile = {}) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    std::string ended;
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn(serve(listener, std::ref(handler), limits));
        net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
        co_await say(client, "x");
        co_await hear(client, "part");
        if (meanwhile) co_await meanwhile(group);
        ended = co_await end_of(client);
        group.request_stop();
    };
    co_await with_task_group(in_group);
    co_return ended;
}

[[noreturn]] void fail() { throw std::runtime_error("the handler's own words"); }

task<> begin(net::tcp_stream& peer) {
    co_await hear(peer, "x");
    co_await say(peer, "part");
}

// --- handlers that end with an exception, and where they have their stream then

task<> fails(net::tcp_stream peer) {
    co_await begin(peer);
    fail();
}
task<> fails_with_a_local_stream(net::tcp_stream peer) {
    net::tcp_stream mine = std::move(peer);
    co_await begin(mine);
    fail();
}
task<> fails_with_a_shared_stream(net::tcp_stream peer) {
    const auto mine = std::make_shared<net::tcp_stream>(std::move(peer));
    co_await begin(*mine);
    fail();
}
task<> fails_below(net::tcp_stream peer) { co_await fails(std::move(peer)); }
/// Hands everything to the stream below.
class layer final : public net::transport {
public:
    explicit layer(net::stream below) : below_(std::move(below)) {}
    void submit(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).forward(what);
    }
    void cancel(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).cancel();
    }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    std::string_view describe() const noexcept override { return "layer"; }

private:
    net::stream below_;
    net::relay receiving_{*this, below_};
    net::relay sending_{*this, below_};
};
net::stream two_layers_on(net::tcp_stream peer) {
    net::stream inner(std::make_unique<layer>(std::move(peer)));
    return net::stream(std::make_unique<layer>(std::move(inner)));
}
task<> begin_on(net::stream& peer) {
    std::array<std::byte, 1> said{};
    co_await net::read_exact(peer, said);
    co_await net::write_all(peer, as_bytes("part"));
}
task<> fails_above_a_transport(net::tcp_stream peer) {
    net::stream above = two_layers_on(std::move(peer));
    co_await begin_on(above);
    fail();
}
task<> returns_above_a_transport(net::tcp_stream peer) {
    net::stream above = two_layers_on(std::move(peer));
    co_await begin_on(above);
}
task<> fails_in_a_table(net::tcp_stream peer) {
    std::vector<task<>> tasks;
    tasks.push_back(fails(std::move(peer)));
    co_await when_all(std::move(tasks));
}
task<> fails_in_a_child(net::tcp_stream peer) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(fails, std::move(peer));
        co_return;
    };
    co_await with_task_group(body);
}
task<> fails_beside_its_stream(net::tcp_stream peer) {
    co_await begin(peer);
    const auto body = [&](task_group& group) -> task<> {
        group.spawn([](net::tcp_stream of) -> task<> { co_await echo(std::move(of)); },
                    std::move(peer));
        co_await sleep_for(1ms);
        fail();
    };
    co_await with_task_group(body);
}
task<> fails_in_time(net::tcp_stream peer) {
    co_await begin(peer);
    co_await with_timeout(2ms, echo(std::move(peer)));
}
task<> fails_in_a_fiber(net::tcp_stream peer) {
    const auto body = [](net::tcp_stream mine) {
        coro::await(begin(mine));
        fail();
    };
    co_await fiber(body, std::move(peer));
}
task<> fails_in_a_catch(net::tcp_stream peer) {
    co_await begin(peer);
    try {
        fail();
    } catch (const std::runtime_error&) {
        throw;
    }
}
task<> fails_for_its_peer(net::tcp_stream peer) {
    co_await begin(peer);
    co_await move_on_after(2ms, echo(std::move(peer)));  // which is cut, and not by a stop
    fail();
}

task<> fails_with(task<> never_started) {
    static_cast<void>(never_started);
    co_await sleep_for(1ms);
    fail();
}
task<> fails_with_an_unstarted_task(net::tcp_stream peer) {
    co_await begin(peer);
    co_await fails_with(echo(std::move(peer)));
}

TEST_P(serve_ends_test, a_handler_that_ends_with_an_exception_resets_wherever_its_stream_is) {
    const std::vector<std::pair<const char*, task<> (*)(net::tcp_stream)>> handlers{
        {"a parameter", &fails},
        {"a local variable", &fails_with_a_local_stream},
        {"shared", &fails_with_a_shared_stream},
        {"of a task that is awaited", &fails_below},
        {"of a task in a table", &fails_in_a_table},
        {"of a child", &fails_in_a_child},
        {"of a child that is cancelled by that", &fails_beside_its_stream},
        {"of a task that a deadline ends", &fails_in_time},
        {"of a fiber", &fails_in_a_fiber},
        {"a parameter, thrown again", &fails_in_a_catch},
        {"of a task that was given up", &fails_for_its_peer},
        {"under two transports", &fails_above_a_transport},
        {"of a task that never ran", &fails_with_an_unstarted_task},
    };
    const auto body = [&]() -> task<> {
        report_collector reports;
        for (const auto& [where, handler] : handlers) {
            const std::string ended = co_await end_with(handler);
            EXPECT_EQ(ended, "reset") << where;
        }
        EXPECT_EQ(reports.entries.size(), handlers.size());
        for (const auto& [where, handler] : handlers) {
            const std::string ended = co_await end_with(handler, {.reset_failed = false});
            EXPECT_EQ(ended, "clean") << where << ", though that was switched off";
        }
    };
    in_world(body);
}

/// Before there is a task of it.
TEST_P(serve_ends_test, a_handler_that_throws_at_once_resets) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto handler = [](net::tcp_stream) -> task<> { fail(); };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler));
            // The reset may be faster than the end of connecting.
            auto client =
                co_await as_result(net::tcp_stream::connect(listener.local_endpoint()));
            if (!client) EXPECT_EQ(client.error(), std::errc::connection_reset);
            else EXPECT_EQ(co_await end_of(*client), "reset");
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_world(body);
}

// --- those that end in order

task<> returns(net::tcp_stream peer) { co_await begin(peer); }
task<> catches(net::tcp_stream peer) {
    co_await begin(peer);
    try {
        fail();
    } catch (const std::runtime_error&) {
        co_return;
    }
}
task<> closes_and_fails(net::tcp_stream peer) {
    co_await begin(peer);
    peer.close();
    fail();
}
task<> closes_in_unwinding(net::tcp_stream peer) {
    struct closer {
        explicit closer(net::tcp_stream& stream) : of(stream) {}
        ~closer() { of.close(); }
        net::tcp_stream& of;
    };
    const closer at_the_end(peer);
    co_await begin(peer);
    fail();
}
/// No exception ends a task that never began.
task<> returns_with_an_unstarted_task(net::tcp_stream peer) {
    co_await begin(peer);
    const task<> never_started = echo(std::move(peer));
}
task<> returns_with_an_unstarted_chain(net::tcp_stream peer) {
    co_await begin(peer);
    task<> never_started = echo(std::move(peer));
    for (unsigned i = 0; i < 2 * destruction_limit; ++i)
        never_started = fails_with(std::move(never_started));
}
task<> half_closes_and_fails(net::tcp_stream peer) {
    co_await begin(peer);
    peer.shutdown_send();
    co_await sleep_for(5ms);  // the end has arrived
    fail();
}

TEST_P(serve_ends_test, who_returns_or_has_closed_before_ends_in_order) {
    const std::vector<std::pair<const char*, task<> (*)(net::tcp_stream)>> handlers{
        {"returns", &returns},
        {"returns, above two transports", &returns_above_a_transport},
        {"catches what it throws", &catches},
        {"closes before it throws", &closes_and_fails},
        {"closes in a destructor", &closes_in_unwinding},
        {"half-closes before it throws", &half_closes_and_fails},
        {"returns, and its stream is in a task that never ran", &returns_with_an_unstarted_task},
        {"and that in others", &returns_with_an_unstarted_chain},
    };
    const auto body = [&]() -> task<> {
        report_collector reports;
        const coro_test::unstarted_tasks_expected unstarted;
        for (const auto& [how, handler] : handlers) {
            const std::string ended = co_await end_with(handler);
            EXPECT_EQ(ended, "clean") << how;
        }
    };
    in_world(body);
}

/// The stream is no more the handler's: its end is.
TEST_P(serve_ends_test, a_stream_that_was_moved_away_outlives_a_handler_that_fails) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        net::tcp_stream kept;
        event failed;
        const auto handler = [&](net::tcp_stream peer) -> task<> {
            co_await begin(peer);
            kept = std::move(peer);
            failed.set();
            fail();
        };
        const auto meanwhile = [&](task_group& group) -> task<> {
            co_await failed.wait();
            for (int turn = 0; turn < 1000 && reports.entries.empty(); ++turn)
                co_await sleep_for(1ms);
            EXPECT_EQ(reports.entries.size(), 1u);
            co_await say(kept, "more");
            group.spawn([](net::tcp_stream& of) -> task<> {
                co_await sleep_for(2ms);
                of = {};
            }, std::ref(kept));
        };
        EXPECT_EQ(co_await end_with(handler, {}, meanwhile), "clean");
    };
    in_world(body);
}

/// Its own connections are no business of serve.
TEST_P(serve_ends_test, a_stream_that_serve_has_not_accepted_is_closed_in_order) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto behind = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto handler = [&](net::tcp_stream peer) -> task<> {
            net::tcp_stream other = co_await net::tcp_stream::connect(behind.local_endpoint());
            co_await begin(peer);
            fail();
        };
        net::tcp_stream accepted;
        const auto meanwhile = [&](task_group&) -> task<> {
            accepted = co_await behind.accept();
            EXPECT_EQ(co_await end_of(accepted), "clean");
        };
        EXPECT_EQ(co_await end_with(handler, {}, meanwhile), "reset");
    };
    in_world(body);
}

// --- cancelled

task<> waits(net::tcp_stream peer) {
    co_await begin(peer);
    co_await sleep_for(24h);
}
task<> waits_with_a_local_stream(net::tcp_stream peer) {
    net::tcp_stream mine = std::move(peer);
    co_await begin(mine);
    co_await sleep_for(24h);
}
/// The client does not read: that is the midst of a message.
task<> writes(net::tcp_stream peer) {
    co_await begin(peer);
    const std::vector<std::byte> much(64 << 20);
    co_await net::write_all(peer, const_bytes(much));
}
task<> writes_with_a_local_stream(net::tcp_stream peer) {
    net::tcp_stream mine = std::move(peer);
    co_await begin(mine);
    const std::vector<std::byte> much(64 << 20);
    co_await net::write_all(mine, const_bytes(much));
}
task<> says_goodbye(net::tcp_stream peer) {
    co_await begin(peer);
    co_await peer.close_gracefully(24h);
}

/// Runs the handler until the drain is over, and then looks at what the client meets.
task<std::string> end_after_drain(handler_function handler, serve_options limits = {}) {
    limits.limits.drain = 20ms;
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::tcp_stream client;
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn(serve(listener, std::ref(handler), limits));
        client = co_await net::tcp_stream::connect(listener.local_endpoint());
        co_await say(client, "x");
        co_await hear(client, "part");
        co_await sleep_for(5ms);  // a write fills what there is to be filled
        group.request_stop();
    };
    co_await with_task_group(in_group);
    co_return co_await end_of(client);
}

TEST_P(serve_ends_test, who_is_cancelled_after_a_stop_ends_in_order_unless_a_message_was_cut) {
    const std::vector<std::tuple<const char*, task<> (*)(net::tcp_stream), const char*>> handlers{
        {"waits", &waits, "clean"},
        {"waits, a local variable", &waits_with_a_local_stream, "clean"},
        {"writes", &writes, "reset"},
        {"writes, a local variable", &writes_with_a_local_stream, "reset"},
        {"closes in order", &says_goodbye, "clean"},
    };
    const auto body = [&]() -> task<> {
        report_collector reports;
        for (const auto& [what, handler, end] : handlers) {
            const std::string ended = co_await end_after_drain(handler);
            EXPECT_EQ(ended, end) << what;
        }
        EXPECT_EQ(reports.errors(), 0u);
    };
    in_world(body);
}

// --- those that fail after a stop, while the drain goes on

task<> begin_and_hear_of_stop(net::tcp_stream& peer) {
    co_await begin(peer);
    co_await until_stop(sleep_for(24h));
}
task<> waits_for_more(net::tcp_stream peer) {
    net::tcp_stream mine = std::move(peer);
    co_await hear(mine, "never said");
}
task<> only_waits(net::tcp_stream) { co_await sleep_for(24h); }
task<> stops_and_fails(net::tcp_stream peer) {
    co_await begin_and_hear_of_stop(peer);
    fail();
}
task<> stops_and_is_late(net::tcp_stream peer) {
    co_await begin_and_hear_of_stop(peer);
    co_await with_timeout(2ms, waits_for_more(std::move(peer)));
}
template <unsigned Loop>
task<> stops_and_fails_beside_its_stream(net::tcp_stream peer) {
    co_await begin_and_hear_of_stop(peer);
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.loop = Loop}, only_waits, std::move(peer));
        co_await sleep_for(1ms);
        fail();
    };
    co_await with_task_group(body);
}
task<> stops_in_a_task_that_has_its_stream(net::tcp_stream peer) {
    co_await begin_and_hear_of_stop(peer);
    co_await until_stop(waits_for_more(std::move(peer)));
}

/// Requests the stop as soon as the handler has begun; the drain is never over.
task<std::string> end_after_stop(handler_function handler) {
    const auto stop = [](task_group& group) -> task<> {
        group.request_stop();
        co_return;
    };
    const std::string ended =
        co_await end_with(std::move(handler), {.limits = {.drain = 24h}, .spread = false}, stop);
    co_return ended;
}

TEST_P(serve_ends_test, who_fails_after_a_stop_is_reset_however_that_cancels) {
    const std::vector<std::tuple<const char*, task<> (*)(net::tcp_stream), const char*>> handlers{
        {"fails", &stops_and_fails, "reset"},
        {"is out of time", &stops_and_is_late, "reset"},
        {"fails beside its stream", &stops_and_fails_beside_its_stream<0>, "reset"},
        {"heeds the stop", &stops_in_a_task_that_has_its_stream, "clean"},
    };
    const auto body = [&]() -> task<> {
        report_collector reports;
        for (const auto& [what, handler, end] : handlers) {
            const std::string ended = co_await end_after_stop(handler);
            EXPECT_EQ(ended, end) << what;
        }
        EXPECT_EQ(reports.entries.size(), 3u);
    };
    in_world(body);
}

/// The failure of a task beside the server is not its orderly end.
TEST_P(serve_ends_test, who_is_cancelled_without_a_stop_is_reset) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::tcp_stream client;
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, waits));
            client = co_await net::tcp_stream::connect(listener.local_endpoint());
            co_await say(client, "x");
            co_await hear(client, "part");
            fail();
        };
        const auto ended = [&]() -> task<bool> {
            try {
                co_await with_task_group(in_group);
            } catch (const std::runtime_error&) {
                co_return true;
            }
            co_return false;
        };
        EXPECT_TRUE(co_await ended());
        EXPECT_EQ(co_await end_of(client), "reset");
    };
    in_world(body);
}

// --- on several loops

TEST_P(serve_ends_on_loops, a_handler_on_any_loop_resets_when_it_fails) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::atomic<unsigned> used{0};
        const auto handler = [&used](net::tcp_stream peer) -> task<> {
            used.fetch_or(1u << loop_index());
            co_await say(peer, ".");
            std::array<std::byte, 1> what{};
            co_await net::read_exact(peer, mutable_bytes(what));
            if (what[0] == std::byte{'f'}) fail();
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler));
            std::vector<net::tcp_stream> clients;
            for (int i = 0; i < 6; ++i)
                clients.push_back(
                    co_await net::tcp_stream::connect(listener.local_endpoint()));
            // None ends before all have begun: a loop with fewer of them is given the next.
            for (net::tcp_stream& each : clients) co_await hear(each, ".");
            for (int i = 0; i < 6; ++i) {
                net::tcp_stream& client = clients[static_cast<std::size_t>(i)];
                co_await say(client, i % 2 == 0 ? "f" : "r");
                EXPECT_EQ(co_await end_of(client), i % 2 == 0 ? "reset" : "clean") << i;
            }
            group.request_stop();
        };
        co_await with_task_group(in_group);
        EXPECT_EQ(used.load(), 3u) << "both loops";
    };
    set_report_hook([](const report_event&, void*) noexcept {}, nullptr);
    in_loops(2, body());
    set_report_hook(nullptr, nullptr);
}

template <task<> (*Does)(net::tcp_stream)>
task<> spawns_on_the_other_loop(net::tcp_stream peer) {
    const auto body = [&](task_group& group) -> task<> {
        co_await begin(peer);
        group.spawn({.loop = 1}, Does, std::move(peer));
    };
    co_await with_task_group(body);
}
task<> moves_and_waits(net::tcp_stream peer) {
    co_await peer.rebind();
    co_await sleep_for(24h);
}
task<> moves_and_waits_with_a_local_stream(net::tcp_stream peer) {
    net::tcp_stream mine = std::move(peer);
    co_await mine.rebind();
    co_await sleep_for(24h);
}
task<> moves_and_writes(net::tcp_stream peer) {
    co_await peer.rebind();
    const std::vector<std::byte> much(64 << 20);
    co_await net::write_all(peer, const_bytes(much));
}

TEST_P(serve_ends_on_loops, a_child_elsewhere_that_is_cancelled_after_a_stop_ends_in_order_too) {
    const std::vector<std::tuple<const char*, task<> (*)(net::tcp_stream), const char*>> handlers{
        {"waits", &spawns_on_the_other_loop<&only_waits>, "clean"},
        {"waits there", &spawns_on_the_other_loop<&moves_and_waits>, "clean"},
        {"waits there, a local variable",
         &spawns_on_the_other_loop<&moves_and_waits_with_a_local_stream>, "clean"},
        {"writes there", &spawns_on_the_other_loop<&moves_and_writes>, "reset"},
    };
    report_collector reports;
    const auto body = [&]() -> task<> {
        for (const auto& [what, handler, end] : handlers) {
            const std::string ended = co_await end_after_drain(handler, {.spread = false});
            EXPECT_EQ(ended, end) << what;
        }
        const std::string failed =
            co_await end_after_stop(&stops_and_fails_beside_its_stream<1>);
        EXPECT_EQ(failed, "reset");
    };
    in_loops(2, body());
    EXPECT_EQ(reports.errors(), 1u);
}

/// The child has made the stream its own; the handler's frame, which owns it, ends here.
TEST_P(serve_ends_on_loops, a_stream_that_was_rebound_is_reset_when_its_handler_fails) {
    report_collector reports;
    const auto handler = [](net::tcp_stream peer) -> task<> {
        const auto there = [](net::tcp_stream& of) -> task<> {
            co_await of.rebind();
            co_await begin(of);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, there, std::ref(peer));
            co_return;
        };
        co_await with_task_group(in_group);
        fail();
    };
    const auto body = [&]() -> task<> {
        EXPECT_EQ(co_await end_with(handler, {.spread = false}), "reset");
    };
    in_loops(2, body());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
