// What the tests of io_uring alone share: a poller, plain descriptors as the other ends, and
// checks at the end that nothing is left.
#pragma once

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "poller/uring_poller.hpp"

namespace coro::detail::uring_tests {

using std::chrono::milliseconds;

constexpr std::uint32_t every_feature = (uring_wait_argument << 1) - 1;
constexpr std::uint32_t not_in_6_1 = uring_no_iowait | uring_no_sqarray;
constexpr std::uint32_t not_in_6_8 = uring_no_iowait;

/// A socket that the poller owns, and the other end, a plain descriptor that blocks.
struct pair_of_ends {
    detail::handle ours;
    int theirs = -1;
};

struct listening_end {
    detail::handle ours;
    sockaddr_in where{};
};

class uring_fixture : public testing::Test {
protected:
    void SetUp() override { make({}); }

    void TearDown() override {
        if (poller_ != nullptr) finish();
        for (const int end : theirs_) ::close(end);
    }

    void make(const poller_options& options) {
        std::string why_not;
        poller_ = make_uring_poller(options, why_not);
        ASSERT_NE(poller_, nullptr) << why_not;
        poller_->turn_time = poller_->now();
    }

    void make_without(std::uint32_t features) {
        poller_options options;
        options.disabled_features = features;
        make(options);
    }

    void finish() {
        for (const detail::handle socket : ours_) poller_->close(socket);
        ours_.clear();
        until([&] { return poller_->census().sockets == 0; });
        EXPECT_EQ(poller_->census().operations, 0u);
        EXPECT_EQ(poller_->census().sockets, 0u);
        EXPECT_EQ(poller_->census().leases, 0u);
        poller_.reset();
    }

    [[nodiscard]] uring_poller& uring() { return static_cast<uring_poller&>(*poller_); }
    [[nodiscard]] poller_counters& counters() { return poller_->counters; }

    // --- turns

    std::size_t turn(time_point deadline) {
        poller_->turn_time = poller_->now();
        operation_list completed;
        poller_->wait(deadline, completed);
        std::size_t count = 0;
        while (completed.pop() != nullptr) ++count;
        return count;
    }
    std::size_t turn_now() { return turn(time_point::min()); }

    /// The limit only turns a hang into a failure.
    template <typename Condition>
    bool until(Condition condition) {
        const time_point give_up = saturating_add(poller_->now(), std::chrono::seconds(60));
        while (!condition() && poller_->now() < give_up) turn(give_up);
        return condition();
    }

    void complete(operation& op) {
        ASSERT_TRUE(until([&] { return op.phase == operation_phase::completed; }));
    }
    std::int32_t run(operation& op) {
        if (!poller_->submit(op)) complete(op);
        return op.result;
    }

    // --- sockets

    pair_of_ends local_pair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        theirs_.push_back(ends[1]);
        return {take(ends[0]), ends[1]};
    }

    detail::handle take(int descriptor) {
        detail::handle made;
        EXPECT_EQ(poller_->adopt(descriptor, made), 0);
        ours_.push_back(made);
        return made;
    }

    listening_end listen(int backlog = 512, in_port_t port = 0) {
        listening_end made;
        EXPECT_EQ(poller_->open_stream(address_family::ipv4, made.ours), 0);
        ours_.push_back(made.ours);
        sockaddr_in any{};
        any.sin_family = AF_INET;
        any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        any.sin_port = port;
        socket_address where;
        std::memcpy(where.bytes.data(), &any, sizeof any);
        where.size = sizeof any;
        EXPECT_EQ(poller_->set_option(made.ours, socket_option::reuse_address, 1), 0);
        EXPECT_EQ(poller_->bind(made.ours, where), 0);
        EXPECT_EQ(poller_->listen(made.ours, backlog), 0);
        EXPECT_EQ(poller_->local_address(made.ours, where), 0);
        std::memcpy(&made.where, where.bytes.data(), sizeof made.where);
        return made;
    }

    int client_of(const listening_end& listener) {
        const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto* where = reinterpret_cast<const sockaddr*>(&listener.where);
        EXPECT_EQ(::connect(client, where, sizeof listener.where), 0) << std::strerror(errno);
        theirs_.push_back(client);
        return client;
    }

    std::int32_t accept(const listening_end& listener) {
        operation op(opcode::accept, listener.ours);
        if (run(op) == 0) ours_.push_back(op.accepted);
        return op.result;
    }

    // --- bytes

    static void write(int to, std::string_view text) {
        ASSERT_EQ(::send(to, text.data(), text.size(), MSG_NOSIGNAL),
                  static_cast<ssize_t>(text.size()));
    }

    static std::string read(int from) {
        std::array<char, 256> into{};
        const ssize_t got = ::recv(from, into.data(), into.size(), MSG_DONTWAIT);
        return got > 0 ? std::string(into.data(), static_cast<std::size_t>(got)) : std::string();
    }

    std::string receive(detail::handle from) {
        std::array<char, 256> into{};
        operation op(opcode::receive, from);
        op.buffer.data = into.data();
        op.buffer.size = into.size();
        const std::int32_t got = run(op);
        return got > 0 ? std::string(into.data(), static_cast<std::size_t>(got)) : std::string();
    }

    std::int32_t send(detail::handle to, std::string_view text) {
        operation op(opcode::send, to);
        op.buffer.data = const_cast<char*>(text.data());
        op.buffer.size = text.size();
        return run(op);
    }

    static std::string text_of(const operation& leased) {
        if (leased.result <= 0) return {};
        return {static_cast<const char*>(leased.lease_data),
                static_cast<std::size_t>(leased.result)};
    }
    void give_back(const operation& leased) {
        poller_->return_lease(leased.lease_id, leased.lease_data, leased.lease_from_heap);
    }

    std::unique_ptr<poller> poller_;
    std::vector<detail::handle> ours_;
    std::vector<int> theirs_;
};

}  // namespace coro::detail::uring_tests
