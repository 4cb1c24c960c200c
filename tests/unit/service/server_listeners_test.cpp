// serve over listeners of every kind: TCP, one that wraps what it accepts in a transport, one
// without a kernel.
#include <coro/service/server.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <coro/base/error.hpp>
#include <coro/net/exact.hpp>
#include <coro/net/local.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/net/transport.hpp>
#include <coro/runtime/channel.hpp>
#include <coro/runtime/event.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::task;
namespace net = coro::net;

class server_listeners_test : public core_test {};

/// Passes everything on, under a name of its own, as TLS would.
class named final : public net::transport {
public:
    explicit named(net::stream below, std::string_view as = "tls")
        : below_(std::move(below)), name_(std::string(as) + " " + below_.describe()) {}
    void submit(net::transfer what) noexcept override {
        (what.sends() ? out_ : in_).forward(what);
    }
    void cancel(net::transfer what) noexcept override { (what.sends() ? out_ : in_).cancel(); }
    void shutdown_send() override { below_.shutdown_send(); }
    void close() noexcept override { below_.close(); }
    void abort() noexcept override { below_.abort(); }
    [[nodiscard]] std::uint64_t activity() const noexcept override { return below_.activity(); }
    [[nodiscard]] std::string_view describe() const noexcept override { return name_; }

private:
    net::stream below_;
    std::string name_;
    net::relay in_{*this, below_};
    net::relay out_{*this, below_};
};

/// As a listener of TLS would be. Its stream is of no class but net::stream.
class wrapping_listener {
public:
    using stream = net::stream;
    explicit wrapping_listener(net::tcp_listener& below, std::string_view as = "tls") noexcept
        : below_(below), as_(as) {}
    task<net::stream> accept() {
        net::tcp_stream next = co_await below_.accept();
        co_return net::stream(std::make_unique<named>(std::move(next), as_));
    }
    void close() noexcept { below_.close(); }

private:
    net::tcp_listener& below_;
    std::string_view as_;
};

/// Connections of the same program.
class memory_listener {
public:
    using stream = net::memory_stream;
    net::memory_stream connect() {
        auto pair = net::memory_stream::pair();
        waiting_.push_back(std::move(pair.first));
        come_.set();
        return std::move(pair.second);
    }
    task<net::memory_stream> accept() {
        while (waiting_.empty()) {
            come_.reset();
            co_await come_.wait();
        }
        net::memory_stream next = std::move(waiting_.back());
        waiting_.pop_back();
        co_return next;
    }
    void close() noexcept { closed = true; }
    bool closed = false;

private:
    std::vector<net::memory_stream> waiting_;
    coro::event come_;
};

static_assert(net::listener<net::tcp_listener> && net::draining_listener<net::tcp_listener>);
static_assert(net::listener<wrapping_listener> && !net::draining_listener<wrapping_listener>);
static_assert(net::listener<memory_listener>);
static_assert(!net::listener<net::tcp_stream>);
static_assert(!net::listener<coro::channel<net::tcp_stream>>);
static_assert(net::detachable<net::stream> && net::detachable<net::tcp_stream>);
static_assert(!net::detachable<net::memory_stream>);

task<> echo(net::stream peer) {
    while (const auto lease = co_await peer.read_leased())
        co_await net::write_all(peer, lease.bytes());
}

task<std::string> ask(net::stream& server, std::string_view what) {
    co_await net::write_all(server, coro::as_bytes(what));
    std::string reply(what.size(), '\0');
    co_await net::read_exact(server, std::as_writable_bytes(std::span(reply)));
    co_return reply;
}

/// What was reported.
class server_log {
public:
    server_log() {
        coro::set_report_hook(
            [](const coro::report_event& event, void* user) noexcept {
                auto& self = *static_cast<server_log*>(user);
                const std::string endpoint(event.endpoint);
                self.endpoints.push_back(endpoint);
                self.lines.push_back(
                    (event.level == coro::severity::notice ? "notice: " : "error: ") +
                    std::string(event.verb) + " " + endpoint + ": " + std::string(event.text));
            },
            this);
    }
    server_log(const server_log&) = delete;
    server_log& operator=(const server_log&) = delete;
    ~server_log() { coro::set_report_hook(nullptr, nullptr); }

    std::vector<std::string> endpoints;
    std::vector<std::string> lines;
};

TEST_F(server_listeners_test, a_listener_that_wraps_each_stream_is_served) {
    std::string reply;
    const auto body = [&]() -> task<> {
        auto below = net::tcp_listener::bind(net::endpoint::loopback(0));
        wrapping_listener listener(below);
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, echo));
            auto client = co_await net::tcp_stream::connect(below.local_endpoint());
            reply = co_await ask(client, "hello");
            client.close();
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
        EXPECT_FALSE(static_cast<bool>(below)) << "it was closed at the stop";
    };
    simulate(body());
    EXPECT_EQ(reply, "hello");
}

