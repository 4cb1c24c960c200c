// Every kind of stream keeps the promises of net::stream, in every world: the suite that is
// installed, over TCP, over memory, and over a transport that a user may have written.
#include <coro/testing/stream_conformance.hpp>

#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/net/local.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/net/tcp.hpp>
#include <coro/net/transport.hpp>

namespace coro { inline namespace v0 {
namespace {

using net::stream;
using ends = std::pair<stream, stream>;

/// Hands everything to the stream below.
class wrapper : public net::transport {
public:
    explicit wrapper(stream below) : below_(std::move(below)), name_("over " + below_.describe()) {}

    void submit(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).forward(what);
    }
    void cancel(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).cancel();
    }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    std::string_view describe() const noexcept override { return name_; }

protected:
    stream below_;

private:
    std::string name_;
    net::relay receiving_{*this, below_};
    net::relay sending_{*this, below_};
};

/// Copies in both directions through a block of its own, as what encrypts does: the transfers of
/// the tasks and the requests below do not go together.
class copier final : public net::transport {
public:
    explicit copier(stream below) : below_(std::move(below)) {}

    void submit(net::transfer what) noexcept override {
        (what.sends() ? writer_ : reader_) = what;
        if (what.sends()) write_on();
        else read_on();
    }
    void cancel(net::transfer what) noexcept override {
        // What is under way below goes on: its bytes are kept for the next transfer.
        (what.sends() ? writer_ : reader_) = {};
        what.withdraw();
    }
    void shutdown_send() override {
        ends_ = true;
        if (unsent_ == 0) below_.shutdown_send();
    }
    void close() noexcept override {
        closes_ = true;
        receiving_.cancel();
        if (unsent_ == 0) below_.close();
    }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    bool has_input() const noexcept override {
        return unread_ != 0 || at_end_ || read_error_ || below_.has_input();
    }
    std::string_view describe() const noexcept override { return "copier"; }

    void ended(net::relay& which) noexcept override {
        if (&which == &receiving_) {
            read_error_ = which.error();
            unread_ = which.moved();
            at_ = 0;
            at_end_ = !read_error_ && unread_ == 0;
            if (read_error_ == std::errc::operation_canceled) read_error_ = {};
            else read_on();
            return;
        }
        write_error_ = which.error();
        sent_ += which.moved();
        unsent_ -= write_error_ ? unsent_ : which.moved();
        if (unsent_ != 0) return sending_.send(rest());
        sent_ = 0;
        if (closes_) return below_.close();
        if (ends_) return below_.shutdown_send();
        write_on();
    }

private:
    [[nodiscard]] const_bytes rest() const noexcept {
        return std::span(out_).subspan(sent_, unsent_);
    }
    void read_on() noexcept {
        if (!reader_) return;
        if (unread_ != 0) {
            const std::size_t count = reader_.put(std::span(in_).subspan(at_, unread_));
            at_ += count;
            unread_ -= count;
            std::exchange(reader_, {}).complete();
        } else if (read_error_) {
            std::exchange(reader_, {}).fail(read_error_);
        } else if (at_end_) {
            std::exchange(reader_, {}).complete();
        } else if (!receiving_.is_pending()) {
            receiving_.receive(in_);
        }
    }
    void write_on() noexcept {
        if (!writer_ || unsent_ != 0) return;
        if (write_error_) return std::exchange(writer_, {}).fail(write_error_);
        if (ends_)
            return std::exchange(writer_, {}).fail(std::make_error_code(std::errc::broken_pipe));
        unsent_ = writer_.take(out_);
        std::exchange(writer_, {}).complete();
        sending_.send(rest());
    }

