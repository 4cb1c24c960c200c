// Options reach the poller in order, by the right names, and the first refusal is the answer.
#include "net/apply_options.hpp"

#include <cerrno>
#include <chrono>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "support/extreme_spans.hpp"

namespace coro::detail {
namespace {

using namespace std::chrono_literals;
using call = std::pair<socket_option, int>;

/// A poller of which only set_option() may be called.
class option_recorder final : public poller {
public:
    std::vector<call> calls;
    std::string congestion;
    std::optional<socket_option> refused;

    int set_option(detail::handle socket, socket_option which, int value) noexcept override {
        EXPECT_EQ(socket, (detail::handle{3, 7}));
        if (refused == which) return -EPERM;
        calls.emplace_back(which, value);
        return 0;
    }

    std::string_view name() const noexcept override { return "recorder"; }
    bool submit(operation&) noexcept override { return unexpected() != 0; }
    void cancel(operation&) noexcept override { unexpected(); }
    void wait(time_point, operation_list&) noexcept override { unexpected(); }
    bool has_more() const noexcept override { return false; }
    void wake() noexcept override { unexpected(); }
    time_point now() noexcept override { return time_point(duration(unexpected())); }
    void return_lease(std::uint32_t, void*, bool) noexcept override { unexpected(); }
    std::size_t lend(operation&) noexcept override { return unexpected() != 0; }
    int open_stream(address_family, detail::handle&) noexcept override { return unexpected(); }
    int open_datagram(address_family, detail::handle&) noexcept override { return unexpected(); }
    int bind(detail::handle, const socket_address&) noexcept override { return unexpected(); }
    int listen(detail::handle, int) noexcept override { return unexpected(); }
    int get_option(detail::handle, socket_option, int&) noexcept override { return unexpected(); }
    int local_address(detail::handle, socket_address&) noexcept override { return unexpected(); }
    int remote_address(detail::handle, socket_address&) noexcept override { return unexpected(); }
    int shutdown(detail::handle, shutdown_how) noexcept override { return unexpected(); }
    void close(detail::handle) noexcept override { unexpected(); }
    int close_if_idle(detail::handle) noexcept override { return unexpected(); }
    int moved_bytes(detail::handle, std::uint64_t&) noexcept override { return unexpected(); }
    int has_input(detail::handle, bool&) noexcept override { return unexpected(); }
    int has_peer_ended(detail::handle, bool&) noexcept override { return unexpected(); }
    int set_congestion(detail::handle socket, const congestion_name& name) noexcept override {
        EXPECT_EQ(socket, (detail::handle{3, 7}));
        congestion = name.data();
        return congestion == "unknown" ? -ENOENT : 0;
    }
    int get_congestion(detail::handle, congestion_name&) noexcept override { return unexpected(); }
    detail::handle next_socket(std::uint32_t, std::uint32_t&) noexcept override {
        unexpected();
        return {};
    }
    int tcp_facts(detail::handle, net::tcp_info&) noexcept override { return unexpected(); }
    int waiting_clients(detail::handle, net::accept_queue&) noexcept override {
        return unexpected();
    }
    socket_notes* notes(detail::handle) noexcept override { return nullptr; }
    int shed_connection(detail::handle) noexcept override { return unexpected(); }
    int adopt(int, detail::handle&) noexcept override { return unexpected(); }
    int release(detail::handle, int&) noexcept override { return unexpected(); }
    int watch(int, detail::handle&) noexcept override { return unexpected(); }
    int check_stream(int, address_family) noexcept override { return unexpected(); }
    int listen_local(detail::handle, const socket_address&, const local_file&,
                     file_mark&) noexcept override {
        return unexpected();
    }
    void remove_file(const socket_address&, const file_mark&) noexcept override { unexpected(); }
    int detach(detail::handle, detached&) noexcept override { return unexpected(); }
    int attach(detached&&, detail::handle&) noexcept override { return unexpected(); }
    poller_census census() const noexcept override { return {}; }

private:
    static int unexpected() {
        ADD_FAILURE() << "only set_option() was expected";
        return -EINVAL;
    }
};

constexpr detail::handle socket{3, 7};

TEST(apply_options, sets_no_delay_and_nothing_else_by_default) {
    option_recorder world;
    EXPECT_FALSE(apply_options(world, socket, net::stream_options{}));
    EXPECT_EQ(world.calls, (std::vector<call>{{socket_option::no_delay, 1}}));

    world.calls.clear();
    EXPECT_FALSE(apply_options(world, socket, net::stream_options{.no_delay = std::nullopt}));
    EXPECT_TRUE(world.calls.empty());
}

TEST(apply_options, sets_all_of_a_stream) {
    option_recorder world;
    const net::stream_options options{
        .no_delay = false,
        .receive_buffer_bytes = 65536,
        .send_buffer_bytes = 32768,
        .linger = 0s,
        .keepalive = net::keepalive_options{.idle = 30s, .interval = 5s, .count = 3},
        .user_timeout = 20s,
    };
    EXPECT_FALSE(apply_options(world, socket, options));
    EXPECT_EQ(world.calls, (std::vector<call>{
                               {socket_option::no_delay, 0},
                               {socket_option::receive_buffer, 65536},
                               {socket_option::send_buffer, 32768},
                               {socket_option::linger, 0},
                               {socket_option::keepalive_idle, 30},
                               {socket_option::keepalive_interval, 5},
                               {socket_option::keepalive_count, 3},
                               {socket_option::keepalive, 1},
                               {socket_option::user_timeout, 20'000},
                           }));
}

TEST(apply_options, sets_the_rest_of_a_stream_and_the_priority_behind_the_code_point) {
    option_recorder world;
    const net::stream_options options{
        .no_delay = std::nullopt,
        .quick_ack = true,
        .cork = false,
        .congestion_control = "bbr",
        .mark = 0xffffffffu,
        .dscp = 46,
        .priority = 3,
        .not_sent_low_water_bytes = 4096,
        .maximum_segment_bytes = 1000,
    };
    EXPECT_FALSE(apply_options(world, socket, options));
    EXPECT_EQ(world.calls, (std::vector<call>{
                               {socket_option::quick_ack, 1},
                               {socket_option::cork, 0},
                               {socket_option::mark, -1},
                               {socket_option::traffic_class, 184},
                               {socket_option::priority, 3},
                               {socket_option::not_sent_low_water, 4096},
                               {socket_option::maximum_segment, 1000},
                           }));
    EXPECT_EQ(world.congestion, "bbr");
}

TEST(apply_options, a_code_point_or_a_congestion_control_that_is_none_is_refused) {
    option_recorder world;
    option_failure failure = apply_options(world, socket, net::stream_options{.dscp = 64});
    EXPECT_EQ(failure.error, -EINVAL);
    EXPECT_STREQ(failure.verb, "set dscp");
    failure = apply_options(world, socket, net::stream_options{.congestion_control = "unknown"});
    EXPECT_EQ(failure.error, -ENOENT);
    EXPECT_STREQ(failure.verb, "set congestion_control");
    failure = apply_options(world, socket,
                            net::stream_options{.congestion_control = "longer than 15 characters"});
    EXPECT_EQ(failure.error, -ENOENT) << "not cut";
    EXPECT_EQ(world.congestion, "unknown") << "the poller was not asked again";
}

TEST(apply_options, fast_open_of_a_connect_and_of_a_listener) {
    option_recorder world;
    EXPECT_FALSE(apply_options(world, socket, net::connect_options{.fast_open = true}));
    EXPECT_EQ(world.calls, (std::vector<call>{{socket_option::no_delay, 1},
                                              {socket_option::fast_open_connect, 1}}));
    world.calls.clear();
    EXPECT_FALSE(apply_options(world, socket, net::listen_options{.fast_open = 16}));
    EXPECT_EQ(world.calls.at(1), (call{socket_option::fast_open, 16}));
}

TEST(apply_options, dead_peer_sets_keepalive_and_user_timeout_where_they_are_not_set) {
    const auto calls_of = [](net::stream_options options) {
        option_recorder world;
        options.no_delay = std::nullopt;
        EXPECT_FALSE(apply_options(world, socket, options));
        return world.calls;
    };
    const auto probes = [](int idle, int interval, int count, int timeout) {
        return std::vector<call>{{socket_option::keepalive_idle, idle},
                                 {socket_option::keepalive_interval, interval},
                                 {socket_option::keepalive_count, count},
                                 {socket_option::keepalive, 1},
                                 {socket_option::user_timeout, timeout}};
    };
    EXPECT_EQ(calls_of({.dead_peer = 20s}), probes(15, 1, 127, 20'000));
    EXPECT_EQ(calls_of({.dead_peer = 3500ms}), probes(3, 1, 127, 4'000)) << "rounded up";
    EXPECT_EQ(calls_of({.dead_peer = 0s}), probes(1, 1, 127, 2'000)) << "the least";
    EXPECT_EQ(calls_of({.dead_peer = 24h}), probes(24'300, 1, 127, 32'400'000)) << "the most";
    EXPECT_EQ(calls_of({.dead_peer = duration::max()}), std::vector<call>{});
    EXPECT_EQ(calls_of({.user_timeout = 5s, .dead_peer = 20s}), probes(15, 1, 127, 5'000));
    EXPECT_EQ(calls_of({.keepalive = net::keepalive_options{.idle = 9s, .interval = 4s, .count = 2},
                        .dead_peer = 20s}),
              probes(9, 4, 2, 20'000));
}

TEST(apply_options, sets_a_listener_and_what_its_connections_inherit) {
    option_recorder world;
    EXPECT_FALSE(apply_options(world, socket, net::listen_options{}));
    EXPECT_EQ(world.calls, (std::vector<call>{{socket_option::reuse_address, 1},
                                              {socket_option::no_delay, 1},
                                              {socket_option::keepalive_idle, 45},
                                              {socket_option::keepalive_interval, 1},
                                              {socket_option::keepalive_count, 127},
                                              {socket_option::keepalive, 1},
                                              {socket_option::user_timeout, 60'000}}));
    world.calls.clear();
    const net::listen_options options{.reuse_address = false,
                                      .reuse_port = true,
                                      .v6_only = true,
                                      .accepted = {.user_timeout = 1500ms}};
    EXPECT_FALSE(apply_options(world, socket, options));
    EXPECT_EQ(world.calls, (std::vector<call>{{socket_option::reuse_port, 1},
                                              {socket_option::v6_only, 1},
                                              {socket_option::no_delay, 1},
                                              {socket_option::user_timeout, 1500}}));
}

TEST(apply_options, names_the_first_option_that_is_refused_and_stops) {
    const net::listen_options options{
        .v6_only = false, .accepted = {.linger = 1s, .keepalive = net::keepalive_options{}}};
    const std::vector<std::pair<socket_option, std::string>> names = {
        {socket_option::reuse_address, "set reuse_address"},
        {socket_option::v6_only, "set v6_only"},
        {socket_option::no_delay, "set no_delay"},
        {socket_option::linger, "set linger"},
        {socket_option::keepalive_idle, "set keepalive.idle"},
        {socket_option::keepalive_interval, "set keepalive.interval"},
        {socket_option::keepalive_count, "set keepalive.count"},
        {socket_option::keepalive, "set keepalive"},
    };
    for (std::size_t i = 0; i < names.size(); ++i) {
        option_recorder world;
        world.refused = names[i].first;
        const option_failure failure = apply_options(world, socket, options);
        EXPECT_TRUE(failure);
        EXPECT_EQ(failure.error, -EPERM);
        EXPECT_EQ(failure.verb, names[i].second);
        EXPECT_EQ(world.calls.size(), i);
    }
}

TEST(apply_options, refuses_values_that_the_kernel_would_misread) {
    const auto verb = [](const net::stream_options& options) {
        option_recorder world;
        const option_failure failure = apply_options(world, socket, options);
        EXPECT_EQ(failure.error, -EINVAL);
        return std::string(failure.verb);
    };
    EXPECT_EQ(verb({.receive_buffer_bytes = std::size_t{1} << 32}), "set receive_buffer_bytes");
    EXPECT_EQ(verb({.send_buffer_bytes = std::numeric_limits<std::size_t>::max()}),
              "set send_buffer_bytes");
    EXPECT_EQ(verb({.keepalive = net::keepalive_options{.count = -1}}), "set keepalive.count");
}

/// The number that `which` is set to, the only one of its kind among the calls.
int number_of(socket_option which, const net::stream_options& options) {
    option_recorder world;
    EXPECT_FALSE(apply_options(world, socket, options));
    for (const call& made : world.calls)
        if (made.first == which) return made.second;
    ADD_FAILURE() << "it was not set";
    return -2;
}

TEST(apply_options, holds_every_span_in_the_range_of_the_kernel) {
    constexpr int greatest = std::numeric_limits<int>::max();
    coro_test::for_each_extreme_span([](const char* name, auto span,
                                        coro_test::span_meaning meaning) {
        SCOPED_TRACE(name);
        const bool no_limit = meaning == coro_test::span_meaning::no_limit;
        const int seconds = no_limit ? 32767 : 1;
        const net::stream_options probing{
            .keepalive = net::keepalive_options{.idle = span, .interval = span}};
        EXPECT_EQ(number_of(socket_option::keepalive_idle, probing), seconds);
        EXPECT_EQ(number_of(socket_option::keepalive_interval, probing), seconds);
        EXPECT_EQ(number_of(socket_option::linger, {.linger = span}), no_limit ? greatest : 0)
            << "-1 would mean off";
        EXPECT_EQ(number_of(socket_option::user_timeout, {.user_timeout = span}),
                  no_limit ? greatest : 1)
            << "0 would mean the system's";
    });
}

TEST(apply_options, rounds_spans_up_to_the_unit_of_the_kernel) {
    EXPECT_EQ(number_of(socket_option::linger, {.linger = 1ns}), 1) << "0 would mean reset";
    EXPECT_EQ(number_of(socket_option::linger, {.linger = 1500ms}), 2);
    EXPECT_EQ(number_of(socket_option::user_timeout, {.user_timeout = 1001us}), 2);
    EXPECT_EQ(number_of(socket_option::user_timeout, {.user_timeout = 2min}), 120'000);
    const net::stream_options probing{
        .keepalive = net::keepalive_options{.idle = 10h, .interval = 900ms}};
    EXPECT_EQ(number_of(socket_option::keepalive_idle, probing), 32767);
    EXPECT_EQ(number_of(socket_option::keepalive_interval, probing), 1);
}

}  // namespace
}  // namespace coro::detail
