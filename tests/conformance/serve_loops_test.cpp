// serve() in a run of several loops: connections are spread, none is lost when it stops; and how a
// stream moves from loop to loop.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <sys/socket.h>
#include <unistd.h>

#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/stats.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class serve_loops : public world_test {};
/// With clients that are sockets of the kernel's.
class serve_kernel_loops : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, serve_kernel_loops, ::testing::ValuesIn(real_worlds()),
                         parameter_name);
INSTANTIATE_TEST_SUITE_P(all_worlds, serve_loops, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

struct loop_counts {
    std::array<std::atomic<int>, 8> connections{};
    std::atomic<int> open{0};
};

task<> ping(net::tcp_stream& stream) {
    co_await say(stream, "ping");
    co_await hear(stream, "ping");
}

TEST_P(serve_loops, connections_go_to_the_loop_that_has_the_fewest) {
    loop_counts counts;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto handler = [&counts](net::tcp_stream peer) -> task<> {
            counts.connections[loop_index()].fetch_add(1);
            co_await echo(std::move(peer));
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler));
            std::vector<net::tcp_stream> clients;
            for (int i = 0; i < 30; ++i) {
                clients.push_back(co_await net::tcp_stream::connect(where));
                co_await ping(clients.back());
            }
            for (net::tcp_stream& client : clients) co_await ping(client);
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
    for (unsigned loop = 0; loop < 3; ++loop)
        EXPECT_EQ(counts.connections[loop].load(), 10) << loop;
}

TEST_P(serve_loops, without_spread_all_stay_on_the_loop_of_the_listener) {
    loop_counts counts;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto handler = [&counts](net::tcp_stream peer) -> task<> {
            counts.connections[loop_index()].fetch_add(1);
            co_await echo(std::move(peer));
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler, {.spread = false}));
            for (int i = 0; i < 6; ++i) {
                net::tcp_stream client = co_await net::tcp_stream::connect(where);
                co_await ping(client);
            }
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
    EXPECT_EQ(counts.connections[0].load(), 6);
}

/// Blocking clients on a thread of their own: connects, says a line, wants it back; counts how it
/// went. A connection that was accepted and not answered is a loss. One that reached the kernel's
/// queue between the last look and close(2) is reset by the kernel: nobody had accepted it.
struct client_counts {
    std::atomic<int> answered{0};
    std::atomic<int> reset{0};
    std::atomic<int> refused{0};  ///< the listener was closed already
};

void connect_again_and_again(net::endpoint where, int times, client_counts& counts) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(where.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int i = 0; i < times; ++i) {
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (::connect(client, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
            counts.refused.fetch_add(1);
            ::close(client);
            return;
        }
        char back[4] = {};
        const bool said = ::send(client, "ping", 4, MSG_NOSIGNAL) == 4;
        const bool heard = said && ::recv(client, back, 4, MSG_WAITALL) == 4;
        (heard ? counts.answered : counts.reset).fetch_add(1);
        ::close(client);
    }
}

/// Connected, has said "ping" and will say no more; nobody has accepted it yet.
int blocking_client(net::endpoint to) {
    const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address where = to_socket_address(to);
    EXPECT_EQ(::connect(made, reinterpret_cast<const sockaddr*>(where.bytes.data()), where.size),
              0);
    EXPECT_EQ(::send(made, "ping", 4, MSG_NOSIGNAL), 4);
    ::shutdown(made, SHUT_WR);
    return made;
}

