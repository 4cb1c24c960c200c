// Streams over descriptors that other code has made, and back, on io_uring and epoll.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <coro/net/local.hpp>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using net::local_stream;
using net::tcp_stream;

struct two_ends {
    int ours = -1;
    int theirs = -1;
};

two_ends local_ends() {
    std::array<int, 2> ends{};
    EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
    return {ends[0], ends[1]};
}

int listening_socket(sockaddr_in& where) {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    where = {};
    where.sin_family = AF_INET;
    where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof where;
    EXPECT_EQ(::bind(listener, reinterpret_cast<sockaddr*>(&where), size), 0);
    EXPECT_EQ(::listen(listener, 1), 0);
    EXPECT_EQ(::getsockname(listener, reinterpret_cast<sockaddr*>(&where), &size), 0);
    return listener;
}

two_ends tcp_ends() {
    sockaddr_in where{};
    const int listener = listening_socket(where);
    const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    EXPECT_EQ(::connect(client, reinterpret_cast<sockaddr*>(&where), sizeof where), 0);
    const int server = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    ::close(listener);
    return {client, server};
}

bool is_blocking(int descriptor) { return (::fcntl(descriptor, F_GETFL) & O_NONBLOCK) == 0; }

template <typename Stream>
std::error_code refusal_of(int descriptor) {
    try {
        static_cast<void>(Stream::adopt(descriptor));
    } catch (const io_error& error) {
        EXPECT_STREQ(error.operation(), "adopt");
        return error.code();
    }
    return {};
}

class adopt_test : public world_test {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(adopt_test);  // CORO_POLLER=simulation
INSTANTIATE_TEST_SUITE_P(real_worlds, adopt_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

template <typename Stream>
task<> there_and_back(two_ends ends, bool blocking) {
    if (!blocking) ::fcntl(ends.ours, F_SETFL, ::fcntl(ends.ours, F_GETFL) | O_NONBLOCK);
    Stream stream = Stream::adopt(ends.ours);
    EXPECT_FALSE(is_blocking(ends.ours));
    std::array<std::byte, 5> into{};
    EXPECT_EQ(::send(ends.theirs, "hello", 5, 0), 5);
    co_await net::read_exact(stream, mutable_bytes(into));
    EXPECT_EQ(as_text(into), "hello");
    co_await net::write_all(stream, as_bytes("reply"));
    EXPECT_EQ(::recv(ends.theirs, into.data(), 5, MSG_WAITALL), 5);
    // One that had to wait: epoll has registered it.
    const auto none = co_await as_result(with_timeout(1ms, stream.read_some(into)));
    EXPECT_FALSE(none.has_value());

    const int back = stream.release();
    EXPECT_EQ(back, ends.ours);
    EXPECT_FALSE(static_cast<bool>(stream));
    EXPECT_EQ(is_blocking(back), blocking) << "as it was found";
    EXPECT_EQ(::send(back, "raw", 3, 0), 3);
    EXPECT_EQ(::recv(ends.theirs, into.data(), 3, MSG_WAITALL), 3);

    Stream again = Stream::adopt(back);
    again.close();
    EXPECT_EQ(::recv(ends.theirs, into.data(), 1, 0), 0) << "the stream owns it";
    ::close(ends.theirs);
}

TEST_P(adopt_test, a_descriptor_becomes_a_stream_and_a_descriptor_again) {
    const auto body = [&]() -> task<> {
        for (const bool blocking : {true, false}) {
            co_await there_and_back<local_stream>(local_ends(), blocking);
            co_await there_and_back<tcp_stream>(tcp_ends(), blocking);
        }
    };
    in_world(body);
}

TEST_P(adopt_test, an_adopted_stream_names_its_peer) {
    const auto body = [&]() -> task<> {
        const two_ends unnamed = local_ends();
        const local_stream local = local_stream::adopt(unnamed.ours);
        EXPECT_EQ(local.describe(), "client of unix:(unnamed)");
        const two_ends ends = tcp_ends();
        const tcp_stream tcp = tcp_stream::adopt(ends.ours);
        EXPECT_EQ(tcp.describe(), tcp.remote_endpoint().to_string());
        EXPECT_EQ(tcp.describe().rfind("127.0.0.1:", 0), 0u);
        ::close(unnamed.theirs);
        ::close(ends.theirs);
        co_return;
    };
    in_world(body);
}

TEST_P(adopt_test, what_is_no_connected_stream_is_refused_and_stays_as_it_is) {
    const auto body = [&]() -> task<> {
        EXPECT_TRUE(refusal_of<tcp_stream>(-1) == std::errc::bad_file_descriptor);
        EXPECT_TRUE(refusal_of<local_stream>(-1) == std::errc::bad_file_descriptor);
        sockaddr_in where{};
        const two_ends local = local_ends();
        const two_ends tcp = tcp_ends();
        std::array<int, 2> datagrams{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, datagrams.data()), 0);
        const int file = ::open("/dev/null", O_RDWR | O_CLOEXEC);
        const int udp = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        const int fresh = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int fresh_local = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const int listener = listening_socket(where);

        EXPECT_TRUE(refusal_of<tcp_stream>(file) == std::errc::not_a_socket);
        EXPECT_TRUE(refusal_of<tcp_stream>(udp) == std::errc::wrong_protocol_type);
        EXPECT_TRUE(refusal_of<tcp_stream>(fresh) == std::errc::not_connected);
        EXPECT_TRUE(refusal_of<tcp_stream>(listener) == std::errc::invalid_argument);
        EXPECT_TRUE(refusal_of<tcp_stream>(local.ours) == std::errc::address_family_not_supported);
        EXPECT_TRUE(refusal_of<local_stream>(tcp.ours) == std::errc::address_family_not_supported);
        EXPECT_TRUE(refusal_of<local_stream>(datagrams[0]) == std::errc::wrong_protocol_type);
        EXPECT_TRUE(refusal_of<local_stream>(fresh_local) == std::errc::not_connected);

        for (const int each : {local.ours, tcp.ours, file, udp, fresh, listener, datagrams[0]})
            EXPECT_TRUE(is_blocking(each));
        for (const int each : {local.ours, local.theirs, tcp.ours, tcp.theirs, file, udp, fresh,
                               fresh_local, listener, datagrams[0], datagrams[1]})
            EXPECT_EQ(::close(each), 0) << "it is still the caller's";
        co_return;
    };
    in_world(body);
}

TEST_P(adopt_test, a_release_that_is_refused_names_the_peer) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        tcp_stream stream = co_await tcp_stream::connect(listener.local_endpoint());
        std::array<std::byte, 8> into{};
        const auto reads = [&]() -> task<> { static_cast<void>(co_await stream.read_some(into)); };
        const auto tries = [&](task_group& group) -> task<> {
            group.spawn(std::ref(reads));
            co_await sleep_for(1ms);
            std::string peer;
            try {
                static_cast<void>(stream.release());
            } catch (const io_error& error) {
                peer = error.endpoint();
            }
            EXPECT_EQ(peer, listener.local_endpoint().to_string());
            group.cancel();
        };
        co_await with_task_group(tries);
    };
    in_world(body);
}