    stream below_;
    std::array<std::byte, 1000> in_{};
    std::array<std::byte, 1000> out_{};
    std::size_t at_ = 0;
    std::size_t unread_ = 0;
    std::size_t sent_ = 0;
    std::size_t unsent_ = 0;
    std::error_code read_error_;
    std::error_code write_error_;
    bool at_end_ = false;
    bool ends_ = false;
    bool closes_ = false;
    net::transfer reader_;
    net::transfer writer_;
    net::relay receiving_{*this, below_};
    net::relay sending_{*this, below_};
};

task<ends> tcp_ends() {
    net::tcp_listener listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    net::tcp_stream client = co_await net::tcp_stream::connect(listener.local_endpoint());
    net::tcp_stream server = co_await listener.accept();
    ends both(std::move(client), std::move(server));
    co_return both;
}
/// A name of its own for each process and pair: the tests run beside each other.
net::local_address fresh_name() {
    static int count = 0;
    return net::local_address::abstract("coro-test-" + std::to_string(::getpid()) + "-" +
                                        std::to_string(++count));
}
task<ends> local_ends() {
    net::local_listener listener = net::local_listener::bind(fresh_name());
    net::local_stream client = co_await net::local_stream::connect(listener.local_endpoint());
    net::local_stream server = co_await listener.accept();
    ends both(std::move(client), std::move(server));
    co_return both;
}
task<ends> memory_ends(net::memory_options options) {
    auto both = net::memory_stream::pair(options);
    ends as_streams(std::move(both.first), std::move(both.second));
    co_return as_streams;
}
template <typename Transport>
stream wrapped(stream below) {
    return stream(std::make_unique<Transport>(std::move(below)));
}
template <typename Transport>
task<ends> one_wrapped() {
    ends below = co_await tcp_ends();
    ends both(wrapped<Transport>(std::move(below.first)), std::move(below.second));
    co_return both;
}
task<ends> wrapped_twice_over_memory() {
    net::memory_options options;
    options.capacity = 5000;
    options.chunk = 333;
    ends below = co_await memory_ends(options);
    ends both(wrapped<wrapper>(wrapped<copier>(std::move(below.first))),
              wrapped<wrapper>(std::move(below.second)));
    co_return both;
}

task<ends> large_memory() { return memory_ends({}); }
task<ends> small_memory() {
    net::memory_options options;
    options.capacity = 1000;
    options.chunk = 7;
    return memory_ends(options);
}

class stream_conformance : public ::testing::TestWithParam<poller_choice> {
protected:
    void check(task<ends> (*make)(), testing::stream_kind kind = {}) {
        run_options options;
        options.poller = GetParam();
        const std::vector<std::string> failures = testing::check_streams(make, options, kind);
        for (const std::string& each : failures) ADD_FAILURE() << each;
    }
};

/// Where bytes take uneven times, come in pieces of any size, and tasks run in any order.
void check_seeded(task<ends> (*make)(), testing::stream_kind kind = {}) {
    run_options options;
    options.poller = poller_choice::simulation;
    options.simulation = {.latency_most = std::chrono::milliseconds(3)};
    for (options.seed = 1; options.seed <= 3; ++options.seed) {
        const std::vector<std::string> failures = testing::check_streams(make, options, kind);
        for (const std::string& each : failures)
            ADD_FAILURE() << "seed " << options.seed << ": " << each;
    }
}

TEST(seeded_stream_conformance, tcp) { check_seeded(&tcp_ends); }
TEST(seeded_stream_conformance, local) { check_seeded(&local_ends, {.can_reset = false}); }
TEST(seeded_stream_conformance, a_wrapper_of_tcp) { check_seeded(&one_wrapped<wrapper>); }

TEST_P(stream_conformance, tcp) { check(&tcp_ends); }
TEST_P(stream_conformance, local) { check(&local_ends, {.can_reset = false}); }
TEST_P(stream_conformance, memory) { check(&large_memory); }
TEST_P(stream_conformance, memory_in_small_pieces) { check(&small_memory); }
TEST_P(stream_conformance, a_wrapper_of_tcp) { check(&one_wrapped<wrapper>); }
TEST_P(stream_conformance, a_copier_of_tcp) { check(&one_wrapped<copier>); }
TEST_P(stream_conformance, wrappers_of_wrappers_of_memory) { check(&wrapped_twice_over_memory); }

// --- the suite finds what is wrong

class clean_abort final : public wrapper {
public:
    using wrapper::wrapper;
    void abort() noexcept override { below_.close(); }
};
class no_half_close final : public wrapper {
public:
    using wrapper::wrapper;
    void shutdown_send() override {}
};
class no_name final : public wrapper {
public:
    using wrapper::wrapper;
    std::string_view describe() const noexcept override { return {}; }
};
class no_activity final : public wrapper {
public:
    using wrapper::wrapper;
    std::uint64_t activity() const noexcept override { return 0; }
};
class no_input final : public wrapper {
public:
    using wrapper::wrapper;
    bool has_input() const noexcept override { return false; }
};
/// Says of each fifth write that its last byte was not sent; so it is sent again.
class sends_twice final : public wrapper {
public:
    using wrapper::wrapper;
    void ended(net::relay& which) noexcept override {
        const net::transfer what = which.forwarded();
        if (!what.sends() || which.moved() < 2 || ++writes_ % 5 != 0) return which.pass_on();
        what.moved(which.moved() - 1);
        what.complete();
    }

private:
    int writes_ = 0;
};
/// Ends a read that is cancelled as if the peer had ended the stream.
class ends_when_cancelled final : public net::transport {
public:
    explicit ends_when_cancelled(stream below) : below_(std::move(below)) {}
    void submit(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).forward(what);
    }
    void cancel(net::transfer what) noexcept override {
        (what.sends() ? sending_ : receiving_).cancel();
    }
    void ended(net::relay& which) noexcept override {
        const net::transfer what = which.forwarded();
        if (which.error() == std::errc::operation_canceled && !what.sends()) what.complete();
        else which.pass_on();
    }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    std::uint64_t activity() const noexcept override { return below_.activity(); }
    std::string_view describe() const noexcept override { return "faulty"; }

private:
    stream below_;
    net::relay receiving_{*this, below_};
    net::relay sending_{*this, below_};
};