TEST_P(serve_kernel_loops, a_stop_under_load_resets_nobody) {
    int answered = 0;
    int reset = 0;
    for (int round = 0; round < 10; ++round) {
        client_counts counts;
        std::vector<std::thread> clients;
        std::atomic<int> handled{0};
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            const auto handler = [&](net::tcp_stream peer) -> task<> {
                handled.fetch_add(1);
                co_await echo(std::move(peer));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler));
                for (int i = 0; i < 4; ++i)
                    clients.emplace_back(connect_again_and_again, where, 1'000'000,
                                         std::ref(counts));
                while (handled.load() < 100) co_await sleep_for(1ms);
                group.request_stop();
            };
            co_await with_task_group(in_group);
        };
        in_loops(3, body());
        for (std::thread& client : clients) client.join();
        EXPECT_EQ(counts.answered.load(), handled.load()) << "accepted and lost";
        reset += counts.reset.load();
        EXPECT_GE(counts.answered.load(), 100 - 4);
        answered += counts.answered.load();
    }
    // Those came when the listener was being closed, and the kernel had them still.
    std::printf("%d connections answered, %d reset by the kernel, in 10 stops\n", answered, reset);
}

/// All are connected before the stop, so none can come too late: each that is accepted is handed to
/// some loop, and each must be answered.
TEST_P(serve_kernel_loops, a_stop_answers_everybody_who_was_connected_before_it) {
    constexpr int count = 60;
    for (int round = 0; round < 10; ++round) {
        std::atomic<int> handled{0};
        int answered = 0;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            const auto handler = [&](net::tcp_stream peer) -> task<> {
                handled.fetch_add(1);
                co_await echo(std::move(peer));
            };
            std::vector<int> clients;
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, std::cref(handler)));
                for (int i = 0; i < count; ++i) {
                    clients.push_back(blocking_client(where));
                    // Some are at work on all loops when the stop comes, some in the queue.
                    if (i == count / 2) co_await sleep_for(duration(round) * 200'000);
                }
                group.request_stop();
            };
            co_await with_task_group(in_group);
            for (const int client : clients) {
                char back[4] = {};
                if (::recv(client, back, sizeof back, MSG_WAITALL) == 4) ++answered;
                ::close(client);
            }
        };
        in_loops(3, body());
        EXPECT_EQ(answered, count) << "lost by the hand-over";
        EXPECT_EQ(handled.load(), count);
    }
}

TEST_P(serve_loops, cancelled_with_connections_everywhere) {
    for (int round = 0; round < 20; ++round) {
        loop_counts counts;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            const auto handler = [&counts](net::tcp_stream peer) -> task<> {
                counts.open.fetch_add(1);
                try {
                    co_await echo(std::move(peer));
                } catch (...) {
                    counts.open.fetch_sub(1);
                    throw;
                }
                counts.open.fetch_sub(1);
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler));
                std::vector<net::tcp_stream> clients;
                for (int i = 0; i < 7; ++i)
                    clients.push_back(co_await net::tcp_stream::connect(where));
                if (round % 2 == 0) co_await ping(clients.front());
                group.cancel();
            };
            co_await with_task_group(in_group);
        };
        in_loops(3, body());
        EXPECT_EQ(counts.open.load(), 0);
    }
}

/// The cap is reached, so that each further connection is accepted when an old one has ended for
/// the server: then its loop has one less.
TEST_P(serve_loops, the_fewest_are_counted_without_those_that_have_ended) {
    for (const unsigned left : {0u, 1u}) {
        loop_counts counts;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            const auto handler = [&counts](net::tcp_stream peer) -> task<> {
                counts.connections[loop_index()].fetch_add(1);
                const std::string_view here = loop_index() == 0 ? "0" : "1";
                co_await say(peer, here);
                co_await echo(std::move(peer));
            };
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, handler, {.limits = {.connections = 4}}));
                std::array<std::vector<net::tcp_stream>, 2> clients;
                const auto connect_one_more = [&]() -> task<> {
                    net::tcp_stream client = co_await net::tcp_stream::connect(where);
                    char loop = 0;
                    co_await net::read_exact(client, std::as_writable_bytes(std::span(&loop, 1)));
                    clients[loop == '0' ? 0 : 1].push_back(std::move(client));
                };
                for (int i = 0; i < 4; ++i) co_await connect_one_more();
                EXPECT_EQ(clients[0].size(), 2u);
                clients[left].clear();
                for (int i = 0; i < 2; ++i) co_await connect_one_more();
                EXPECT_EQ(clients[left].size(), 2u) << "they go where two have ended";
                group.request_stop();
            };
            co_await with_task_group(in_group);
        };
        in_loops(2, body());
        EXPECT_EQ(counts.connections[left].load(), 4) << left;
        EXPECT_EQ(counts.connections[1 - left].load(), 2) << left;
    }
}