TEST_F(server_listeners_test, one_without_a_kernel_is_served_within_the_limits) {
    std::array<std::string, 2> replies;
    bool second_waits = false;
    const auto body = [&]() -> task<> {
        memory_listener listener;
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, echo, {.limits = {.connections = 1, .idle = 1s}}));
            auto first = listener.connect();
            replies[0] = co_await ask(first, "first");
            auto second = listener.connect();
            const auto asking = [&](coro::task_group& inner) -> task<> {
                inner.spawn([](net::stream& to, std::string& into) -> task<> {
                    into = co_await ask(to, "second");
                }, std::ref<net::stream>(second), std::ref(replies[1]));
                co_await coro::sleep_for(500ms);
                second_waits = replies[1].empty();
                // The first one is silent, and after its idle span the guard ends it.
            };
            co_await coro::with_task_group(asking);
            second.close();
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
        EXPECT_TRUE(listener.closed);
    };
    const report_log log;
    simulate(body());
    EXPECT_EQ(replies[0], "first");
    EXPECT_TRUE(second_waits);
    EXPECT_EQ(replies[1], "second");
}

/// Both what the handler throws and what its stream throws; the peer has a name of any kind.
TEST_F(server_listeners_test, errors_and_silence_name_the_peer_whatever_kind_it_is_of) {
    const server_log log;
    std::string expected;
    const auto body = [&]() -> task<> {
        auto below = net::tcp_listener::bind(net::endpoint::loopback(0));
        wrapping_listener listener(below);
        int calls = 0;
        const auto handler = [&calls](net::stream peer) -> task<> {
            const int call = ++calls;
            std::array<std::byte, 1> into{};
            if (call == 1) co_await coro::sleep_for(1ms);
            if (call == 1) throw std::runtime_error("no");
            co_await net::read_exact(peer, into);  // a reset, or a silence
        };
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, handler, {.limits = {.idle = 1s}}));
            for (int i = 0; i < 3; ++i) {
                auto client = co_await net::tcp_stream::connect(below.local_endpoint());
                expected += "tls " + client.local_endpoint().to_string() + "\n";
                co_await coro::sleep_for(5ms);
                if (i == 1) client.abort();
                co_await coro::sleep_for(2s);
            }
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
    };
    simulate(body());
    std::string seen;
    for (const std::string& each : log.endpoints) seen += each + "\n";
    EXPECT_EQ(seen, expected);
}

/// Reads until the peer is reset, or the server ends a silence.
task<> wait_for_the_end(net::stream& peer) {
    std::array<std::byte, 1> into{};
    co_await net::read_exact(peer, into);
}
task<> wrap_and_wait_for_the_end(net::tcp_stream peer) {
    net::stream wrapped(std::make_unique<named>(std::move(peer)));
    co_await wait_for_the_end(wrapped);
}
/// An error of the connection below it, as one of a handshake.
task<> fail_with_the_name_of_what_is_below(net::stream peer) {
    const std::string name = peer.describe();
    co_await coro::sleep_for(6ms);
    throw coro::io_error(std::make_error_code(std::errc::connection_reset), "recv",
                         name.substr(name.rfind(' ') + 1));
}
/// One that wraps another connection, as a proxy has it to its target.
task<> fail_with_the_name_of_another(net::tcp_stream peer) {
    const std::string other = "tls 1" + peer.describe();  // "1127.0.0.1:…"
    co_await coro::sleep_for(6ms);
    throw coro::io_error(std::make_error_code(std::errc::connection_reset), "recv", other);
}

/// One client, which is reset after 5 ms or says nothing.
template <typename Listener, typename Handler>
task<> meet_one(net::tcp_listener& below, Listener& listener, Handler handler, bool resets,
                std::string& client_name) {
    const auto serving = [&](coro::task_group& group) -> task<> {
        group.spawn(coro::serve(listener, handler, {.limits = {.idle = 1s}}));
        auto client = co_await net::tcp_stream::connect(below.local_endpoint());
        client_name = client.local_endpoint().to_string();
        co_await coro::sleep_for(5ms);
        if (resets) client.abort();
        co_await coro::sleep_for(2s);
        group.request_stop();
    };
    co_await coro::with_task_group(serving);
}

