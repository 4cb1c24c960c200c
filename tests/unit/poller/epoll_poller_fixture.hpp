// What the tests of epoll alone share: a poller, and plain descriptors as the other ends.
#pragma once

#include <gtest/gtest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "poller/epoll_poller.hpp"

namespace coro::detail::epoll_tests {

using std::chrono::milliseconds;

/// A socket that the poller owns, and the other end, which the test holds as a plain descriptor.
struct pair_of_ends {
    detail::handle ours;
    int our_descriptor = -1;
    int theirs = -1;
};

class epoll_special : public testing::Test {
protected:
    void SetUp() override { make({}); }
    void TearDown() override {
        for (const int end : theirs_) ::close(end);
        if (poller_ != nullptr) {
            EXPECT_EQ(poller_->census().operations, 0u);
            EXPECT_EQ(poller_->census().leases, 0u);
        }
    }

    void make(const poller_options& options) {
        std::string why_not;
        int error = 0;
        poller_ = make_epoll_poller(options, why_not, error);
        ASSERT_NE(poller_, nullptr) << why_not;
    }

    pair_of_ends local_pair() {
        std::array<int, 2> ends{};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        return taken(ends[0], ends[1]);
    }

    /// TCP, because only it has urgent data and resets.
    pair_of_ends tcp_pair() {
        const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        sockaddr_in where{};
        where.sin_family = AF_INET;
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        socklen_t size = sizeof where;
        auto* address = reinterpret_cast<sockaddr*>(&where);
        EXPECT_EQ(::bind(listener, address, size), 0);
        EXPECT_EQ(::listen(listener, 8), 0);
        EXPECT_EQ(::getsockname(listener, address, &size), 0);
        const int theirs = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(::connect(theirs, address, size), 0);
        const int ours = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        ::close(listener);
        return taken(ours, theirs);
    }

    pair_of_ends taken(int ours, int theirs) {
        pair_of_ends ends;
        EXPECT_EQ(poller_->adopt(ours, ends.ours), 0);
        ends.our_descriptor = ours;
        ends.theirs = theirs;
        theirs_.push_back(theirs);
        return ends;
    }

    /// Collects until `op` is completed; the limit only turns a hang into a failure.
    void complete(operation& op) {
        const time_point deadline = saturating_add(poller_->now(), std::chrono::seconds(60));
        operation_list completed;
        while (op.phase == operation_phase::submitted && poller_->now() < deadline) {
            poller_->wait(deadline, completed);
        }
        EXPECT_EQ(op.phase, operation_phase::completed);
        while (completed.pop() != nullptr) {
        }
    }

    std::int32_t run(operation& op) {
        if (!poller_->submit(op)) complete(op);
        return op.result;
    }

    std::int32_t receive(detail::handle from, std::size_t most = 64) {
        operation op(opcode::receive, from);
        op.buffer.data = buffer_.data();
        op.buffer.size = most;
        return run(op);
    }

    std::int32_t send(detail::handle to, std::size_t size) {
        operation op(opcode::send, to);
        op.buffer.data = buffer_.data();
        op.buffer.size = size;
        return run(op);
    }

    std::unique_ptr<poller> poller_;
    std::vector<int> theirs_;
    std::array<char, 4096> buffer_{};
};

}  // namespace coro::detail::epoll_tests