/// The group is cancelled when a connection has been accepted and not yet been handed over. The
/// news of the end is on its way to the other loops, so that nothing may follow it there.
TEST_P(serve_kernel_loops, a_connection_accepted_when_all_is_cancelled_stays_at_home) {
    bool met = false;
    for (int round = 0; round < 200 && !met; ++round) {
        loop_counts counts;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            const net::endpoint where = listener.local_endpoint();
            const auto handler = [&counts](net::tcp_stream peer) -> task<> {
                counts.connections[loop_index()].fetch_add(1);
                co_await echo(std::move(peer));
            };
            int second = -1;
            const auto in_group = [&](task_group& group) -> task<> {
                group.spawn(serve(listener, std::cref(handler)));
                net::tcp_stream first = co_await net::tcp_stream::connect(where);
                co_await ping(first);  // the next one is the other loop's
                second = blocking_client(where);
                // Ready all the time, and so before the acceptor, whose accept completes at the end
                // of the turn.
                const std::uint64_t turn = current_loop_stats().turns;
                while (current_loop_stats().turns == turn) co_await yield();
                group.cancel();
            };
            co_await with_task_group(in_group);
            ::close(second);
        };
        in_loops(2, body());
        EXPECT_EQ(counts.connections[1].load(), 0) << "it followed the end of its group";
        met = counts.connections[0].load() == 2;
    }
    EXPECT_TRUE(met) << "no accept completed just before the cancellation";
}

TEST_P(serve_loops, one_listener_a_loop_by_reuse_port) {
    loop_counts counts;
    const auto body = [&]() -> task<> {
        const net::listen_options shared{.reuse_port = true};
        auto first = net::tcp_listener::bind(net::endpoint::loopback(0), shared);
        const net::endpoint where = first.local_endpoint();
        first.close();
        std::atomic<int> begun{0};
        const auto in_group = [&](task_group& group) -> task<> {
            const auto serve_here = [](net::endpoint at, loop_counts& seen,
                                       std::atomic<int>& listening) -> task<> {
                auto listener = net::tcp_listener::bind(at, {.reuse_port = true});
                listening.fetch_add(1);
                const auto handler = [&seen](net::tcp_stream peer) -> task<> {
                    seen.connections[loop_index()].fetch_add(1);
                    co_await echo(std::move(peer));
                };
                co_await serve(listener, handler, {.spread = false});
            };
            for (unsigned loop = 0; loop < 3; ++loop)
                group.spawn({.loop = loop}, serve_here, where, std::ref(counts), std::ref(begun));
            while (begun.load() < 3) co_await sleep_for(1ms);
            for (int i = 0; i < 60; ++i) {
                net::tcp_stream client = co_await net::tcp_stream::connect(where);
                co_await ping(client);
            }
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(3, body());
    int all = 0;
    for (unsigned loop = 0; loop < 3; ++loop) {
        EXPECT_GT(counts.connections[loop].load(), 0) << loop;
        all += counts.connections[loop].load();
    }
    EXPECT_EQ(all, 60);
}

// --- rebind

task<> rebind_and_echo(net::tcp_stream peer) {
    co_await peer.rebind();
    co_await echo(std::move(peer));
}
task<> drop(net::tcp_stream) { co_return; }
task<> rebind_broken(net::tcp_stream peer) {
    co_await peer.rebind();
    EXPECT_TRUE(peer.is_broken()) << "the mark stayed behind";
    const auto writing = [&]() -> task<> { co_await say(peer, "after a part"); };
    const auto written = co_await as_result(writing());
    EXPECT_TRUE(!written.has_value() && written.error().code() == errc::broken);
}
task<> rebind_busy(net::tcp_stream& peer, std::string name) {
    const auto moving = [&]() -> task<> { co_await peer.rebind(); };
    const auto moved = co_await as_result(moving());
    EXPECT_FALSE(moved.has_value());
    EXPECT_EQ(moved.error().code(), errc::busy) << moved.error().what();
    EXPECT_EQ(moved.error().endpoint(), name);
}

TEST_P(serve_loops, a_stream_moves_to_another_loop_and_works_there) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.far, "before ");
        co_await hear(pair.near, "before ");
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, rebind_and_echo, std::move(pair.near));
            co_await ping(pair.far);
            co_await ping(pair.far);
            pair.far.close();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
}