TEST_P(adopt_test, a_stream_in_use_is_not_released) {
    const auto body = [&]() -> task<> {
        const two_ends ends = local_ends();
        local_stream stream = local_stream::adopt(ends.ours);
        std::array<std::byte, 8> into{};
        const auto reads = [&]() -> task<> {
            const std::size_t got = co_await stream.read_some(into);
            EXPECT_EQ(got, 1u);
        };
        const auto tries = [&](task_group& group) -> task<> {
            group.spawn(std::ref(reads));
            co_await sleep_for(1ms);
            std::error_code code;
            try {
                static_cast<void>(stream.release());
            } catch (const io_error& error) {
                EXPECT_STREQ(error.operation(), "release");
                code = error.code();
            }
            EXPECT_TRUE(code == errc::busy);
            EXPECT_EQ(::send(ends.theirs, "x", 1, 0), 1);
        };
        co_await with_task_group(tries);
        const int descriptor = stream.release();
        ::close(descriptor);
        ::close(ends.theirs);
    };
    in_world(body);
}

TEST_P(adopt_test, an_accepted_connection_is_released_non_blocking) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        tcp_stream client = co_await tcp_stream::connect(listener.local_endpoint());
        tcp_stream server = co_await listener.accept();
        const int descriptor = server.release();
        EXPECT_FALSE(is_blocking(descriptor));
        EXPECT_EQ(::send(descriptor, "raw", 3, 0), 3);
        co_await hear(client, "raw");
        ::close(descriptor);
        const std::string rest = co_await read_to_end(client);
        EXPECT_EQ(rest, "");
    };
    in_world(body);
}

TEST(adopt, is_refused_in_a_simulation_and_on_empty_streams) {
    const auto body = [&]() -> task<> {
        const two_ends ends = local_ends();
        EXPECT_TRUE(refusal_of<local_stream>(ends.ours) == std::errc::operation_not_supported);
        ::close(ends.ours);
        ::close(ends.theirs);
        local_stream none;
        std::error_code code;
        try {
            static_cast<void>(none.release());
        } catch (const io_error& error) {
            code = error.code();
        }
        EXPECT_TRUE(code == errc::closed);
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        tcp_stream client = co_await tcp_stream::connect(listener.local_endpoint());
        try {
            static_cast<void>(client.release());
        } catch (const io_error& error) {
            code = error.code();
        }
        EXPECT_TRUE(code == std::errc::operation_not_supported);
        EXPECT_TRUE(static_cast<bool>(client)) << "the stream is as before";
    };
    run_in(poller_choice::simulation, body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
