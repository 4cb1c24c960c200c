// Drivers of connection_pool: each operation waits because the only connection is lent.
#include <optional>

#include <coro/service/connection_pool.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// A connection that counts itself.
class token {
public:
    explicit token(int& alive) : alive_(&alive) { ++alive; }
    token(token&& other) noexcept : alive_(std::exchange(other.alive_, nullptr)) {}
    token& operator=(token&&) = delete;
    ~token() {
        if (alive_ != nullptr) --*alive_;
    }

private:
    int* alive_;
};

using token_pool = connection_pool<token>;

enum class pool_stage { acquiring, with, draining, in_the_body };

class pool_driver final : public driver {
public:
    explicit pool_driver(pool_stage where) : where_(where) {}

    task<> operate() override {
        const auto connector = [this]() -> task<token> { co_return token(alive_); };
        const auto body = [this](token_pool& pool) -> task<> { co_await wait_in(pool); };
        co_await with_connection_pool(connector, {.max_size = 1, .drain = 1h}, body);
    }
    /// Before that it waits for the pool to connect.
    bool at_point(bool waits) override { return waits && held_; }
    task<> complete() override {
        held_.release();
        gate_.set();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(got_ == ended.is(outcome_kind::value), "what it waited for was lost, or never there");
        held_.release();
        check(alive_ == 0, "a connection outlived its pool");
        co_return;
    }

private:
    task<> wait_in(token_pool& pool) {
        held_ = co_await pool.acquire();
        switch (where_) {
            case pool_stage::acquiring: {
                const auto lease = co_await pool.acquire();
                got_ = static_cast<bool>(lease);
                break;
            }
            case pool_stage::with: {
                const auto work = [this](token&) -> task<> {
                    got_ = true;
                    co_return;
                };
                co_await pool.with(work);
                break;
            }
            case pool_stage::draining:
                co_await pool.drain();
                got_ = true;
                break;
            case pool_stage::in_the_body:
                co_await gate_.wait();
                held_.release();
                got_ = true;
                break;
        }
    }

    pool_stage where_;
    int alive_ = 0;
    event gate_;
    pool_lease<token> held_;
    bool got_ = false;
};

/// The wait at the end of a pool comes after its body has ended.
class ending_pool_driver final : public driver {
public:
    task<> prepare(ending) override {
        set_report_hook([](const report_event&, void*) noexcept {}, nullptr);
        co_return;
    }
    task<> operate() override {
        const auto connector = [this]() -> task<token> { co_return token(alive_); };
        const auto body = [this](token_pool& pool) -> task<> { held_ = co_await pool.acquire(); };
        co_await with_connection_pool(connector, {.drain = 1h}, body);
    }
    /// Before that it waits for the pool to connect.
    bool at_point(bool waits) override { return waits && held_; }
    task<> complete() override {
        held_.release();
        co_return;
    }
    task<> verify(const outcome&) override {
        held_.release();
        check(alive_ == 0, "a connection outlived its lease");
        set_report_hook(nullptr, nullptr);
        co_return;
    }

private:
    int alive_ = 0;
    pool_lease<token> held_;
};

}  // namespace

std::vector<point> pool_points() {
    return {
        make_point<pool_driver, pool_stage::acquiring>("coro::connection_pool::acquire",
                                                       "for a connection"),
        make_point<pool_driver, pool_stage::with>("coro::connection_pool::with",
                                                  "for a connection"),
        make_point<pool_driver, pool_stage::draining>("coro::connection_pool::drain",
                                                      "for a lease"),
        make_point<pool_driver, pool_stage::in_the_body>("coro::with_connection_pool",
                                                         "in its body"),
        make_point<ending_pool_driver>("coro::with_connection_pool", "for a lease at its end"),
    };
}

}}}  // namespace coro::v0::detail::conformance