/// What was reported, without the client's name: that differs.
template <typename Handler>
std::string report_of(Handler handler, bool resets, std::string_view wrapped_as = {}) {
    const server_log log;
    std::string client;
    const auto body = [&]() -> task<> {
        auto below = net::tcp_listener::bind(net::endpoint::loopback(0));
        if constexpr (std::is_invocable_v<Handler, net::stream>) {
            wrapping_listener listener(below, wrapped_as);
            co_await meet_one(below, listener, handler, resets, client);
        } else {
            co_await meet_one(below, below, handler, resets, client);
        }
    };
    simulate(body());
    std::string all;
    for (const std::string& each : log.lines) all += each + "\n";
    const std::size_t at = all.find(client);
    return at == std::string::npos ? all : all.replace(at, client.size(), "PEER");
}

/// The report begins so: behind that comes the system's text.
void expect_begin(const std::string& report, std::string_view begin) {
    EXPECT_EQ(report.substr(0, begin.size()), begin) << report;
}

/// The report names the connection as the error does.
TEST_F(server_listeners_test, an_error_of_what_wraps_the_stream_is_one_of_the_peer) {
    expect_begin(report_of(wrap_and_wait_for_the_end, true), "notice: read_exact tls PEER: ");
    EXPECT_EQ(report_of(wrap_and_wait_for_the_end, false),
              "notice: serve PEER: idle for 1 s, ended\n");
    expect_begin(report_of(fail_with_the_name_of_what_is_below, true, "tls"),
                 "notice: recv PEER: ");
    expect_begin(report_of(fail_with_the_name_of_another, true), "error: recv tls 1PEER: ");
}

/// An io_error keeps 95 characters of a name.
TEST_F(server_listeners_test, an_error_of_a_peer_with_a_long_name_is_one_of_the_peer) {
    const std::string as(200, 'x');
    const auto wait = [](net::stream peer) -> task<> { co_await wait_for_the_end(peer); };
    expect_begin(report_of(wait, true, as), "notice: read_exact " + as.substr(0, 95) + ": ");
    EXPECT_EQ(report_of(wait, false, as), "notice: serve " + as + " PEER: idle for 1 s, ended\n");
}

/// The handler's own transport stands on it: the beginning of that name is all that is left.
TEST_F(server_listeners_test, an_error_of_what_wraps_a_peer_with_a_long_name_is_one_of_the_peer) {
    const auto where = net::local_address::abstract(std::string(90, 'x'));
    const server_log log;
    const auto body = [&]() -> task<> {
        auto listener = net::local_listener::bind(where);
        const auto handler = [](net::local_stream peer) -> task<> {
            net::stream wrapped(std::make_unique<named>(std::move(peer)));
            co_await wait_for_the_end(wrapped);
        };
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, handler));
            auto client = co_await net::local_stream::connect(where);
            co_await coro::sleep_for(5ms);
            client.abort();
            co_await coro::sleep_for(5ms);
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
    };
    simulate(body());
    ASSERT_EQ(log.lines.size(), 1u);
    const std::string whole = "tls client of " + where.to_string();
    EXPECT_EQ(log.endpoints[0], whole.substr(0, coro::error_endpoint_capacity));
    EXPECT_EQ(log.lines[0].substr(0, 8), "notice: ") << log.lines[0];
}

/// A stream that stands on nothing is closed by the guard, and gone before its handler resumes.
TEST_F(server_listeners_test, the_silence_of_a_stream_that_stands_on_nothing_is_no_error) {
    const server_log log;
    const auto body = [&]() -> task<> {
        memory_listener listener;
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, echo, {.limits = {.idle = 1s}}));
            auto client = listener.connect();
            co_await coro::sleep_for(5s);
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
    };
    simulate(body());
    EXPECT_EQ(log.lines, std::vector<std::string>{"notice: serve memory: idle for 1 s, ended"});
}

/// Streams over a transport stay where they were accepted; a failed handler resets what is below.
TEST_F(server_listeners_test, a_failed_handler_resets_what_its_stream_stands_on) {
    const report_log log;
    bool reset = false;
    const auto body = [&]() -> task<> {
        auto below = net::tcp_listener::bind(net::endpoint::loopback(0));
        wrapping_listener listener(below);
        const auto handler = [](net::stream peer) -> task<> {
            co_await coro::sleep_for(1ms);
            if (peer) throw std::runtime_error("no");
        };
        const auto serving = [&](coro::task_group& group) -> task<> {
            group.spawn(coro::serve(listener, handler));
            auto client = co_await net::tcp_stream::connect(below.local_endpoint());
            std::array<std::byte, 1> into{};
            try {
                co_await net::read_exact(client, into);
            } catch (const coro::io_error& error) {
                reset = error.code() == std::errc::connection_reset;
            }
            group.request_stop();
        };
        co_await coro::with_task_group(serving);
    };
    simulate(body());
    EXPECT_TRUE(reset);
}

}  // namespace
}  // namespace coro_test
