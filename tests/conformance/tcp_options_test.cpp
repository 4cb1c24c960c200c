// Options of TCP sockets, read back from the kernel's own descriptor.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class tcp_options_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, tcp_options_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);
class tcp_options_everywhere_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, tcp_options_everywhere_test,
                         ::testing::ValuesIn(all_worlds()), parameter_name);

int number_of(int descriptor, int level, int name) {
    int value = -12345;
    socklen_t size = sizeof value;
    EXPECT_EQ(::getsockopt(descriptor, level, name, &value, &size), 0) << std::strerror(errno);
    return value;
}

/// The descriptor of a stream, which the caller has to close.
class released {
public:
    explicit released(net::tcp_stream& stream) : descriptor_(stream.release()) {}
    released(const released&) = delete;
    released& operator=(const released&) = delete;
    ~released() { ::close(descriptor_); }
    [[nodiscard]] int operator()(int level, int name) const {
        return number_of(descriptor_, level, name);
    }

private:
    int descriptor_;
};

/// What does not depend on a privilege, on either side.
net::stream_options many_options() {
    return {.quick_ack = false,
            .cork = true,
            .congestion_control = "reno",
            .dscp = 46,
            .priority = 5,
            .not_sent_low_water_bytes = 16 * 1024,
            .maximum_segment_bytes = 700};
}

void expect_many_options(const released& of, bool ipv6) {
    EXPECT_EQ(of(IPPROTO_TCP, TCP_CORK), 1);
    EXPECT_EQ(of(IPPROTO_IP, IP_TOS), 46 << 2);
    if (ipv6) { EXPECT_EQ(of(IPPROTO_IPV6, IPV6_TCLASS), 46 << 2); }
    EXPECT_EQ(of(SOL_SOCKET, SO_PRIORITY), 5);
    EXPECT_EQ(of(IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16 * 1024);
}

TEST_P(tcp_options_test, reach_the_socket_that_connects) {
    for (const net::endpoint where : {net::endpoint::loopback(0), net::endpoint::loopback_v6(0)}) {
        const bool ipv6 = where.family() == net::ip_family::ipv6;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(where);
            auto near = co_await net::tcp_stream::connect(listener.local_endpoint(),
                                                          {.stream = many_options()});
            EXPECT_EQ(near.congestion_control().name(), "reno");
            EXPECT_LE(near.info().send_mss.value(), 700u) << "TCP_MAXSEG of a connection is that";
            const released kernel(near);
            expect_many_options(kernel, ipv6);
            co_return;
        };
        in_world(body);
    }
}

TEST_P(tcp_options_test, are_inherited_from_the_listener) {
    for (const net::endpoint where : {net::endpoint::loopback(0), net::endpoint::loopback_v6(0)}) {
        const bool ipv6 = where.family() == net::ip_family::ipv6;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(where, {.accepted = many_options()});
            const auto near = co_await net::tcp_stream::connect(listener.local_endpoint());
            auto far = co_await listener.accept();
            EXPECT_EQ(far.congestion_control().name(), "reno");
            EXPECT_LE(near.info().send_mss.value(), 700u) << "the handshake has told it";
            const released kernel(far);
            EXPECT_EQ(kernel(IPPROTO_TCP, TCP_CORK), 1);
            EXPECT_EQ(kernel(IPPROTO_TCP, TCP_NOTSENT_LOWAT), 16 * 1024);
            EXPECT_EQ(kernel(SOL_SOCKET, SO_PRIORITY), 0) << "the one that is not";
            EXPECT_EQ(kernel(ipv6 ? IPPROTO_IPV6 : IPPROTO_IP, ipv6 ? IPV6_TCLASS : IP_TOS),
                      46 << 2);
            co_return;
        };
        in_world(body);
    }
}

TEST_P(tcp_options_test, quick_ack_is_set_on_the_connection) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        pair.near.set_options({.quick_ack = false});
        pair.far.set_options({.quick_ack = true});
        const released near(pair.near);
        const released far(pair.far);
        EXPECT_EQ(near(IPPROTO_TCP, TCP_QUICKACK), 0);
        EXPECT_EQ(far(IPPROTO_TCP, TCP_QUICKACK), 1);
        co_return;
    };
    in_world(body);
}