/// Ends after half a million bytes, whatever the peer still sends.
class ends_early final : public wrapper {
public:
    using wrapper::wrapper;
    void ended(net::relay& which) noexcept override {
        const net::transfer what = which.forwarded();
        if (what.sends() || which.error()) return which.pass_on();
        received_ += which.moved();
        if (received_ < 500'000) which.pass_on();
        else what.complete();
    }

private:
    std::size_t received_ = 0;
};
/// Takes whatever is written, at once and for ever, and sends none of it.
class swallows_writes final : public wrapper {
public:
    using wrapper::wrapper;
    void submit(net::transfer what) noexcept override {
        if (!what.sends()) return wrapper::submit(what);
        what.moved(what.rest().size());
        what.complete();
    }
};

template <typename Faulty>
void expect_found(const std::string& sentence) {
    run_options options;
    options.poller = poller_choice::simulation;
    std::string all;
    for (const std::string& each : testing::check_streams(&one_wrapped<Faulty>, options))
        all += each + "\n";
    EXPECT_NE(all.find(sentence), std::string::npos) << all;
}

TEST(stream_conformance_finds, an_abort_that_looks_like_a_clean_end) {
    expect_found<clean_abort>("reset: a read that waits does not end with connection_reset");
    expect_found<clean_abort>("after reset_on_failure() an exception does not end the stream by");
}
TEST(stream_conformance_finds, a_half_close_that_does_not_arrive) {
    expect_found<no_half_close>("half-close: it ended with: with_timeout of 60 s");
}
TEST(stream_conformance_finds, a_stream_without_a_name) {
    expect_found<no_name>("moved and empty streams: describe() of an open stream is empty");
}
TEST(stream_conformance_finds, an_activity_that_stands_still) {
    expect_found<no_activity>("activity() does not see bytes that came");
}
TEST(stream_conformance_finds, input_that_is_not_told) {
    expect_found<no_input>("input: has_input() does not see bytes that have come");
    expect_found<no_input>("input: has_input() does not see the end of the stream");
}
TEST(stream_conformance_finds, bytes_that_are_sent_twice) {
    expect_found<sends_twice>("bytes that were written in both directions at once did not arrive");
}
TEST(stream_conformance_finds, a_cancelled_read_that_looks_like_the_end) {
    expect_found<ends_when_cancelled>("cancelled reads");
    expect_found<ends_when_cancelled>("cancelled framed reads: a framed read that was cancelled");
}
// With these two a case would never end if it counted on what the stream should do.
TEST(stream_conformance_finds, an_end_of_the_stream_that_nobody_has_sent) {
    expect_found<ends_early>("the stream ended in the middle of a write_all");
}
TEST(stream_conformance_finds, writes_that_are_swallowed) {
    expect_found<swallows_writes>("half-close: a write after shutdown_send() succeeded");
}

/// As where the kernel promises no memory that it does not have: of 4 GiB nothing may be charged.
TEST(stream_conformance_memory, more_than_4_gib_take_no_memory) {
    std::ifstream status("/proc/self/status");
    std::string word;
    std::size_t charged_kib = 0;
    while (status >> word && word != "VmData:") {}
    status >> charged_kib;
    ASSERT_NE(charged_kib, 0u);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_DATA, &before), 0);
    rlimit tight = before;
    tight.rlim_cur = charged_kib * 1024 + (std::size_t{1} << 31);
    ASSERT_EQ(::setrlimit(RLIMIT_DATA, &tight), 0);
    run_options options;
    options.poller = poller_choice::simulation;
    const std::vector<std::string> failures = testing::check_streams(&large_memory, options);
    ASSERT_EQ(::setrlimit(RLIMIT_DATA, &before), 0);
    for (const std::string& each : failures) ADD_FAILURE() << each;
}

INSTANTIATE_TEST_SUITE_P(worlds, stream_conformance,
                         ::testing::Values(poller_choice::simulation, poller_choice::automatic),
                         [](const auto& world) {
                             return world.param == poller_choice::simulation
                                        ? std::string("simulation")
                                        : std::string("kernel");
                         });

}  // namespace
}}  // namespace coro::v0
