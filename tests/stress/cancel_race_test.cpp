// Rule 3 of the waist, driven tight: a cancel against the completion that another thread causes,
// until each outcome has come a thousand times; nothing that was taken is lost in either. A connect
// meets the kernel's clock instead: there nobody can say how often each outcome comes.
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <deque>

#include "conformance/poller_test_support.hpp"
#include "stress/race_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

using namespace conformance;

class cancel_race_test : public poller_fixture {
protected:
    /// Looks for completions until the moment, cancels, and waits for the outcome.
    void race(operation& op, duration until_cancel) {
        const time_point moment = world().now() + until_cancel;
        const patience waiting;
        while (op.phase == operation_phase::submitted && world().now() < moment) {
            waiting.pass();
            collect_now();
        }
        world().cancel(op);
        finish(op);
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, cancel_race_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(cancel_race_test, receive_against_a_sender) {
    for (const opcode code : {opcode::receive, opcode::receive_leased, opcode::receive_vectored}) {
        std::array<int, 2> ends{};
        ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()), 0);
        detail::handle ours;
        ASSERT_EQ(world().adopt(ends[1], ours), 0);
        keep(ours);
        std::size_t sent = 0;
        std::size_t received = 0;
        aim when;
        {
            opponent sender([&] {
                const std::byte one = pattern(sent++);
                if (::write(ends[0], &one, 1) != 1) std::abort();
            });
            while (!when.done()) {
                std::array<std::byte, 8> into{};
                io_slice slice{into.data(), into.size()};
                operation receiving(code, ours);
                ask_for(receiving, slice);
                submit(receiving);
                sender.go();
                race(receiving, when.next());
                when.note(receiving.result != -ECANCELED);
                sender.await_act();
                if (receiving.result == -ECANCELED) {
                    // Not taken, so it is the next byte.
                    received = drain_more(ours, received);
                    continue;
                }
                ASSERT_EQ(receiving.result, 1);
                const bool leased = code == opcode::receive_leased;
                const auto* byte =
                    leased ? static_cast<std::byte*>(receiving.lease_data) : into.data();
                ASSERT_EQ(*byte, pattern(received++));
                if (leased)
                    world().return_lease(receiving.lease_id, receiving.lease_data,
                                         receiving.lease_from_heap);
            }
        }
        EXPECT_EQ(received, sent);
        ::close(ends[0]);
        when.expect_both("receive");
    }
}

