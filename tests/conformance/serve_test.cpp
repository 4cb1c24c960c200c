// serve(): limits, idle connections, draining, handlers that fail, shutdown at any moment; the same
// in all three worlds.
#include <algorithm>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <thread>

#include "kernel_queues.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class serve_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, serve_test, ::testing::ValuesIn(all_worlds()), parameter_name);

/// A server in a scope of its own, and what the test knows of it.
class test_server {
public:
    explicit test_server(serve_options of) : limits(of) {
        listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        where = listener.local_endpoint();
    }

    task<> run() {
        const auto body = [this](cancel_scope& inside) -> task<> {
            scope = &inside;
            const auto handler = [this](net::tcp_stream peer) -> task<> {
                ++handled;
                ++active;
                most = std::max(most, active);
                const leaver on_end(active);
                co_await echo(std::move(peer));
                ++ended_well;
            };
            co_await serve(listener, handler, limits);
            returned = true;
        };
        co_await with_cancel_scope(body);
        scope = nullptr;
    }

    serve_options limits;
    net::tcp_listener listener;
    net::endpoint where;
    cancel_scope* scope = nullptr;
    bool returned = false;  ///< serve ended with a value
    int handled = 0;
    int active = 0;
    int most = 0;
    int ended_well = 0;

private:
    struct leaver {
        explicit leaver(int& of) : count(of) {}
        ~leaver() { --count; }
        leaver(const leaver&) = delete;
        leaver& operator=(const leaver&) = delete;
        int& count;
    };
};

/// Runs `test(server)` beside the server, and then stops it.
template <typename Test>
task<> beside(test_server& server, Test& test) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(server.run());
        co_await yield();
        co_await test();
        if (server.scope != nullptr) server.scope->request_stop();
    };
    co_await with_task_group(body);
}

task<> ping(net::tcp_stream& stream, std::string_view text = "ping") {
    co_await say(stream, text);
    co_await hear(stream, text);
}

TEST_P(serve_test, serves_and_returns_when_told_to_stop) {
    const auto body = [&]() -> task<> {
        test_server server({});
        const auto test = [&]() -> task<> {
            for (int i = 0; i < 20; ++i) {
                net::tcp_stream client = co_await net::tcp_stream::connect(server.where);
                co_await ping(client);
            }
        };
        co_await beside(server, test);
        EXPECT_TRUE(server.returned);
        EXPECT_EQ(server.handled, 20);
        EXPECT_EQ(server.ended_well, 20);
        EXPECT_FALSE(server.listener) << "the listener is closed on stop";
    };
    in_world(body);
}

TEST_P(serve_test, at_the_cap_the_next_client_waits_until_one_leaves) {
    const auto body = [&]() -> task<> {
        test_server server({.limits = {.connections = 2}});
        const auto test = [&]() -> task<> {
            net::tcp_stream first = co_await net::tcp_stream::connect(server.where);
            net::tcp_stream second = co_await net::tcp_stream::connect(server.where);
            net::tcp_stream third = co_await net::tcp_stream::connect(server.where);
            co_await ping(first);
            co_await ping(second);
            co_await say(third, "ping");
            std::array<std::byte, 4> into{};
            const auto early = co_await move_on_after(50ms, third.read_some(mutable_bytes(into)));
            EXPECT_FALSE(early.has_value()) << "served beyond the cap";
            first.close();
            co_await hear(third, "ping");
        };
        co_await beside(server, test);
        EXPECT_EQ(server.handled, 3);
        EXPECT_EQ(server.most, 2);
    };
    in_world(body);
}

