// Races above the waist, until each outcome has come a thousand times: a stop requested by another
// thread against the grant of an event, a mutex, a semaphore or a channel; a deadline against the
// bytes that it waits for. What was not granted is still there for the next.
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <stop_token>

#include <coro/coro.hpp>
#include <coro/core/when_all.hpp>
#include <coro/runtime/stop_token.hpp>

#include "conformance/poller_test_support.hpp"
#include "stress/race_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

using namespace conformance;

class grant_race_test : public ::testing::TestWithParam<poller_choice> {
protected:
    void run_world(task<> body) {
        run_options options;
        options.poller = GetParam();
        options.strict = insists(GetParam());
        options.signals = signal_policy::leave;
        run(std::move(body), options);
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, grant_race_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

std::chrono::steady_clock::time_point real_now() { return std::chrono::steady_clock::now(); }

/// Something that can be waited for and granted, and looked at after each round. `wait` answers
/// whether it was granted, `settle` makes it ready for the next round.
class race_of_grants {
public:
    race_of_grants() = default;
    race_of_grants(const race_of_grants&) = delete;
    race_of_grants& operator=(const race_of_grants&) = delete;
    virtual ~race_of_grants() = default;
    virtual task<> prepare() { co_return; }
    virtual task<bool> wait(std::stop_token until) = 0;
    virtual void grant() = 0;
    virtual void settle(bool granted) = 0;
};

task<> grant_after(race_of_grants& of, opponent& stopper, duration delay) {
    stopper.go();
    const auto moment = real_now() + delay;
    const patience waiting;
    while (real_now() < moment) {
        waiting.pass();
        co_await yield();
    }
    of.grant();
}

task<> run_races(race_of_grants& of, const char* what) {
    aim when;
    std::optional<std::stop_source> source;
    opponent stopper([&] { source->request_stop(); });
    while (!when.done()) {
        source.emplace();
        co_await of.prepare();
        const auto [granted, unit] =
            co_await when_all(of.wait(source->get_token()), grant_after(of, stopper, when.next()));
        stopper.await_act();
        // The later the grant, the likelier the stop: the other way round than with cancels.
        when.note(!granted);
        of.settle(granted);
    }
    when.expect_both(what);
}

class event_race final : public race_of_grants {
public:
    task<bool> wait(std::stop_token until) override {
        co_return co_await with_stop_token(until, event_.wait());
    }
    void grant() override { event_.set(); }
    void settle(bool) override {
        EXPECT_TRUE(event_.is_set());
        event_.reset();
    }

private:
    event event_;
};

class mutex_race final : public race_of_grants {
public:
    task<> prepare() override { held_.emplace(co_await mutex_.lock()); }
    task<bool> wait(std::stop_token until) override {
        co_return (co_await with_stop_token(until, mutex_.lock())).has_value();
    }
    void grant() override { held_.reset(); }
    void settle(bool) override { EXPECT_TRUE(mutex_.try_lock()) << "the lock was lost"; }

private:
    mutex mutex_;
    std::optional<mutex::scoped_lock> held_;
};

class semaphore_race final : public race_of_grants {
public:
    task<> prepare() override { held_.emplace(co_await semaphore_.acquire(2)); }
    task<bool> wait(std::stop_token until) override {
        co_return (co_await with_stop_token(until, semaphore_.acquire(2))).has_value();
    }
    void grant() override { held_.reset(); }
    void settle(bool) override { EXPECT_EQ(semaphore_.available(), 2u) << "a permit was lost"; }

private:
    semaphore semaphore_{2};
    std::optional<semaphore::permit> held_;
};

class receive_race final : public race_of_grants {
public:
    task<bool> wait(std::stop_token until) override {
        const auto got = co_await with_stop_token(until, channel_.receive());
        if (got) { EXPECT_EQ(*got, sent_); }
        co_return got.has_value();
    }
    void grant() override { EXPECT_TRUE(channel_.try_send(++sent_)); }
    void settle(bool granted) override {
        const std::optional<int> left = channel_.try_receive();
        EXPECT_EQ(left.has_value(), !granted) << "an item was lost or doubled";
    }

private:
    channel<int> channel_{1};
    int sent_ = 0;
};

class send_race final : public race_of_grants {
public:
    task<> prepare() override {
        EXPECT_TRUE(channel_.try_send(1));
        co_return;
    }
    task<bool> wait(std::stop_token until) override {
        co_return co_await with_stop_token(until, channel_.send(2));
    }
    void grant() override { EXPECT_EQ(channel_.try_receive(), 1); }
    void settle(bool granted) override {
        EXPECT_EQ(channel_.try_receive(), granted ? std::optional<int>(2) : std::nullopt);
    }

private:
    channel<int> channel_{1};
};

template <typename Race>
task<> run_race(const char* what) {
    Race of;
    co_await run_races(of, what);
}

TEST_P(grant_race_test, a_stop_against_an_event) { run_world(run_race<event_race>("event")); }
TEST_P(grant_race_test, a_stop_against_a_mutex) { run_world(run_race<mutex_race>("mutex")); }
TEST_P(grant_race_test, a_stop_against_a_semaphore) {
    run_world(run_race<semaphore_race>("semaphore"));
}
TEST_P(grant_race_test, a_stop_against_an_item) { run_world(run_race<receive_race>("item")); }
TEST_P(grant_race_test, a_stop_against_room_in_a_channel) {
    run_world(run_race<send_race>("room"));
}

// --- a deadline against bytes

/// The blocking other end of a stream.
int connect_plainly(net::endpoint to) {
    const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const socket_address where = ipv4_address(to.port());
    if (::connect(made, reinterpret_cast<const sockaddr*>(where.bytes.data()), where.size) != 0)
        std::abort();
    return made;
}

task<> deadlines_against_bytes(bool leased) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const int peer = connect_plainly(listener.local_endpoint());
    net::tcp_stream stream = co_await listener.accept();
    std::size_t sent = 0;
    std::size_t received = 0;
    std::array<std::byte, 8> into{};
    aim when;
    {
        opponent sender([&] {
            const std::byte one = pattern(sent++);
            if (::send(peer, &one, 1, 0) != 1) std::abort();
        });
        while (!when.done()) {
            sender.go();
            bool got = false;
            std::byte byte{};
            if (leased) {
                const auto lease = co_await move_on_after(when.next(), stream.read_leased());
                got = lease.has_value();
                if (got) byte = lease->bytes()[0];
            } else {
                const auto n =
                    co_await move_on_after(when.next(), stream.read_some(mutable_bytes(into)));
                got = n.has_value();
                byte = into[0];
            }
            when.note(got);
            sender.await_act();
            if (!got) {
                // Not taken, so it is the next byte.
                EXPECT_EQ(co_await stream.read_some(mutable_bytes(into)), 1u);
                byte = into[0];
            }
            EXPECT_EQ(byte, pattern(received++));
        }
    }
    ::close(peer);
    EXPECT_EQ(received, sent);
    when.expect_both(leased ? "deadline, leased" : "deadline");
}

TEST_P(grant_race_test, a_deadline_against_bytes) {
    run_world(deadlines_against_bytes(false));
    run_world(deadlines_against_bytes(true));
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
