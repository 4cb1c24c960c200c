// A process that is stopped in its sleep (SIGSTOP, a frozen container) wakes late, with EINTR and
// with nothing collected: data that came before a deadline are given to who waits for them.
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "net_test_support.hpp"
#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"

namespace coro::inline v0::detail::conformance {
namespace {

/// Sleeps too long once, as a stopped process does.
class stopped_poller final : public forwarding_poller {
public:
    using forwarding_poller::forwarding_poller;

    void wait(time_point deadline, operation_list& completed) noexcept override {
        const bool sleeps = deadline != never && deadline > now();
        if (!sleeps || !while_stopped) return forwarding_poller::wait(deadline, completed);
        std::exchange(while_stopped, nullptr)();
        std::this_thread::sleep_for(deadline - now() + 20ms);
    }

    static inline std::function<void()> while_stopped;
};

class oversleep_test : public world_test {
protected:
    void SetUp() override {
        wrap_poller = [](std::unique_ptr<poller> world) -> std::unique_ptr<poller> {
            return std::make_unique<stopped_poller>(std::move(world));
        };
    }
    void TearDown() override {
        wrap_poller = nullptr;
        EXPECT_EQ(std::exchange(stopped_poller::while_stopped, nullptr), nullptr)
            << "the loop has never slept until the deadline";
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, oversleep_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(oversleep_test, data_that_came_before_the_deadline_are_given) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const socket_address where = to_socket_address(listener.local_endpoint());
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(
            ::connect(client, reinterpret_cast<const sockaddr*>(where.bytes.data()), where.size),
            0);
        net::tcp_stream peer = co_await listener.accept();
        std::array<std::byte, 4> into{};
        stopped_poller::while_stopped = [client] {
            EXPECT_EQ(::send(client, "data", 4, MSG_NOSIGNAL), 4);
        };
        const auto read = co_await as_result(with_timeout(50ms, peer.read_some(into)));
        EXPECT_TRUE(read.has_value()) << read.error().what();
        ::close(client);
    };
    in_world(body);
}

/// A silent peer stays silent: the deadline passes as ever.
TEST_P(oversleep_test, without_data_the_deadline_passes) {
    const auto body = [&]() -> task<> {
        stream_pair pair;
        co_await pair.open();
        std::array<std::byte, 4> into{};
        stopped_poller::while_stopped = [] {};
        const auto read = co_await as_result(with_timeout(50ms, pair.near.read_some(into)));
        EXPECT_FALSE(read.has_value());
    };
    in_world(body);
}

}  // namespace
}  // namespace coro::inline v0::detail::conformance