/// A write that was cut short leaves a part behind it, whichever loop the connection is on.
TEST_P(serve_loops, a_broken_stream_is_broken_on_the_loop_that_it_moves_to) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open(true);
        const std::string much(16 << 20, 'm');
        const auto writing = [&]() -> task<> { co_await say(pair.near, much); };
        EXPECT_FALSE(co_await move_on_after(1ms, writing()));
        EXPECT_TRUE(pair.near.is_broken());
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, rebind_broken, std::move(pair.near));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
}

TEST_P(serve_loops, one_that_is_never_used_there_is_closed_at_home) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, drop, std::move(pair.near));
            std::array<std::byte, 4> into{};
            EXPECT_EQ(co_await pair.far.read_some(mutable_bytes(into)), 0u);
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
}

TEST_P(serve_loops, a_stream_with_a_pending_read_stays_where_it_is) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto in_group = [&](task_group& group) -> task<> {
            const auto read_here = [](net::tcp_stream& in) -> task<> { co_await hear(in, "x"); };
            group.spawn(read_here, std::ref(pair.near));
            co_await yield();
            co_await sleep_for(1ms);
            const auto elsewhere = [&](task_group& inner) -> task<> {
                inner.spawn({.loop = 1}, rebind_busy, std::ref(pair.near),
                            pair.near.describe());
                co_return;
            };
            co_await with_task_group(elsewhere);
            co_await say(pair.far, "x");
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
}

enum class ending { none, end_of_stream, by_cancellation, by_error };

task<> rebind_then_wait(net::tcp_stream peer, std::atomic<ending>& how) {
    EXPECT_EQ(how.load(), ending::none) << "it ran twice";
    try {
        co_await peer.rebind();
        std::array<std::byte, 1> into{};
        while (co_await peer.read_some(mutable_bytes(into)) != 0) {
        }
    } catch (const cancelled&) {
        how.store(ending::by_cancellation);
        throw;
    } catch (...) {
        how.store(ending::by_error);
        throw;
    }
    how.store(ending::end_of_stream);
}

