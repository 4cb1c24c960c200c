// stream_options::dead_peer: peers whose systems answer nothing any more, on real sockets.
#include <linux/filter.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <functional>
#include <vector>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class dead_peer_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, dead_peer_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// A client whose system can be made to drop all that comes for it, as a machine without power
/// does: a filter on its socket, which needs no privilege.
class mortal_client {
public:
    explicit mortal_client(net::endpoint to)
        : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
        const socket_address where = to_socket_address(to);
        const auto* const address = reinterpret_cast<const sockaddr*>(where.bytes.data());
        EXPECT_EQ(::connect(socket_, address, where.size), 0);
    }
    mortal_client(const mortal_client&) = delete;
    mortal_client& operator=(const mortal_client&) = delete;
    ~mortal_client() { ::close(socket_); }

    void die() const {
        sock_filter drop_all{BPF_RET | BPF_K, 0, 0, 0};
        const sock_fprog program{1, &drop_all};
        EXPECT_EQ(::setsockopt(socket_, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program), 0);
    }

private:
    int socket_;
};

/// What the end of a connection was, and how long after its peer had died.
struct notice {
    std::error_code how;
    duration after{};
};

task<> notice_death(net::tcp_listener& listener, bool with_data, notice& seen) {
    const time_point last_heard = now();  // at least: the kernel counts from its last segment
    const mortal_client client(listener.local_endpoint());
    net::tcp_stream peer = co_await listener.accept();
    client.die();
    try {
        std::array<std::byte, 1> byte{};
        if (with_data) co_await net::write_all(peer, byte);
        co_await peer.read_some(byte);
    } catch (const io_error& error) {
        seen.how = error.code();
    }
    seen.after = now() - last_heard;
}

/// Upper limits are for docs/performance.md: a busy machine may be late.
TEST_P(dead_peer_test, is_noticed_and_not_before_its_time) {
    for (const bool with_data : {false, true}) {
        SCOPED_TRACE(with_data ? "data under way" : "silence");
        constexpr duration policy = 3s;
        notice seen;
        const auto body = [&]() -> task<> {
            auto listener = net::tcp_listener::bind(net::endpoint::loopback(0),
                                                    {.accepted = {.dead_peer = policy}});
            co_await notice_death(listener, with_data, seen);
        };
        run_in(GetParam(), body);
        EXPECT_EQ(seen.how, std::errc::timed_out);
        EXPECT_GE(seen.after, policy);
        std::printf("%s: noticed after %lld ms of %lld\n", world_name(GetParam()).c_str(),
                    static_cast<long long>(seen.after / 1ms),
                    static_cast<long long>(policy / 1ms));
    }
}

/// The kernel counts a full window as no answer. The documentation says so.
TEST_P(dead_peer_test, is_one_that_takes_no_data_too) {
    std::error_code how;
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0),
                                                {.accepted = {.dead_peer = 2s}});
        const mortal_client client(listener.local_endpoint());  // it reads nothing
        net::tcp_stream peer = co_await listener.accept();
        const std::vector<std::byte> block(1 << 20);
        try {
            for (;;) co_await net::write_all(peer, block);
        } catch (const io_error& error) {
            how = error.code();
        }
    };
    run_in(GetParam(), body);
    EXPECT_EQ(how, std::errc::timed_out);
}

TEST_P(dead_peer_test, a_silent_peer_that_lives_is_not_taken_for_dead) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0),
                                                {.accepted = {.dead_peer = 2s}});
        const mortal_client client(listener.local_endpoint());
        net::tcp_stream peer = co_await listener.accept();
        std::array<std::byte, 1> byte{};
        const auto read = [&]() -> task<> { co_await peer.read_some(byte); };
        EXPECT_FALSE(co_await move_on_after(5s, read()));
    };
    run_in(GetParam(), body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
