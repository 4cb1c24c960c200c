// Data that came before a deadline win over it, though the loop is late: a process that is stopped
// in its sleep (SIGSTOP, a frozen container) wakes with EINTR and with nothing collected, and a
// task that holds the thread keeps the loop from collecting. However many wait: the kernel gives
// only a batch at a time.
#include <sys/socket.h>
#include <unistd.h>

#include <functional>
#include <thread>
#include <utility>
#include <vector>

#include "kernel_queues.hpp"
#include "net_test_support.hpp"
#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// A world whose clock can jump, so that no test has to wait for a deadline. Sleeps too long once,
/// as a stopped process does.
class stopped_poller final : public forwarding_poller {
public:
    using forwarding_poller::forwarding_poller;

    [[nodiscard]] time_point now() noexcept override {
        return forwarding_poller::now() + stood_still;
    }
    void wait(time_point deadline, operation_list& completed) noexcept override {
        const bool sleeps = deadline != never && deadline > now();
        if (!sleeps || !while_stopped) return wait_behind(deadline, completed);
        wait_behind(time_point::min(), completed);  // requests reach the kernel
        if (!completed.empty()) return;
        std::exchange(while_stopped, nullptr)();
        stood_still += deadline - now() + 10s;
    }

    static inline std::function<void()> while_stopped;
    static inline duration stood_still{};

private:
    void wait_behind(time_point deadline, operation_list& completed) noexcept {
        const bool has_end = deadline != never && deadline != time_point::min();
        turn_time -= stood_still;
        forwarding_poller::wait(has_end ? deadline - stood_still : deadline, completed);
        turn_time += stood_still;
    }
};

/// Connections from the outside; more than a call of epoll_wait(2) or of io_uring_enter(2) tells.
class crowd {
public:
    crowd() = default;
    crowd(const crowd&) = delete;
    crowd& operator=(const crowd&) = delete;
    ~crowd() {
        for (const int each : clients_) ::close(each);
    }

    task<> gather(std::size_t count) {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const socket_address where = to_socket_address(listener.local_endpoint());
        const auto* address = reinterpret_cast<const sockaddr*>(where.bytes.data());
        while (peers.size() < count) {
            clients_.push_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
            EXPECT_EQ(::connect(clients_.back(), address, where.size), 0);
            net::tcp_stream peer = co_await listener.accept();
            peers.push_back(std::move(peer));
        }
        ends_ = connections_of(listener.local_endpoint().port());
        EXPECT_EQ(ends_.size(), count);
    }
    /// Sends to each peer, and returns when the kernel has it all and has told the poller. It does
    /// both under the lock of the socket, which the last look takes. The bytes may be read already:
    /// without DEFER_TASKRUN a receive is completed in any system call of this thread.
    void send() const {
        for (const int each : clients_) EXPECT_EQ(::send(each, "data", 4, MSG_NOSIGNAL), 4);
        for (const int each : clients_)
            while (unacknowledged_bytes(each) != 0) std::this_thread::yield();
        for (const int each : ends_) EXPECT_LE(unread_bytes(each), 4);
    }

    std::vector<net::tcp_stream> peers;

private:
    std::vector<int> clients_;
    std::vector<int> ends_;  ///< the descriptors of `peers`
};

constexpr std::size_t many = 300;

class oversleep_test : public world_test {
protected:
    void SetUp() override {
        stopped_poller::stood_still = {};
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

/// Waits for a minute of the loop's clock at most.
task<> read_in_time(net::tcp_stream& from, std::size_t& heard) {
    std::array<std::byte, 4> into{};
    const auto read = co_await as_result(with_timeout(1min, from.read_some(into)));
    if (read.has_value()) ++heard;
}
task<> read_leased_in_time(net::tcp_stream& from, std::size_t& heard) {
    const auto read = co_await as_result(with_timeout(1min, from.read_leased(4)));
    if (read.has_value()) ++heard;
}

/// Holds the thread from before the data come until after the deadlines of all.
task<> hold_the_thread(const crowd& all) {
    co_await sleep_for(1ms);  // the others wait in the kernel
    all.send();
    stopped_poller::stood_still += 1min + 10s;
}

/// How many of `count` that wait have heard the data that came while the process was stopped.
template <typename Read>
task<std::size_t> heard_after_a_stop(std::size_t count, Read read) {
    crowd all;
    co_await all.gather(count);
    std::size_t heard = 0;
    const auto in_group = [&](task_group& group) -> task<> {
        for (net::tcp_stream& each : all.peers) group.spawn(read, std::ref(each), std::ref(heard));
        stopped_poller::while_stopped = [&all] { all.send(); };
        co_return;
    };
    co_await with_task_group(in_group);
    co_return heard;
}

/// The same while a task held the thread.
template <typename Read>
task<std::size_t> heard_after_a_hold(std::size_t count, Read read) {
    crowd all;
    co_await all.gather(count);
    std::size_t heard = 0;
    const auto in_group = [&](task_group& group) -> task<> {
        for (net::tcp_stream& each : all.peers) group.spawn(read, std::ref(each), std::ref(heard));
        group.spawn(hold_the_thread, std::cref(all));
        co_return;
    };
    co_await with_task_group(in_group);
    co_return heard;
}

TEST_P(oversleep_test, data_that_came_before_the_deadline_are_given) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_stop(1, read_in_time);
        EXPECT_EQ(heard, 1u);
    };
    in_world(body);
}

TEST_P(oversleep_test, data_that_came_before_the_deadlines_of_many_are_given_to_all) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_stop(many, read_in_time);
        EXPECT_EQ(heard, many);
    };
    in_world(body);
}

/// The pool of buffers grows meanwhile: once for the last few, and several times.
TEST_P(oversleep_test, leased_data_are_given_to_those_that_find_the_pool_empty) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_stop(70, read_leased_in_time);
        EXPECT_EQ(heard, 70u);
    };
    in_world(body);
}
TEST_P(oversleep_test, leased_data_that_came_before_the_deadlines_of_many_are_given_to_all) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_stop(many, read_leased_in_time);
        EXPECT_EQ(heard, many);
    };
    in_world(body);
}

TEST_P(oversleep_test, data_that_came_while_a_task_held_the_thread_are_given_to_all) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_hold(many, read_in_time);
        EXPECT_EQ(heard, many);
    };
    in_world(body);
}

TEST_P(oversleep_test, leased_data_that_came_while_a_task_held_the_thread_are_given_to_all) {
    const auto body = [&]() -> task<> {
        const std::size_t heard = co_await heard_after_a_hold(many, read_leased_in_time);
        EXPECT_EQ(heard, many);
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
        const auto read = co_await as_result(with_timeout(1min, pair.near.read_some(into)));
        EXPECT_FALSE(read.has_value());
    };
    in_world(body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