TEST_P(serve_test, an_idle_connection_is_ended_and_a_busy_one_is_not) {
    const duration idle = simulated() ? duration(100ms) : duration(1s);
    const auto body = [&]() -> task<> {
        test_server server({.limits = {.idle = idle}});
        const auto test = [&]() -> task<> {
            net::tcp_stream quiet = co_await net::tcp_stream::connect(server.where);
            net::tcp_stream busy = co_await net::tcp_stream::connect(server.where);
            const time_point begun = now();
            time_point ended = never;
            const auto watching = [&](task_group& group) -> task<> {
                group.spawn(
                    [](net::tcp_stream& stream, time_point& end) -> task<> {
                        const std::string rest = co_await read_to_end(stream);
                        EXPECT_TRUE(rest.empty());
                        end = now();
                    },
                    std::ref(quiet), std::ref(ended));
                // In real time a late wake-up would make an idle one of it.
                for (int i = 0; i < 50 && simulated(); ++i) {
                    co_await ping(busy);
                    co_await sleep_for(idle / 20);
                }
            };
            co_await with_task_group(watching);
            EXPECT_GE(ended - begun, idle - 1ms);
            if (simulated()) {
                EXPECT_LE(ended - begun, idle + idle / 8 + 10ms);
                co_await ping(busy);
            }
        };
        co_await beside(server, test);
    };
    in_world(body);
}

/// All bytes are in the kernel's buffers early on, and move on as the client reads. Both share the
/// loop: when the machine holds it up, it holds up both, and the guard sees a standstill.
TEST_P(serve_test, who_reads_a_download_slowly_is_not_idle) {
    constexpr std::size_t download = 4 << 20;
    const auto body = [&]() -> task<> {
        report_collector reports;
        net::listen_options large;
        large.accepted.send_buffer_bytes = 4 << 20;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), large);
        const auto handler = [](net::tcp_stream peer) -> task<> {
            const std::vector<std::byte> all(download);
            co_await net::write_all(peer, const_bytes(all));
            co_await echo(std::move(peer));
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler, {.limits = {.idle = 500ms}}));
            net::connect_options small;
            small.stream.receive_buffer_bytes = 64 << 10;
            net::tcp_stream client =
                co_await net::tcp_stream::connect(listener.local_endpoint(), small);
            std::vector<std::byte> into(32 << 10);
            std::size_t read = 0;
            while (read < download) {
                co_await sleep_for(10ms);
                const std::size_t n = co_await client.read_some(mutable_bytes(into));
                EXPECT_GT(n, 0u) << "ended after " << read << " bytes";
                if (n == 0) break;
                read += n;
            }
            if (read == download) co_await ping(client);
            client.close();
            group.request_stop();
        };
        co_await with_task_group(in_group);
        EXPECT_TRUE(reports.entries.empty()) << reports.entries.front().text;
    };
    in_world(body);
}

/// Waits in the queue of a server that is at its cap.
TEST_P(serve_test, on_stop_those_in_the_queue_are_served_and_handlers_finish) {
    const auto body = [&]() -> task<> {
        test_server server({.limits = {.connections = 100, .drain = 1min}});
        const auto test = [&]() -> task<> {
            net::tcp_stream early = co_await net::tcp_stream::connect(server.where);
            co_await ping(early);
            // The stop and the next clients come in one turn: they are in the queue already.
            std::vector<net::tcp_stream> queued;
            for (int i = 0; i < 5; ++i)
                queued.push_back(co_await net::tcp_stream::connect(server.where));
            server.scope->request_stop();
            for (net::tcp_stream& each : queued) co_await ping(each);
            co_await ping(early);
            EXPECT_FALSE(server.returned) << "serve returned before its handlers";
            const auto late = co_await as_result(net::tcp_stream::connect(server.where));
            EXPECT_FALSE(late.has_value()) << "connected after the stop";
        };
        co_await beside(server, test);
        EXPECT_TRUE(server.returned);
        EXPECT_EQ(server.handled, 6);
        EXPECT_EQ(server.ended_well, 6);
    };
    in_world(body);
}

