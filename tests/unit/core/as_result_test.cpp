// as_result, io_error and cancelled: what becomes a value, what passes through, how errors read.
#include <coro/core/as_result.hpp>

#include <memory>
#include <stdexcept>
#include <string>
#include <system_error>
#include <type_traits>

#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class as_result_test : public core_test {};

template <typename T>
coro::task<T> refused() {
    co_await coro::yield();
    throw coro::io_error(std::make_error_code(std::errc::connection_refused), "connect",
                         "tcp 127.0.0.1:8080", 3);
}

/// A library wait that fails.
class [[nodiscard]] failing_wait : public coro::detail::library_awaiter<failing_wait> {
public:
    bool try_now() const noexcept { return true; }
    bool start() const noexcept { return false; }
    void finish() const { throw coro::io_error(coro::errc::closed, "test"); }
    void cancel_wait() noexcept override {}
    void describe(coro::detail::text_sink&) const noexcept override {}
};

TEST_F(as_result_test, an_io_error_becomes_a_value_for_tasks_and_operations) {
    simulate([]() -> coro::task<> {
        const auto number = co_await coro::as_result(refused<int>());
        EXPECT_FALSE(number.has_value());
        EXPECT_EQ(number.error().code(), std::errc::connection_refused);
        const auto nothing = co_await coro::as_result(refused<void>());
        EXPECT_FALSE(nothing.has_value());
        const auto operation = co_await coro::as_result(failing_wait());
        EXPECT_EQ(operation.error().code(), coro::errc::closed);
        const auto timed = co_await coro::as_result(coro::with_timeout(1ms, value_after(1h, 1)));
        EXPECT_EQ(timed.error().code(), coro::errc::deadline_exceeded);
    }());
}

TEST_F(as_result_test, a_value_stays_a_value) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(*co_await coro::as_result(value_after(1ms, 3)), 3);
        EXPECT_TRUE((co_await coro::as_result(coro::sleep_for(1ms))).has_value());
        auto own = []() -> coro::task<std::unique_ptr<int>> { co_return std::make_unique<int>(4); };
        auto owner = co_await coro::as_result(own());
        EXPECT_EQ(**owner, 4);
        int object = 0;
        auto refer = [](int& to) -> coro::task<int&> { co_return to; };
        auto same = co_await coro::as_result(refer(object));
        EXPECT_EQ(&*same, &object);
    }());
}

TEST_F(as_result_test, other_exceptions_and_cancelled_pass_through) {
    simulate([]() -> coro::task<> {
        EXPECT_TRUE(co_await throws<std::runtime_error>([]() -> coro::task<> {
            (void)co_await coro::as_result(failure_after(1ms, "other"));
        }()));
        auto body = [](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            (void)co_await coro::as_result(coro::sleep_for(1ms));
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
    }());
}

static_assert(!std::is_base_of_v<std::exception, coro::cancelled>);
static_assert(std::is_base_of_v<std::system_error, coro::io_error>);
static_assert(std::is_base_of_v<std::exception, coro::interrupted>);

TEST_F(as_result_test, a_handler_of_std_exception_cannot_swallow_cancelled) {
    simulate([]() -> coro::task<> {
        bool swallowed = false;
        auto body = [&swallowed](coro::cancel_scope& scope) -> coro::task<> {
            scope.cancel();
            try {
                co_await coro::sleep_for(1ms);
            } catch (const std::exception&) {
                swallowed = true;
            }
        };
        EXPECT_FALSE(co_await coro::with_cancel_scope(body));
        EXPECT_FALSE(swallowed);
    }());
}

TEST_F(as_result_test, an_io_error_names_verb_endpoint_cause_and_bytes) {
    try {
        simulate(refused<void>());
        FAIL() << "must throw";
    } catch (const coro::io_error& error) {
        EXPECT_STREQ(error.what(), "connect tcp 127.0.0.1:8080: Connection refused");
        EXPECT_STREQ(error.operation(), "connect");
        EXPECT_EQ(error.endpoint(), "tcp 127.0.0.1:8080");
        EXPECT_EQ(error.bytes_transferred(), 3u);
        EXPECT_EQ(error.code(), std::errc::connection_refused);
    }
}

}  // namespace
}  // namespace coro_test
