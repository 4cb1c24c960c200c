// Descriptors and slots are used again as fast as can be, with events and completions of their
// predecessors still on the way: each connection carries its own number in every byte, so a byte,
// an end or an error that reaches another one shows.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <list>
#include <random>
#include <thread>

#include "conformance/poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

using namespace conformance;

constexpr unsigned connections = 10'000;
constexpr std::size_t at_once = 32;  ///< open at the clients' side

/// Connects, sends its number some times, and leaves in one of the ways.
void be_the_clients(socket_address where) {
    std::mt19937 random(1);
    std::vector<int> open;
    const auto leave = [&](std::size_t which) {
        if (random() % 2 == 0) {
            const linger reset{1, 0};
            ::setsockopt(open[which], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        ::close(open[which]);
        open.erase(open.begin() + static_cast<std::ptrdiff_t>(which));
    };
    for (unsigned number = 0; number < connections; ++number) {
        const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto* const address = reinterpret_cast<const sockaddr*>(where.bytes.data());
        if (::connect(made, address, where.size) != 0) std::abort();
        open.push_back(made);
        const std::string text(1 + random() % 40, static_cast<char>(number));
        for (auto i = random() % 3; i < 3; ++i)
            ::send(made, text.data(), text.size(), MSG_NOSIGNAL);
        if (open.size() > at_once) leave(random() % open.size());
    }
    while (!open.empty()) leave(0);
}

/// The server's end of a connection.
struct served {
    explicit served(detail::handle of) : receiving(opcode::receive, of) {
        receiving.buffer.data = into.data();
        receiving.buffer.size = into.size();
    }
    std::array<char, 16> into{};
    operation receiving;
    bool named = false;  ///< a byte has come
    char name = 0;
    bool closed = false;  ///< by us
};

class reuse_test : public poller_fixture {
protected:
    /// Looks at what has completed; false when the connection is over.
    bool look(served& one) {
        const std::int32_t result = one.receiving.result;
        if (result <= 0) {
            EXPECT_TRUE(result == 0 || result == -ECONNRESET ||
                        (result == result_closed && one.closed))
                << result << (one.closed ? " after" : " without") << " a close of ours";
            return false;
        }
        if (!one.named) one.name = one.into[0];
        one.named = true;
        for (std::int32_t i = 0; i < result; ++i)
            EXPECT_EQ(one.into[static_cast<std::size_t>(i)], one.name) << "a foreign byte";
        return !one.closed;
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, reuse_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(reuse_test, nothing_of_a_predecessor_reaches_who_has_its_place) {
    const listener_socket listener = listen();
    std::thread clients(be_the_clients, listener.address);
    std::mt19937 random(2);
    std::list<served> all;
    unsigned accepted = 0;
    std::uint32_t highest = 0;
    operation accepting(opcode::accept, listener.handle);
    bool asked = false;
    while (accepted < connections || !all.empty()) {
        if (!asked && accepted < connections) {
            submit(accepting);
            asked = true;
        }
        if (asked && accepting.phase == operation_phase::completed) {
            asked = false;
            ASSERT_EQ(accepting.result, 0);
            ++accepted;
            highest = std::max(highest, accepting.accepted.index);
            served& made = all.emplace_back(accepting.accepted);
            submit(made.receiving);
        }
        for (auto one = all.begin(); one != all.end();) {
            if (one->receiving.phase != operation_phase::completed) {
                // With its receive pending, and perhaps already answered below.
                if (!one->closed && random() % 64 == 0) {
                    one->closed = true;
                    world().close(one->receiving.target);
                }
                ++one;
                continue;
            }
            if (look(*one)) {
                submit(one->receiving);
                ++one;
            } else {
                if (!one->closed) world().close(one->receiving.target);
                one = all.erase(one);
            }
        }
        const bool ready = !asked && accepted < connections;  // it may be answered at once
        collect(ready ? world().now() : world().now() + 1ms);
    }
    clients.join();
    EXPECT_LT(highest, connections / 4) << "places were hardly used again";
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