/// Answers each request, and waits for the next one no longer than until a stop.
task<> answer_requests(net::tcp_stream peer, event& may_answer, int& requests) {
    std::array<std::byte, 4> request{};
    for (;;) {
        const auto n = co_await until_stop(peer.read_some(mutable_bytes(request)));
        if (!n || *n == 0) co_return;
        ++requests;
        if (as_text(const_bytes(request)) == "slow") co_await may_answer.wait();
        co_await net::write_all(peer, const_bytes(request).first(*n));
    }
}

/// The drain is longer than any test may last: who waits for it hangs.
TEST_P(serve_test, on_stop_handlers_between_requests_end_at_once_and_requests_finish) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        event may_answer;
        int requests = 0;
        const auto handler = [&](net::tcp_stream peer) -> task<> {
            return answer_requests(std::move(peer), may_answer, requests);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler, {.limits = {.drain = 24h}}));
            std::vector<net::tcp_stream> between;
            for (int i = 0; i < 20; ++i) {
                between.push_back(co_await net::tcp_stream::connect(where));
                co_await ping(between.back());
            }
            net::tcp_stream busy = co_await net::tcp_stream::connect(where);
            co_await ping(busy);
            co_await say(busy, "slow");
            while (requests == 21) co_await sleep_for(1ms);
            net::tcp_stream queued = co_await net::tcp_stream::connect(where);
            co_await say(queued, "ping");
            // Without giving way to the loop: the connection stays in the listener's queue. A
            // second at most, so that this loop comes back from here in any case.
            for (int i = 0; i < 1000 && !simulated() && !is_acknowledged(queued); ++i)
                std::this_thread::sleep_for(1ms);
            group.request_stop();
            for (net::tcp_stream& each : between) EXPECT_EQ(co_await read_to_end(each), "");
            may_answer.set();
            EXPECT_EQ(co_await read_to_end(busy), "slow");
            EXPECT_EQ(co_await read_to_end(queued), "ping") << "it was there before the stop";
        };
        co_await with_task_group(in_group);
        EXPECT_TRUE(reports.entries.empty());
    };
    in_world(body);
}

TEST_P(serve_test, after_the_drain_handlers_are_cancelled_without_a_report) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        test_server server({.limits = {.drain = 50ms}});
        net::tcp_stream stays;
        time_point begun{};
        const auto test = [&]() -> task<> {
            stays = co_await net::tcp_stream::connect(server.where);
            co_await ping(stays);
            begun = now();
        };
        co_await beside(server, test);
        EXPECT_GE(now() - begun, 50ms);
        EXPECT_TRUE(server.returned);
        EXPECT_EQ(server.ended_well, 0);
        EXPECT_EQ(co_await read_to_end(stays), "");
        EXPECT_EQ(reports.errors(), 0u);
        EXPECT_EQ(reports.entries.size(), 1u) << "it is named";
    };
    in_world(body);
}

TEST_P(serve_test, a_cancelled_server_throws_cancelled_after_its_handlers) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        test_server server({});
        net::tcp_stream stays;
        const auto test = [&]() -> task<> {
            stays = co_await net::tcp_stream::connect(server.where);
            co_await ping(stays);
            server.scope->cancel();
        };
        co_await beside(server, test);
        EXPECT_FALSE(server.returned);
        EXPECT_EQ(server.active, 0);
        EXPECT_TRUE(reports.entries.empty());
    };
    in_world(body);
}

/// Throws what its client says.
task<> failing_handler(net::tcp_stream peer) {
    std::array<std::byte, 1> what{};
    co_await net::read_exact(peer, mutable_bytes(what));
    const char letter = static_cast<char>(what[0]);
    if (letter == 'r') throw std::runtime_error("the handler's own words");
    if (letter == 'i') throw 7;
    co_await net::read_exact(peer, mutable_bytes(what));  // the end: errc::end_of_stream
}

