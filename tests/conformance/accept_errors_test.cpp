// Every errno that accept(2) names, injected at the waist: which are the lost connection's and are
// passed over, which mean that the machine has run out of something, and which end the listener.
#include <algorithm>

#include "net_test_support.hpp"
#include "support/injecting_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

enum class meaning : std::uint8_t {
    passed_over,  ///< that connection is lost, the next may be well: asked again at once
    ran_out,      ///< one client is turned away, a report, a pause
    ends,         ///< the listener is no use any more
};

struct accept_error {
    int error;
    const char* name;
    meaning means;
};

constexpr std::array accept_errors{
    accept_error{ECONNABORTED, "ECONNABORTED", meaning::passed_over},
    accept_error{EPROTO, "EPROTO", meaning::passed_over},
    accept_error{ENETDOWN, "ENETDOWN", meaning::passed_over},
    accept_error{ENOPROTOOPT, "ENOPROTOOPT", meaning::passed_over},
    accept_error{EHOSTDOWN, "EHOSTDOWN", meaning::passed_over},
    accept_error{ENONET, "ENONET", meaning::passed_over},
    accept_error{EHOSTUNREACH, "EHOSTUNREACH", meaning::passed_over},
    accept_error{EOPNOTSUPP, "EOPNOTSUPP", meaning::passed_over},
    accept_error{ENETUNREACH, "ENETUNREACH", meaning::passed_over},
    accept_error{ETIMEDOUT, "ETIMEDOUT", meaning::passed_over},
    accept_error{ECONNRESET, "ECONNRESET", meaning::passed_over},
    accept_error{EPERM, "EPERM", meaning::passed_over},
    accept_error{EMFILE, "EMFILE", meaning::ran_out},
    accept_error{ENFILE, "ENFILE", meaning::ran_out},
    accept_error{ENOBUFS, "ENOBUFS", meaning::ran_out},
    accept_error{ENOMEM, "ENOMEM", meaning::ran_out},
    accept_error{EBADF, "EBADF", meaning::ends},
    accept_error{EINVAL, "EINVAL", meaning::ends},
    accept_error{ENOTSOCK, "ENOTSOCK", meaning::ends},
    accept_error{EFAULT, "EFAULT", meaning::ends},
};

/// World × whether the answer comes at once.
class accept_errors_test
    : public ::testing::TestWithParam<std::tuple<poller_choice, bool>> {
protected:
    /// Runs `body()` in the world, which follows `plan`.
    template <typename Body>
    void with_plan(injection_plan& plan, Body& body) {
        plan.at_once = std::get<1>(GetParam());
        const injection injecting(plan);
        run_in(std::get<0>(GetParam()), body);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, accept_errors_test,
                         ::testing::Combine(::testing::ValuesIn(all_worlds()), ::testing::Bool()),
                         [](const auto& each) {
                             return world_name(std::get<0>(each.param)) +
                                    (std::get<1>(each.param) ? "_at_once" : "_later");
                         });

task<> ping(net::tcp_stream& stream) {
    co_await say(stream, "ping");
    co_await hear(stream, "ping");
}

/// An accept that meets `error` first. What it answers is checked by a byte, an error is thrown.
task<> accept_after(injection_plan& plan, int error) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    plan.accept_errors = {error};
    net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
    net::tcp_stream server = co_await listener.accept();
    co_await say(server, "x");
    co_await hear(client, "x");
}

TEST_P(accept_errors_test, accept_passes_over_waits_or_throws_as_the_table_says) {
    for (const accept_error& row : accept_errors) {
        SCOPED_TRACE(row.name);
        injection_plan plan;
        plan.shed_error = EAGAIN;  // or the world would turn away the client of this test
        report_collector reports;
        std::error_code thrown;
        const auto body = [&]() -> task<> {
            const result<void> ended = co_await as_result(accept_after(plan, row.error));
            if (!ended) thrown = ended.error().code();
        };
        with_plan(plan, body);
        EXPECT_EQ(thrown.value(), row.means == meaning::ends ? row.error : 0);
        EXPECT_EQ(plan.accepts, row.means == meaning::ends ? 1u : 2u);
        EXPECT_EQ(plan.sheds, row.means == meaning::ran_out ? 1u : 0u);
        ASSERT_EQ(reports.entries.size(), row.means == meaning::ran_out ? 1u : 0u);
        if (row.means != meaning::ran_out) continue;
        EXPECT_GE(plan.longest_pause, 50ms);
        // Service comes back within 100 ms; a real clock also shows what others did meanwhile.
        const bool exact = std::get<0>(GetParam()) == poller_choice::simulation;
        if (exact) { EXPECT_LE(plan.longest_pause, 100ms); }
        EXPECT_EQ(reports.entries[0].level, severity::warning);
        EXPECT_EQ(reports.entries[0].verb, "accept");
        EXPECT_EQ(reports.entries[0].error.value(), row.error);
    }
}

