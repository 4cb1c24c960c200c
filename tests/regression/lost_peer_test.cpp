// Peers that cannot be reached, and peers that vanish without a word: in a network of the test's
// own, whose cable can be pulled out. Real time, so only lower bounds.
#include <sys/socket.h>
#include <unistd.h>

#include <cstdio>
#include <string>

#include "conformance/child_process.hpp"
#include "conformance/net_test_support.hpp"
#include "support/own_network.hpp"

namespace coro { inline namespace v0 { namespace detail::regression {
namespace {

using namespace conformance;
using coro_test::own_network;

constexpr int no_network = 77;  ///< exit code of a child

class lost_peer_test : public ::testing::TestWithParam<poller_choice> {
protected:
    /// Runs `body(network)` in a world in a child process, whose failures are this test's. Without
    /// the right to have a network of its own the test is skipped; tests/CMakeLists.txt allows that
    /// by name.
    template <typename Body>
    void in_own_network(Body body) {
        child_process child([&](parent_line line) {
            const int code = run_child(body, line);
            std::fflush(stdout);
            return code;
        });
        const std::string words = child.all_words();
        if (child.exited_with(no_network)) GTEST_SKIP() << words;
        EXPECT_TRUE(child.exited_with(0)) << "see what the child has printed";
    }

private:
    template <typename Body>
    int run_child(Body& body, parent_line line) {
        own_network network;
        if (const std::string why = network.open(); !why.empty()) {
            line.say("no network of our own: " + why);
            return no_network;
        }
        try {
            const auto all = [&]() -> task<> { co_await with_timeout(1min, body(network)); };
            run(all(), options_for(GetParam()));
        } catch (const std::exception& problem) {
            ADD_FAILURE() << problem.what();
        }
        return HasFailure() ? 1 : 0;
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, lost_peer_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

net::endpoint at(std::uint32_t host, std::uint16_t port) {
    std::string text;
    for (const int shift : {24, 16, 8, 0})
        text += std::to_string(host >> shift & 0xff) + (shift == 0 ? ":" : ".");
    return *net::endpoint::parse(text + std::to_string(port));
}

struct ended_connect {
    std::error_code error;
    std::string text;
    duration took{};
};

task<ended_connect> try_connect(net::endpoint to, net::connect_options options = {}) {
    const time_point begun = now();
    const result<net::tcp_stream> made =
        co_await as_result(net::tcp_stream::connect(to, options));
    if (made) co_return ended_connect{{}, "connected", now() - begun};
    co_return ended_connect{made.error().code(), made.error().what(), now() - begun};
}

TEST_P(lost_peer_test, what_cannot_be_reached_is_an_error_that_names_it) {
    in_own_network([](own_network& network) -> task<> {
        std::uint16_t port = 0;
        ::close(network.far_listener(port));  // nobody listens there any more
        net::connect_options impatient;
        impatient.stream.user_timeout = 500ms;
        const auto [no_way, nobody, closed, silent] =
            co_await when_all(try_connect(at(own_network::no_way_address, 80)),
                              try_connect(at(own_network::nobodys_address, 80)),
                              try_connect(at(own_network::far_address, port)),
                              try_connect(at(own_network::silent_address, 80), impatient));
        EXPECT_EQ(no_way.error, std::errc::network_unreachable) << no_way.text;
        EXPECT_NE(no_way.text.find("192.0.2.1:80"), std::string::npos) << no_way.text;
        EXPECT_EQ(nobody.error, std::errc::host_unreachable) << nobody.text;
        EXPECT_NE(nobody.text.find("10.77.0.99:80"), std::string::npos) << nobody.text;
        EXPECT_EQ(closed.error, std::errc::connection_refused) << closed.text;
        EXPECT_EQ(silent.error, std::errc::timed_out) << silent.text;
        EXPECT_GE(silent.took, 500ms);

        // With no such limit the kernel goes on for two minutes; a deadline does not.
        const time_point begun = now();
        const result<net::tcp_stream> late = co_await as_result(with_timeout(
            200ms, net::tcp_stream::connect(at(own_network::silent_address, 80))));
        EXPECT_FALSE(late.has_value());
        EXPECT_EQ(late.error().code(), errc::deadline_exceeded) << late.error().what();
        EXPECT_GE(now() - begun, 200ms);
        EXPECT_EQ(current_loop_stats().sockets, 0u) << "a connect that was given up has a socket";
    });
}

bool set_in_network(const char* name, unsigned first, const char* rest) {
    std::FILE* const file = std::fopen((std::string("/proc/sys/net/ipv4/") + name).c_str(), "w");
    if (file == nullptr) return false;
    const bool written = std::fprintf(file, "%u%s\n", first, rest) > 0;
    return std::fclose(file) == 0 && written;
}

task<> connect_to_oneself(net::endpoint where, net::connect_options options,
                          std::uint64_t attempts) {
    const std::uint64_t before = current_loop_stats().operations_submitted;
    const ended_connect met = co_await try_connect(where, options);
    EXPECT_EQ(met.error, std::errc::connection_refused) << met.text;
    EXPECT_EQ(current_loop_stats().operations_submitted - before, attempts) << met.text;
}

/// TCP connects a port to itself when nobody listens there and our end is given the same port: here
/// the kernel has no other one to give. A kernel may be told to give privileged ones too.
TEST_P(lost_peer_test, a_port_that_is_down_is_refused_and_never_connected_to_itself) {
    in_own_network([](own_network&) -> task<> {
        EXPECT_TRUE(set_in_network("ip_unprivileged_port_start", 0, ""));
        for (const std::uint16_t port : {std::uint16_t{47'000}, std::uint16_t{700}}) {
            const std::string range = " " + std::to_string(port);
            EXPECT_TRUE(set_in_network("ip_local_port_range", port, range.c_str()));
            const auto v4 = net::endpoint::loopback(port);
            const auto v6 = *net::endpoint::parse("[::1]:" + std::to_string(port));
            const auto own = at(own_network::near_address, port);
            for (const net::endpoint& where : {v4, own, v6}) {
                for (int i = 0; i < 5; ++i) {
                    co_await connect_to_oneself(where, {}, 3);
                    // Nothing is left in TIME-WAIT: the server that was down has its port.
                    const net::tcp_listener server =
                        net::tcp_listener::bind(where, {.reuse_address = false});
                    EXPECT_TRUE(server);
                }
                // Whoever names the port for its end gets no other one.
                co_await connect_to_oneself(where, {.local = where}, 1);
            }
            // Whoever names an address only is given the port as well.
            co_await connect_to_oneself(v4, {.local = net::endpoint::loopback(0)}, 3);
            co_await connect_to_oneself(own, {.local = at(own_network::near_address, 0)}, 3);
        }
        EXPECT_EQ(current_loop_stats().sockets, 0u);
    });
}

/// A stream to the far host, and the socket at its other end.
struct far_stream {
    net::tcp_stream stream;
    int peer = -1;
};

task<far_stream> connect_far(int listener, std::uint16_t port, net::stream_options options = {}) {
    far_stream made;
    net::connect_options how;
    how.stream = options;
    made.stream =
        co_await net::tcp_stream::connect(at(own_network::far_address, port), how);
    made.peer = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    EXPECT_GE(made.peer, 0);
    co_return made;
}

/// How long after `begun` a read, with a byte unacknowledged if wanted, ends with timed_out.
task<duration> until_timed_out(net::tcp_stream& stream, bool with_byte, time_point begun) {
    if (with_byte) co_await say(stream, "?");
    std::array<std::byte, 8> into{};
    const result<std::size_t> got = co_await as_result(stream.read_some(mutable_bytes(into)));
    EXPECT_FALSE(got.has_value()) << "bytes from a cable that is not there";
    if (!got) { EXPECT_EQ(got.error().code(), std::errc::timed_out) << got.error().what(); }
    co_return now() - begun;
}

/// Neither option: only deadlines end its waits, and nothing is lost when the peer comes back.
task<> outlive(net::tcp_stream& stream) {
    std::array<std::byte, 8> into{};
    const auto early = co_await move_on_after(300ms, stream.read_some(mutable_bytes(into)));
    EXPECT_FALSE(early.has_value());
    co_await say(stream, "still here?");
}

/// More than the kernel takes for a peer that acknowledges nothing.
task<> write_into_nothing(net::tcp_stream& stream) {
    const std::string much(std::size_t{16} << 20, 'x');
    const result<void> written =
        co_await as_result(with_timeout(300ms, net::write_all(stream, as_bytes(much))));
    EXPECT_FALSE(written.has_value());
    if (!written) { EXPECT_EQ(written.error().code(), errc::deadline_exceeded); }
}

task<std::string> hear_at(int peer, std::size_t size) {
    std::string heard;
    while (heard.size() < size) {
        std::array<char, 64> into{};
        const ssize_t n = ::recv(peer, into.data(), std::min(into.size(), size - heard.size()),
                                 MSG_DONTWAIT);
        if (n > 0) heard.append(into.data(), static_cast<std::size_t>(n));
        else co_await sleep_for(1ms);
    }
    co_return heard;
}

TEST_P(lost_peer_test, a_vanished_peer_is_noticed_by_its_bounds_and_may_come_back) {
    in_own_network([](own_network& network) -> task<> {
        std::uint16_t port = 0;
        const int listener = network.far_listener(port);
        net::stream_options impatient;
        impatient.user_timeout = 1s;
        net::stream_options probing;
        probing.keepalive = net::keepalive_options{.idle = 1s, .interval = 1s, .count = 1};
        far_stream with_user_timeout = co_await connect_far(listener, port, impatient);
        // The kernel counts from the last packet, and that is one of the handshake.
        const time_point begun = now();
        far_stream with_keepalive = co_await connect_far(listener, port, probing);
        far_stream with_nothing = co_await connect_far(listener, port);
        far_stream full = co_await connect_far(listener, port);
        network.connect_cable(false);
        const auto [by_user_timeout, by_keepalive, outlived, bounded] =
            co_await when_all(until_timed_out(with_user_timeout.stream, true, now()),
                              until_timed_out(with_keepalive.stream, false, begun),
                              outlive(with_nothing.stream), write_into_nothing(full.stream));
        EXPECT_GE(by_user_timeout, 1s);
        EXPECT_GE(by_keepalive, 2s);
        std::printf("cable out: user timeout 1 s after %lld ms, keepalive 1+1 s after %lld ms\n",
                    static_cast<long long>(by_user_timeout / 1ms),
                    static_cast<long long>(by_keepalive / 1ms));
        network.connect_cable(true);
        EXPECT_EQ(co_await hear_at(with_nothing.peer, 11), "still here?");
        EXPECT_EQ(::send(with_nothing.peer, "yes", 3, 0), 3);
        co_await hear(with_nothing.stream, "yes");
        for (const far_stream* each : {&with_user_timeout, &with_keepalive, &with_nothing, &full})
            ::close(each->peer);
        ::close(listener);
    });
}

TEST_P(lost_peer_test, a_vanished_client_gives_its_place_to_the_next) {
    in_own_network([](own_network& network) -> task<> {
        auto listener = net::tcp_listener::bind(at(own_network::near_address, 0));
        const net::endpoint where = listener.local_endpoint();
        const auto body = [&](task_group& group) -> task<> {
            group.spawn(
                [](net::tcp_listener& on) -> task<> {
                    co_await serve(on, echo, {.limits = {.connections = 1, .idle = 500ms}});
                },
                std::ref(listener));
            const int client = network.far_client(where.port());
            const time_point begun = now();  // the server's own count begins with these bytes
            EXPECT_EQ(::send(client, "here", 4, 0), 4);
            EXPECT_EQ(co_await hear_at(client, 4), "here");
            network.connect_cable(false);  // takes its time, and the loop's
            net::tcp_stream next = co_await net::tcp_stream::connect(where);
            co_await say(next, "me");
            co_await hear(next, "me");
            EXPECT_GE(now() - begun, 400ms) << "the first client had its place still";
            ::close(client);
            group.cancel();
        };
        co_await with_task_group(body);
    });
}

/// Not of a lost peer, but of a network whose settings are the test's own: tcp_fastopen, ip(7).
bool set_fast_open(const char* to) {
    std::FILE* const setting = std::fopen("/proc/sys/net/ipv4/tcp_fastopen", "we");
    if (setting == nullptr) return false;
    const bool written = std::fputs(to, setting) >= 0;
    return std::fclose(setting) == 0 && written;
}

TEST_P(lost_peer_test, a_connect_that_may_not_be_fast_is_as_always) {
    in_own_network([](own_network&) -> task<> {
        EXPECT_TRUE(set_fast_open("0"));
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), {.fast_open = 16});
        auto near = co_await net::tcp_stream::connect(listener.local_endpoint(),
                                                      {.fast_open = true});
        EXPECT_EQ(near.info().state, net::tcp_state::established);
        auto far = co_await listener.accept();
        co_await say(near, "question");
        co_await hear(far, "question");
    });
}

TEST_P(lost_peer_test, nobody_is_lost_where_the_first_bytes_go_with_the_syn) {
    in_own_network([](own_network&) -> task<> {
        EXPECT_TRUE(set_fast_open("3"));
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0), {.fast_open = 16});
        for (const bool has_cookie : {false, true}) {
            auto near = co_await net::tcp_stream::connect(listener.local_endpoint(),
                                                          {.fast_open = true});
            co_await say(near, "question");
            auto far = co_await listener.accept();
            co_await hear(far, "question");
            co_await say(far, "answer");
            co_await hear(near, "answer");
            EXPECT_EQ(near.info().fast_open, has_cookie) << "the first connection asks for it";
            EXPECT_EQ(near.info().state, net::tcp_state::established);
            EXPECT_EQ(near.remote_endpoint(), listener.local_endpoint());
        }
    });
}

}  // namespace
}}}  // namespace coro::v0::detail::regression