TEST_P(cancel_race_test, send_against_a_reader) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends.data()), 0);
    const int small = 4096;
    ::setsockopt(ends[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    detail::handle ours;
    ASSERT_EQ(world().adopt(ends[1], ours), 0);
    keep(ours);
    std::size_t sent = 0;
    std::size_t read = 0;
    bool intact = true;
    const auto read_all = [&] {
        std::array<std::byte, 1 << 16> into;
        for (ssize_t n = 1; n > 0;) {
            n = ::recv(ends[0], into.data(), into.size(), 0);
            if (n <= 0) break;
            const auto part = static_cast<std::size_t>(n);
            intact = intact && first_difference(into.data(), part, read) == part;
            read += part;
        }
    };
    aim when;
    std::vector<std::byte> bytes;
    {
        opponent reader(read_all);
        while (!when.done()) {
            // Full first, so that the send waits.
            std::int32_t result = 0;
            do {
                bytes = pattern_bytes(sent, 16384);
                operation sending(opcode::send, ours);
                sending.buffer.data = bytes.data();
                sending.buffer.size = bytes.size();
                if (!submit(sending)) collect_now();
                if (sending.phase == operation_phase::submitted) collect_now();
                const bool waits = sending.phase == operation_phase::submitted;
                if (waits) {
                    reader.go();
                    race(sending, when.next());
                    when.note(sending.result != -ECANCELED);
                    reader.await_act();
                }
                result = sending.result;
                if (result > 0) sent += static_cast<std::size_t>(result);
                if (waits) break;
                ASSERT_GT(result, 0);
            } while (true);
            ASSERT_TRUE(result > 0 || result == -ECANCELED) << result;
        }
    }
    read_all();
    EXPECT_EQ(read, sent) << "what the sends said and what came differ";
    EXPECT_TRUE(intact);
    ::close(ends[0]);
    when.expect_both("send");
}

/// Connects to `where` and stays connected until the next call.
class one_client {
public:
    explicit one_client(const socket_address& where) : where_(where) {}
    one_client(const one_client&) = delete;
    one_client& operator=(const one_client&) = delete;
    ~one_client() { leave(); }
    void connect() {
        leave();
        descriptor_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        const auto* const address = reinterpret_cast<const sockaddr*>(where_.bytes.data());
        if (::connect(descriptor_, address, where_.size) != 0) std::abort();
    }

private:
    void leave() {
        if (descriptor_ < 0) return;
        // No TIME_WAIT: a port each would be used up.
        const linger reset{1, 0};
        ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        ::close(std::exchange(descriptor_, -1));
    }
    socket_address where_;
    int descriptor_ = -1;
};

TEST_P(cancel_race_test, accept_against_a_client) {
    const listener_socket listener = listen();
    aim when;
    unsigned connected = 0;
    unsigned accepted = 0;
    {
        one_client client(listener.address);
        opponent connecting([&] { client.connect(); });
        while (!when.done()) {
            operation accepting(opcode::accept, listener.handle);
            submit(accepting);
            connecting.go();
            ++connected;
            race(accepting, when.next());
            when.note(accepting.result != -ECANCELED);
            connecting.await_act();
            detail::handle server = accepting.result == 0 ? accepting.accepted : detail::handle{};
            if (accepting.result == -ECANCELED) {
                // Not taken, so it is the next one.
                operation again(opcode::accept, listener.handle);
                ASSERT_EQ(run(again), 0);
                server = again.accepted;
            } else {
                ASSERT_EQ(accepting.result, 0);
            }
            ++accepted;
            world().close(server);
        }
    }
    EXPECT_EQ(accepted, connected);
    when.expect_both("accept");
}

// --- connect: a handshake that ends when the kernel says its SYN again, a second later

/// A listener of the test's own whose queue is full until `open_up`.
class full_listener {
public:
    full_listener()
        : descriptor_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)) {
        socket_address where = ipv4_address(0);
        socklen_t size = where.size;
        auto* const address = reinterpret_cast<sockaddr*>(where.bytes.data());
        EXPECT_EQ(::bind(descriptor_, address, size), 0);
        EXPECT_EQ(::listen(descriptor_, 0), 0);
        EXPECT_EQ(::getsockname(descriptor_, address, &size), 0);
        address_ = where;
        filler_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        EXPECT_EQ(::connect(filler_, address, size), 0);
    }
    full_listener(const full_listener&) = delete;
    full_listener& operator=(const full_listener&) = delete;
    ~full_listener() {
        ::close(filler_);
        ::close(descriptor_);
    }
    [[nodiscard]] const socket_address& address() const { return address_; }
    void open_up() const { EXPECT_EQ(::listen(descriptor_, 4096), 0); }
    /// Accepts all that wait; answers how many of them sent a byte.
    [[nodiscard]] unsigned served() const {
        unsigned count = 0;
        for (int one = 0; (one = ::accept4(descriptor_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
            char byte = 0;
            if (::recv(one, &byte, 1, MSG_DONTWAIT) == 1) ++count;
            ::close(one);
        }
        return count;
    }

private:
    int descriptor_;
    int filler_ = -1;
    socket_address address_;
};

TEST_P(cancel_race_test, connect_against_the_handshake) {
    constexpr std::size_t many = 1500;
    constexpr int most_batches = 8;
    unsigned successes = 0;
    unsigned cancellations = 0;
    // RFC 6298: a lost SYN is repeated after a second. The cancels are spread around that.
    duration first_cancel = 920ms;
    for (int batch = 0; batch < most_batches && (successes < wanted || cancellations < wanted);
         ++batch) {
        const full_listener listener;
        socket_address where = listener.address();
        std::deque<operation> connecting;
        std::vector<std::pair<time_point, operation*>> cancels;
        for (std::size_t i = 0; i < many; ++i) {
            operation& op = connecting.emplace_back(opcode::connect, open());
            op.where = &where;
            ASSERT_FALSE(submit(op));
            // One in fifty is never cancelled, and one before it can succeed: each outcome is sure.
            if (i % 50 > 1)
                cancels.emplace_back(world().now() + first_cancel + i * 37 % 160 * 1ms, &op);
        }
        collect_now();
        for (std::size_t i = 0; i < many; i += 50) {
            world().cancel(connecting[i]);
            finish(connecting[i]);
            ASSERT_EQ(connecting[i].result, -ECANCELED) << "the queue should have been full";
        }
        listener.open_up();
        std::sort(cancels.begin(), cancels.end());
        for (const auto& [moment, op] : cancels) {
            while (world().now() < moment) collect(moment);
            world().cancel(*op);
        }
        unsigned won = 0;
        for (operation& op : connecting) {
            finish(op);
            ASSERT_TRUE(op.result == 0 || op.result == -ECANCELED) << op.result;
            if (op.result == -ECANCELED) {
                ++cancellations;
                continue;
            }
            ++won;
            EXPECT_EQ(send(op.target, "x"), 1);
        }
        EXPECT_GE(won, many / 50) << "a connect ended that nobody cancelled";
        successes += won;
        first_cancel += won < many / 2 ? 40ms : -40ms;
        close_all();
        EXPECT_EQ(listener.served(), won) << "a connect said something else than the listener";
    }
    std::printf("connect: %u succeeded, %u were cancelled\n", successes, cancellations);
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