TEST_P(serve_test, a_handler_that_throws_is_reported_with_its_peer_and_the_server_goes_on) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        std::vector<std::string> peers;
        const auto serving = [&](task_group& group) -> task<> {
            group.spawn(
                [](net::tcp_listener& on) -> task<> { co_await serve(on, failing_handler); },
                std::ref(listener));
            for (const std::string_view each : {"r", "i", "x"}) {
                net::tcp_stream client = co_await net::tcp_stream::connect(where);
                peers.push_back(client.local_endpoint().to_string());
                co_await say(client, each);
                client.shutdown_send();
                EXPECT_EQ(co_await end_of(client), "reset");
                co_await sleep_for(1ms);
            }
            group.request_stop();
        };
        co_await with_task_group(serving);
        EXPECT_EQ(reports.entries.size(), 3u);
        if (reports.entries.size() != 3) co_return;
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_EQ(reports.entries[i].endpoint, peers[i]);
            EXPECT_EQ(reports.entries[i].level, i < 2 ? severity::error : severity::notice);
        }
        EXPECT_EQ(reports.entries[0].text, "the handler's own words");
        EXPECT_FALSE(reports.entries[1].text.empty());
        EXPECT_EQ(reports.entries[2].error, errc::end_of_stream);
    };
    in_world(body);
}

TEST_P(serve_test, an_error_of_another_connection_is_reported_as_that_and_says_for_whom) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        auto closed = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint target = closed.local_endpoint();
        closed.close();
        std::string peer;
        const auto forward = [&target](net::tcp_stream) -> task<> {
            (void)co_await net::tcp_stream::connect(target);  // refused
        };
        const auto serving = [&](task_group& group) -> task<> {
            // A reset might be faster than the end of connecting.
            group.spawn(serve(listener, std::cref(forward), {.reset_failed = false}));
            net::tcp_stream client =
                co_await net::tcp_stream::connect(listener.local_endpoint());
            peer = client.local_endpoint().to_string();
            EXPECT_EQ(co_await read_to_end(client), "");
            co_await sleep_for(1ms);
            group.request_stop();
        };
        co_await with_task_group(serving);
        EXPECT_EQ(reports.entries.size(), 1u);
        if (reports.entries.size() != 1) co_return;
        EXPECT_EQ(reports.entries[0].verb, "connect tcp");
        EXPECT_EQ(reports.entries[0].error, std::errc::connection_refused);
        EXPECT_EQ(reports.entries[0].endpoint, target.to_string());
        EXPECT_EQ(reports.entries[0].task, peer);
    };
    in_world(body);
}

/// Throws for its first three clients before it has made a task.
class late_task {
public:
    task<> operator()(net::tcp_stream peer) {
        if (++calls_ <= 3) throw std::runtime_error("no room for you");
        return echo(std::move(peer));
    }

private:
    int calls_ = 0;
};

TEST_P(serve_test, a_handler_that_throws_before_it_is_a_task_ends_nobody_else) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        std::vector<std::string> peers;
        const auto serving = [&](task_group& group) -> task<> {
            // A reset might be faster than the end of connecting.
            const serve_options limits{.limits = {.connections = 1}, .reset_failed = false};
            group.spawn(serve(listener, late_task(), limits));
            for (int i = 0; i < 3; ++i) {
                net::tcp_stream client = co_await net::tcp_stream::connect(where);
                peers.push_back(client.local_endpoint().to_string());
                EXPECT_EQ(co_await read_to_end(client), "");
            }
            net::tcp_stream client = co_await net::tcp_stream::connect(where);
            co_await ping(client);  // within the cap of 1: those that failed are not counted
            client.close();
            group.request_stop();
        };
        co_await with_task_group(serving);
        EXPECT_EQ(reports.entries.size(), 3u);
        if (reports.entries.size() != 3) co_return;
        for (std::size_t i = 0; i < 3; ++i) {
            EXPECT_EQ(reports.entries[i].endpoint, peers[i]);
            EXPECT_EQ(reports.entries[i].text, "no room for you");
        }
    };
    in_world(body);
}