TEST_P(accept_errors_test, lost_connections_without_end_make_pauses_and_no_busy_loop) {
    constexpr unsigned many = 200;
    injection_plan plan;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        plan.accept_errors.assign(many, ECONNABORTED);
        net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
        const time_point begun = now();
        net::tcp_stream server = co_await listener.accept();
        // 64 in a row, then a pause of 50 ms: three pauses.
        EXPECT_GE(now() - begun, 150ms);
        co_await say(server, "x");
        co_await hear(client, "x");
    };
    with_plan(plan, body);
    EXPECT_EQ(plan.accepts, many + 1);
}

/// It takes who is there, and neither pauses nor tells of clients who are not.
TEST_P(accept_errors_test, accept_if_waiting_ends_at_once_whatever_it_meets) {
    for (const int error : {ECONNABORTED, EMFILE}) {
        injection_plan plan;
        plan.shed_error = EAGAIN;  // nobody is there
        report_collector reports;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
            plan.accept_errors.assign(64, error);
            const auto none = co_await listener.accept_if_waiting();
            EXPECT_FALSE(none.has_value());
            plan.accept_errors.clear();
        };
        with_plan(plan, body);
        EXPECT_LT(plan.longest_pause, 50ms);
        EXPECT_EQ(plan.accepts, error == EMFILE ? 1u : 64u);
        EXPECT_TRUE(reports.entries.empty());
    }
}

TEST_P(accept_errors_test, an_accept_that_meets_errors_can_be_cancelled_at_any_moment) {
    for (const int error : {ECONNABORTED, EMFILE}) {
        for (const duration after : {duration(0ms), duration(1ms), duration(70ms)}) {
            injection_plan plan;
            plan.shed_error = EAGAIN;
            report_collector reports;
            const auto body = [&]() -> task<> {
                auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
                plan.accept_errors.assign(10'000, error);
                EXPECT_FALSE((co_await move_on_after(after, listener.accept())).has_value());
                plan.accept_errors.clear();
                net::tcp_stream client =
                    co_await net::tcp_stream::connect(listener.local_endpoint());
                net::tcp_stream server = co_await listener.accept();
                co_await say(server, "x");
                co_await hear(client, "x");
            };
            with_plan(plan, body);
        }
    }
}

/// Two clients, one before and one after the server has met `error`; the first stays connected.
task<> serve_through(injection_plan& plan, const accept_error& row, std::error_code& ended) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto both = [&](task_group& group) -> task<> {
        group.spawn(
            [](net::tcp_listener& on, std::error_code& how) -> task<> {
                const result<void> end = co_await as_result(serve(on, echo));
                if (!end) how = end.error().code();
            },
            std::ref(listener), std::ref(ended));
        net::tcp_stream first = co_await net::tcp_stream::connect(where);
        co_await ping(first);
        plan.accept_errors.assign(3, row.error);
        // The accept that waits takes this one, and the next three meet the error.
        net::tcp_stream second = co_await net::tcp_stream::connect(where);
        const result<void> answered = co_await as_result(ping(second));
        EXPECT_TRUE(answered.has_value() || row.means == meaning::ends);
        while (!plan.accept_errors.empty() && !ended) co_await sleep_for(1ms);
        if (!ended) {
            co_await ping(first);
            net::tcp_stream third = co_await net::tcp_stream::connect(where);
            co_await ping(third);
        }
        group.cancel();
    };
    co_await with_task_group(both);
}

TEST_P(accept_errors_test, serve_survives_all_but_those_that_end_the_listener) {
    for (const accept_error& row : accept_errors) {
        SCOPED_TRACE(row.name);
        injection_plan plan;
        plan.shed_error = EAGAIN;
        report_collector reports;
        std::error_code ended;
        const auto body = [&]() -> task<> { co_await serve_through(plan, row, ended); };
        with_plan(plan, body);
        EXPECT_EQ(ended.value(), row.means == meaning::ends ? row.error : 0);
        EXPECT_EQ(plan.sheds, row.means == meaning::ran_out ? 3u : 0u);
        EXPECT_EQ(reports.entries.size(), row.means == meaning::ran_out ? 3u : 0u);
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
