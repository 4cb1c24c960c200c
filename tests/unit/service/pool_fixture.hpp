// What the tests of pools share: a server in virtual time that counts what it is asked for, and a
// connection to it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/base/error.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/timeout.hpp>
#include <coro/service/connection_pool.hpp>

#include "unit/core/core_fixture.hpp"

namespace pool_tests {

using namespace coro_test;
using coro::errc;
using coro::io_error;
using coro::task;

/// What a pool connects to.
struct fake_server {
    coro::duration handshake = 1ms;
    bool up = true;
    bool hangs = false;             ///< connects never end
    int alive = 0;                  ///< connections
    int most_alive = 0;
    int connecting = 0;
    int most_connecting = 0;
    int made = 0;                   ///< numbers them
    int pings = 0;
    coro::duration ping_time = 1ms;
    bool answers_pings = true;
    std::vector<coro::time_point> attempts;
};

/// Counts itself at its server.
class fake_connection {
public:
    fake_connection(fake_server& at, int number) : id(number), server_(&at) {
        at.most_alive = std::max(at.most_alive, ++at.alive);
    }
    fake_connection(fake_connection&& other) noexcept
        : id(other.id),
          clean(other.clean),
          input(other.input),
          tag(other.tag),
          server_(std::exchange(other.server_, nullptr)) {}
    fake_connection& operator=(fake_connection&&) = delete;
    ~fake_connection() {
        if (server_ != nullptr) --server_->alive;
    }

    [[nodiscard]] bool is_clean() const { return clean; }
    [[nodiscard]] bool has_input() const { return input; }
    [[nodiscard]] fake_server& server() const { return *server_; }

    int id;
    bool clean = true;   ///< what it says when it comes back
    bool input = false;  ///< its peer has closed it
    int tag = 0;         ///< of the exchange that is under way

private:
    fake_server* server_;
};

/// Counts a connect that is under way.
class connect_mark {
public:
    explicit connect_mark(fake_server& at) : at_(at) {
        at.most_connecting = std::max(at.most_connecting, ++at.connecting);
    }
    connect_mark(const connect_mark&) = delete;
    connect_mark& operator=(const connect_mark&) = delete;
    ~connect_mark() { --at_.connecting; }

private:
    fake_server& at_;
};

inline task<fake_connection> connect_to(fake_server& at) {
    at.attempts.push_back(coro::now());
    const connect_mark mark(at);
    if (at.hangs) co_await coro::sleep_for(coro::duration::max());
    co_await coro::sleep_for(at.handshake);
    if (!at.up)
        throw io_error(std::make_error_code(std::errc::connection_refused), "connect", "fake:1");
    co_return fake_connection(at, ++at.made);
}

struct fake_connector {
    task<fake_connection> operator()() const { return connect_to(*server); }
    fake_server* server;
};

/// The same, with a ping.
struct pinging_connector : fake_connector {
    task<bool> validate(fake_connection& of) const {
        ++server->pings;
        co_await coro::sleep_for(server->ping_time);
        co_return server->answers_pings && !of.input;
    }
};

using fake_pool = coro::connection_pool<fake_connection>;
using fake_lease = fake_pool::lease;

/// Runs `body(pool)` in virtual time.
template <typename Body>
void with_pool(fake_server& server, const coro::pool_options& options, Body body) {
    const fake_connector connector{&server};
    simulate(coro::with_connection_pool(connector, options, body));
    EXPECT_EQ(server.alive, 0);
    EXPECT_EQ(server.connecting, 0);
}
template <typename Body>
void with_pinging_pool(fake_server& server, const coro::pool_options& options, Body body) {
    const pinging_connector connector{{&server}};
    simulate(coro::with_connection_pool(connector, options, body));
    EXPECT_EQ(server.alive, 0);
}

/// Has a connection for `span`.
inline task<> use_for(fake_pool& pool, coro::duration span) {
    const fake_lease lease = co_await pool.acquire();
    co_await coro::sleep_for(span);
}

/// Has `count` connections idle at the same time.
inline task<> fill(fake_pool& pool, std::size_t count) {
    std::vector<fake_lease> all;
    for (std::size_t i = 0; i < count; ++i) all.push_back(co_await pool.acquire());
}

/// The error of an acquire; empty if it gave a lease.
inline task<std::string> refused(fake_pool& pool) {
    try {
        const fake_lease lease = co_await pool.acquire();
        co_return std::string();
    } catch (const std::exception& error) {
        co_return error.what();
    }
}

/// What the report hook is told while this lives.
class told_reports {
public:
    told_reports() {
        coro::set_report_hook(
            [](const coro::report_event& event, void* user) noexcept {
                std::string text(event.verb);
                text += " " + std::string(event.endpoint);
                if (!event.task.empty()) text += " (" + std::string(event.task) + ")";
                text += ": " + std::string(event.text);
                if (event.error) text += ": " + event.error.message();
                static_cast<told_reports*>(user)->texts.push_back(text);
            },
            this);
    }
    told_reports(const told_reports&) = delete;
    told_reports& operator=(const told_reports&) = delete;
    ~told_reports() { coro::set_report_hook(nullptr, nullptr); }

    std::vector<std::string> texts;
};

}  // namespace pool_tests