/// SO_MARK needs a privilege: who has none is told by name.
TEST_P(tcp_options_test, a_mark_is_set_or_refused_by_name) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        bool allowed = true;
        try {
            pair.near.set_options({.mark = 0xfedcba98u});
        } catch (const io_error& error) {
            allowed = false;
            EXPECT_EQ(error, std::errc::operation_not_permitted);
            EXPECT_STREQ(error.operation(), "set mark");
        }
        const released kernel(pair.near);
        EXPECT_EQ(static_cast<unsigned>(kernel(SOL_SOCKET, SO_MARK)), allowed ? 0xfedcba98u : 0u);
        co_return;
    };
    in_world(body);
}

/// Of the sockets of this process the one that listens at `where`.
int listening_descriptor(net::endpoint where) {
    const socket_address wanted = to_socket_address(where);
    for (int each = 3; each < 1024; ++each) {
        socket_address seen;
        socklen_t size = static_cast<socklen_t>(seen.bytes.size());
        int listening = 0;
        socklen_t number = sizeof listening;
        if (::getsockname(each, reinterpret_cast<sockaddr*>(seen.bytes.data()), &size) == 0 &&
            size == wanted.size && std::memcmp(seen.bytes.data(), wanted.bytes.data(), size) == 0 &&
            ::getsockopt(each, SOL_SOCKET, SO_ACCEPTCONN, &listening, &number) == 0 &&
            listening != 0)
            return each;
    }
    return -1;
}

TEST_P(tcp_options_test, fast_open_of_a_listener_and_of_a_connect) {
    const auto body = [&]() -> task<> {
        auto listener =
            net::tcp_listener::bind(net::endpoint::loopback(0), {.fast_open = 9});
        EXPECT_EQ(number_of(listening_descriptor(listener.local_endpoint()), IPPROTO_TCP,
                            TCP_FASTOPEN),
                  9);
        // Whether data goes with the SYN depends on the machine; that it arrives does not.
        for (int round = 0; round < 3; ++round) {
            auto near = co_await net::tcp_stream::connect(listener.local_endpoint(),
                                                          {.fast_open = true});
            co_await say(near, "with the SYN");
            auto far = co_await listener.accept();
            co_await hear(far, "with the SYN");
            co_await say(far, "an answer");
            co_await hear(near, "an answer");
            EXPECT_EQ(near.remote_endpoint(), listener.local_endpoint());
            const released kernel(near);
            EXPECT_EQ(kernel(IPPROTO_TCP, TCP_FASTOPEN_CONNECT), 1);
        }
    };
    in_world(body);
}

/// Two writes that are corked leave as one segment.
TEST_P(tcp_options_test, corked_writes_leave_together) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto segments = [&] { return pair.near.info().data_segments_sent.value(); };
        for (;;) {
            const std::uint32_t before = segments();
            const auto begun = std::chrono::steady_clock::now();
            pair.near.cork();
            co_await say(pair.near, "header");
            co_await say(pair.near, "body");
            pair.near.uncork();
            // After 200 ms the header would go alone.
            const bool was_quick = std::chrono::steady_clock::now() - begun < 100ms;
            co_await hear(pair.far, "headerbody");
            if (!was_quick) continue;
            EXPECT_EQ(segments() - before, 1u);
            break;
        }
        const released kernel(pair.near);
        EXPECT_EQ(kernel(IPPROTO_TCP, TCP_CORK), 0);
    };
    in_world(body);
}

template <typename Function>
std::string text_of_error(Function f) {
    try {
        f();
    } catch (const io_error& error) {
        return error.what();
    }
    return "no error";
}

/// The words of the list in the kernel's own file.
std::vector<std::string> available() {
    std::ifstream file("/proc/sys/net/ipv4/tcp_available_congestion_control");
    return {std::istream_iterator<std::string>(file), {}};
}

