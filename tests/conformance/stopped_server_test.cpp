// A server whose process is stopped (SIGSTOP) for longer than its idle limit: who was active before
// is served afterwards.
#include <sys/wait.h>

#include <csignal>
#include <functional>
#include <thread>

#include "child_process.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class stopped_server : public ::testing::TestWithParam<poller_choice> {};
INSTANTIATE_TEST_SUITE_P(real_worlds, stopped_server, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

constexpr duration limit = 1s;
constexpr duration stopped_for = 3s;
constexpr int clients = 20;

/// What the clients of the server share.
struct crowd {
    int answers = 0;   ///< all of them together
    int ended = 0;     ///< clients whose stream has ended before its time
    bool over = false;
    bool silence_was_ended = false;
};

/// Asks twenty times in a limit. It shares the loop of its server: whatever holds up one holds up
/// the other, so it never is silent for a limit of the time in which the loop runs.
task<> keep_asking(net::endpoint where, crowd& all) {
    net::tcp_stream stream = co_await net::tcp_stream::connect(where);
    std::array<std::byte, 4> reply{};
    while (!all.over) {
        const auto said = co_await as_result(net::write_all(stream, as_bytes("ping")));
        const auto heard = co_await as_result(net::read_exact(stream, mutable_bytes(reply)));
        if (!said || !heard) {
            ++all.ended;
            co_return;
        }
        ++all.answers;
        co_await sleep_for(limit / 20);
    }
}

/// Waits for a moment that is much later than it should be: the process was stopped. That may be as
/// soon as the parent hears `word`.
task<> until_it_was_stopped(parent_line parent, std::string_view word) {
    time_point before = now();
    parent.say(word);
    while (now() - before < stopped_for / 2) {
        before = now();
        co_await sleep_for(1ms);
    }
}

task<> serve_through_a_stop(parent_line parent, crowd& all) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto in_group = [&](task_group& group) -> task<> {
        group.spawn(serve(listener, echo, {.limits = {.idle = limit}}));
        for (int i = 0; i < clients; ++i) group.spawn(keep_asking, where, std::ref(all));
        while (all.answers < 3 * clients) co_await sleep_for(1ms);
        co_await until_it_was_stopped(parent, "asking");
        // The guard still works, and takes one limit at least. In so long it had ended the others.
        const time_point begun = now();
        net::tcp_stream silent = co_await net::tcp_stream::connect(where);
        const std::string heard = co_await read_to_end(silent);
        all.silence_was_ended = heard.empty() && now() - begun >= limit;
        const int answers = all.answers;
        while (all.answers < answers + 3 * clients && all.ended == 0) co_await sleep_for(1ms);
        all.over = true;
        co_await sleep_for(limit / 10);
        group.request_stop();
    };
    co_await with_task_group(in_group);
}

/// In the child. 0: all is as promised.
int outcome_of_a_stop(poller_choice world, parent_line parent) {
    try {
        crowd all;
        run(serve_through_a_stop(parent, all), options_for(world));
        if (all.ended != 0) return 2;
        return all.silence_was_ended ? 0 : 3;
    } catch (...) {
        return 4;
    }
}

TEST_P(stopped_server, who_was_active_before_survives_a_stop_longer_than_the_limit) {
    child_process server(
        [&](parent_line parent) { return outcome_of_a_stop(GetParam(), parent); });
    ASSERT_TRUE(server.heard("asking"));
    server.signal(SIGSTOP);
    std::this_thread::sleep_for(stopped_for);
    server.signal(SIGCONT);
    EXPECT_TRUE(server.exited_with(0))
        << WEXITSTATUS(server.status()) << ", 2: clients were ended; 3: a silent one was not";
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