TEST_P(serve_test, a_cap_above_half_of_the_descriptor_limit_is_warned_of) {
    const auto body = [&]() -> task<> {
        report_collector reports;
        for (const std::size_t cap : {std::size_t{10}, std::size_t{1} << 40}) {
            test_server server({.limits = {.connections = cap}});
            const auto test = []() -> task<> { co_return; };
            co_await beside(server, test);
        }
        EXPECT_EQ(reports.entries.size(), 1u);
        if (reports.entries.empty()) co_return;
        EXPECT_EQ(reports.entries[0].level, severity::warning);
        EXPECT_NE(reports.entries[0].text.find("ulimit -n"), std::string::npos)
            << reports.entries[0].text;
    };
    in_world(body);
}

TEST_P(serve_test, a_listener_closed_by_others_ends_it_with_closed) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::error_code ended;
        const auto serving = [&](task_group& group) -> task<> {
            group.spawn(
                [](net::tcp_listener& on, std::error_code& into) -> task<> {
                    const auto end = co_await as_result(serve(on, echo));
                    if (!end) into = end.error().code();
                },
                std::ref(listener), std::ref(ended));
            co_await sleep_for(5ms);
            listener.close();
        };
        co_await with_task_group(serving);
        EXPECT_EQ(ended, errc::closed);
    };
    in_world(body);
}

// --- shutdown at any moment

task<> ping_until_the_end(net::endpoint where, std::uint32_t seed) {
    std::mt19937 random(seed);
    for (;;) {
        auto client = co_await as_result(net::tcp_stream::connect(where));
        if (!client) co_return;
        for (auto left = random() % 5; left > 0; --left) {
            const std::string text(1 + random() % 6000, 'p');
            const auto sent = co_await as_result(net::write_all(*client, as_bytes(text)));
            if (!sent) break;
            std::string back(text.size(), '.');
            const auto got = co_await as_result(
                net::read_exact(*client, std::as_writable_bytes(std::span(back))));
            if (!got) break;
            EXPECT_EQ(back, text);
        }
        co_await sleep_for(std::chrono::microseconds(random() % 300));
    }
}

task<> shut_down_once(std::uint32_t seed) {
    std::mt19937 random(seed);
    const std::chrono::microseconds drain(random() % 2000);
    test_server server({.limits = {.connections = 4, .drain = drain}});
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(server.run());
        for (std::uint32_t i = 0; i < 8; ++i)
            group.spawn(ping_until_the_end, server.where, seed * 8 + i);
        co_await sleep_for(std::chrono::microseconds(random() % 4000));
        switch (random() % 3) {
            case 0: group.cancel(); break;
            case 1: server.scope->cancel(); break;
            default: server.scope->request_stop(); break;
        }
        while (server.scope != nullptr) co_await sleep_for(1ms);
        server.listener.close();
    };
    co_await with_task_group(body);
    EXPECT_EQ(server.active, 0);
}

/// Each in a world of its own, with its own seed.
TEST(serve_shutdown_test, a_thousand_shutdowns_at_random_moments_leave_nothing) {
    const report_collector quiet;  // connections that end while they are served
    const std::uint32_t count = sanitized ? 100 : 1000;
    for (std::uint32_t seed = 1; seed <= count; ++seed) {
        const auto body = [&]() -> task<> { co_await shut_down_once(seed); };
        run_in(poller_choice::simulation, body, seed);
        if (::testing::Test::HasFailure()) {
            ADD_FAILURE() << "seed " << seed;
            break;
        }
    }
}

TEST_P(serve_test, shutdowns_of_a_busy_server_leave_nothing) {
    const report_collector quiet;
    const std::uint32_t rounds = sanitized ? 10 : 30;
    for (std::uint32_t seed = 1; seed <= rounds; ++seed) {
        const auto body = [&]() -> task<> { co_await shut_down_once(seed); };
        in_world(body);
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