/// Cancelled before, during and after it; the peer closes or resets; the scope ends.
TEST_P(serve_loops, rebind_ends_well_however_the_task_ends) {
    const auto body = [&]() -> task<> {
        for (int round = 0; round < 60; ++round) {
            std::atomic<ending> how_it_ended{ending::none};
            stream_pair pair;
            co_await pair.open();
            const auto in_group = [&](task_group& group) -> task<> {
                if (round % 5 == 0) group.cancel();
                group.spawn({.loop = 1}, rebind_then_wait, std::move(pair.near),
                            std::ref(how_it_ended));
                if (round % 5 == 1) co_await yield();
                if (round % 5 == 2) co_await sleep_for(duration(round * 2'000));
                if (round % 5 == 3) pair.far.close();
                if (round % 5 == 4) {
                    pair.far.set_options({.linger = 0s});
                    pair.far.close();
                }
                if (round % 5 < 3) group.cancel();
            };
            const auto guarded = [&]() -> task<> { co_await with_task_group(in_group); };
            const auto how = co_await as_result(guarded());
            const ending seen = how_it_ended.load();
            if (round % 5 == 3) {
                EXPECT_EQ(seen, ending::end_of_stream);
            } else if (round % 5 == 4) {
                EXPECT_EQ(seen, ending::by_error);
                EXPECT_TRUE(!how && how.error().code() == std::errc::connection_reset);
            } else {
                EXPECT_EQ(seen, ending::by_cancellation);
                // The connection has ended with its task, whichever loop it was on.
                EXPECT_EQ(co_await read_to_end(pair.far), "");
            }
            EXPECT_EQ(how.has_value(), round % 5 != 4);
        }
    };
    in_loops(2, body());
}

task<> move_to_loop_1(net::tcp_stream peer) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.loop = 1}, rebind_and_echo, std::move(peer));
        co_return;
    };
    co_await with_task_group(body);
}

/// The guard of its server cannot see it any more; the idle limit goes with the connection.
TEST_P(serve_loops, a_connection_that_was_rebound_is_still_ended_when_it_is_idle) {
    constexpr duration limit = 300ms;
    report_collector reports;
    std::string peer;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(
                serve(listener, move_to_loop_1, {.limits = {.idle = limit}, .spread = false}));
            net::tcp_stream client = co_await net::tcp_stream::connect(where);
            peer = client.local_endpoint().to_string();
            const time_point before_the_last = now();
            co_await ping(client);
            EXPECT_EQ(co_await read_to_end(client), "");
            EXPECT_GE(now() - before_the_last, limit);
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    ASSERT_EQ(reports.entries.size(), 1u);
    EXPECT_EQ(reports.entries[0].verb, "serve");
    EXPECT_EQ(reports.entries[0].endpoint, peer);
    EXPECT_EQ(reports.entries[0].text, "idle for 300 ms, ended");
}

/// On loop 1. The slot of the stream that was closed is taken by the next one, which has no limit.
task<> close_and_take_its_place(net::tcp_stream peer, duration limit) {
    co_await peer.rebind();
    const detail::handle watched = stream_access::ref(peer).handle;
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    peer.close();
    net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
    EXPECT_EQ(stream_access::ref(client).handle.index, watched.index) << "another slot";
    net::tcp_stream next = co_await listener.accept();
    co_await sleep_for(2 * limit);  // longer than any watch waits
    co_await say(client, "still here");
    co_await hear(next, "still here");
    next.close();
    EXPECT_EQ(co_await read_to_end(client), "");
}

TEST_P(serve_loops, the_watch_over_a_connection_that_was_rebound_ends_no_other_in_its_slot) {
    constexpr duration limit = 100ms;
    report_collector reports;
    const auto handler = [limit](net::tcp_stream peer) -> task<> {
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, close_and_take_its_place, std::move(peer), limit);
            co_return;
        };
        co_await with_task_group(body);
    };
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler, {.limits = {.idle = limit}, .spread = false}));
            net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
            EXPECT_EQ(co_await read_to_end(client), "");
            co_await sleep_for(4 * limit);  // the run is not to be over before the watch is
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    EXPECT_TRUE(reports.entries.empty()) << reports.entries.front().text;
}

/// Watches end with their streams and with the run: nothing is left of those that were closed
/// before they were idle.
TEST_P(serve_loops, connections_that_were_rebound_may_close_before_they_are_idle) {
    report_collector reports;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, move_to_loop_1, {.limits = {.idle = 1h}, .spread = false}));
            for (int i = 0; i < 20; ++i) {
                net::tcp_stream client = co_await net::tcp_stream::connect(where);
                co_await ping(client);
            }
            group.request_stop();
        };
        co_await with_task_group(in_group);
    };
    in_loops(2, body());
    EXPECT_TRUE(reports.entries.empty());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