TEST_P(tcp_options_test, an_unknown_congestion_control_is_an_error_that_lists_those_there_are) {
    const net::stream_options wrong{.congestion_control = "no-such-one"};
    const auto expect_list = [](const std::string& text) {
        EXPECT_NE(text.find("set congestion_control"), std::string::npos) << text;
        EXPECT_NE(text.find("\"no-such-one\"; this kernel has: "), std::string::npos) << text;
        EXPECT_FALSE(available().empty());
        for (const std::string& each : available())
            EXPECT_NE(text.find(each), std::string::npos) << each << " is not in " << text;
    };
    const auto body = [&]() -> task<> {
        const auto bind_wrong = [&] {
            (void)net::tcp_listener::bind(net::endpoint::loopback(0), {.accepted = wrong});
        };
        expect_list(text_of_error(bind_wrong));
        stream_pair pair;
        co_await pair.open();
        const auto set_wrong = [&] { pair.near.set_options(wrong); };
        expect_list(text_of_error(set_wrong));
        const net::connect_options connecting{.stream = wrong};
        auto attempt = net::tcp_stream::connect(pair.near.remote_endpoint(), connecting);
        const auto ended = co_await as_result(std::move(attempt));
        expect_list(ended.has_value() ? "no error" : ended.error().what());
    };
    in_world(body);
}

TEST_P(tcp_options_everywhere_test, values_out_of_range_are_refused_by_name) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto refused = [&](const net::stream_options& options) {
            try {
                pair.near.set_options(options);
            } catch (const io_error& error) {
                EXPECT_EQ(error, std::errc::invalid_argument) << error.what();
                return std::string(error.operation());
            }
            return std::string("no error");
        };
        EXPECT_EQ(refused({.dscp = 64}), "set dscp");
        EXPECT_EQ(refused({.maximum_segment_bytes = 40}), "set maximum_segment_bytes");
        EXPECT_EQ(refused({.maximum_segment_bytes = 40'000}), "set maximum_segment_bytes");
        EXPECT_EQ(refused({.not_sent_low_water_bytes = std::size_t{1} << 40}),
                  "set not_sent_low_water_bytes");
        co_return;
    };
    in_world(body);
}

TEST_P(tcp_options_everywhere_test, a_name_that_is_empty_or_too_long_is_none) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        const auto set_empty = [&] { pair.near.set_options({.congestion_control = ""}); };
        EXPECT_EQ(text_of_error(set_empty).substr(0, 24), "set congestion_control: ");
        const auto set_long = [&] {
            pair.near.set_options({.congestion_control = "sixteen-letters-"});
        };
        EXPECT_NE(text_of_error(set_long).find("a name has at most 15 characters"),
                  std::string::npos)
            << text_of_error(set_long);
        co_return;
    };
    in_world(body);
}

TEST_P(tcp_options_everywhere_test, the_options_of_a_listener_are_those_of_what_it_accepts) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0),
                                                {.fast_open = 4, .accepted = many_options()});
        const auto near =
            co_await net::tcp_stream::connect(listener.local_endpoint(), {.fast_open = true});
        const auto far = co_await listener.accept();
        EXPECT_EQ(far.congestion_control().name(), "reno");
        co_return;
    };
    in_world(body);
}

TEST_P(tcp_options_everywhere_test, a_stream_without_a_connection_is_closed_by_name) {
    net::tcp_stream none;
    EXPECT_EQ(text_of_error([&] { none.cork(); }).substr(0, 5), "cork:");
    EXPECT_EQ(text_of_error([&] { none.uncork(); }).substr(0, 7), "uncork:");
    EXPECT_NE(text_of_error([&] { (void)none.congestion_control(); }), "no error");
}

TEST(congestion_control_test, is_a_name_of_at_most_15_characters) {
    constexpr net::congestion_control named = "bbr";
    static_assert(named.name() == "bbr" && !named.is_too_long());
    static_assert(net::congestion_control("123456789012345").name().size() == 15);
    static_assert(net::congestion_control("1234567890123456").is_too_long());
    EXPECT_EQ(net::congestion_control("1234567890123456").name(), "");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
