// Awaitables of other libraries: resumed on any thread, they come home; uncancellable, and say so.
#include <coro/core/detail/foreign.hpp>

#include <atomic>
#include <coroutine>
#include <stdexcept>
#include <string>
#include <thread>

#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class foreign_test : public core_test {};

/// Tests with threads run on a kernel's poller: a simulation would jump over the time they take.
template <typename T>
T run_real(coro::task<T> main) {
    return coro::run(std::move(main), {.poller = coro::poller_choice::epoll,
                                       .signals = coro::signal_policy::leave});
}

/// Resumes its awaiter on a thread of its own.
class on_a_thread {
public:
    explicit on_a_thread(int value) : value_(value) {}
    on_a_thread(const on_a_thread&) = delete;
    on_a_thread& operator=(const on_a_thread&) = delete;
    ~on_a_thread() {
        if (thread_.joinable()) thread_.join();
    }
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) {
        thread_ = std::thread([waiter] { waiter.resume(); });
    }
    int await_resume() const noexcept { return value_; }

private:
    int value_;
    std::thread thread_;
};

TEST_F(foreign_test, resumed_on_another_thread_it_comes_home) {
    run_real([]() -> coro::task<> {
        const std::thread::id home = std::this_thread::get_id();
        for (int i = 0; i < scaled(200); ++i) {
            EXPECT_EQ(co_await on_a_thread(i), i);
            EXPECT_EQ(std::this_thread::get_id(), home);
        }
    }());
}

TEST_F(foreign_test, many_at_once_come_home_to_their_own_tasks) {
    run_real([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            for (int i = 0; i < 20; ++i)
                group.spawn([](int expected) -> coro::task<> {
                    EXPECT_EQ(co_await on_a_thread(expected), expected);
                }, i);
            co_return;
        };
        co_await coro::with_task_group(body);
    }());
}

struct ready_value {
    bool await_ready() const noexcept { return true; }
    void await_suspend(std::coroutine_handle<>) const noexcept {}
    int await_resume() const noexcept { return 5; }
};
struct with_member_operator {
    ready_value operator co_await() const noexcept { return {}; }
};
struct with_free_operator {};
ready_value operator co_await(with_free_operator) noexcept { return {}; }

/// Resumes in place, and answers false: it need not have suspended.
struct declines {
    bool await_ready() const noexcept { return false; }
    bool await_suspend(std::coroutine_handle<>) const noexcept { return false; }
    int await_resume() const noexcept { return 6; }
};
/// Symmetric transfer back to the waiter.
struct transfers {
    bool await_ready() const noexcept { return false; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> waiter) const noexcept {
        return waiter;
    }
    int await_resume() const noexcept { return 7; }
};
struct resumes_inside {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<> waiter) const { waiter.resume(); }
    int await_resume() const { throw std::runtime_error("from a foreign awaiter"); }
};
struct fails_to_suspend {
    bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const { throw std::runtime_error("no"); }
    void await_resume() const noexcept {}
};

TEST_F(foreign_test, every_form_of_the_protocol_works) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(co_await ready_value(), 5);
        EXPECT_EQ(co_await with_member_operator(), 5);
        EXPECT_EQ(co_await with_free_operator(), 5);
        EXPECT_EQ(co_await declines(), 6);
        EXPECT_EQ(co_await transfers(), 7);
        ready_value named;
        EXPECT_EQ(co_await named, 5);
        EXPECT_TRUE(co_await throws<std::runtime_error>([]() -> coro::task<> {
            (void)co_await resumes_inside();
        }()));
        EXPECT_TRUE(co_await throws<std::runtime_error>(
            []() -> coro::task<> { co_await fails_to_suspend(); }()));
        EXPECT_EQ(coro::detail::this_strand().waiting, nullptr);
        co_await coro::sleep_for(1ms);  // and the task goes on waiting as ever
    }());
}

TEST_F(foreign_test, combinators_take_them) {
    simulate([]() -> coro::task<> {
        EXPECT_EQ(co_await coro::with_timeout(1s, declines()), 6);
        auto race = co_await coro::when_any(transfers(), coro::sleep_for(1s));
        EXPECT_EQ(race.get<0>(), 7);
    }());
}

TEST_F(foreign_test, cancellation_is_met_at_entry_and_at_the_next_await_but_not_inside) {
    run_real([]() -> coro::task<> {
        auto entry = [](coro::cancel_scope& scope) -> coro::task<int> {
            scope.cancel();
            co_return co_await ready_value();
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(entry), std::nullopt);

        auto inside = [](coro::cancel_scope& scope) -> coro::task<int> {
            auto body = [&scope](coro::task_group& group) -> coro::task<int> {
                group.spawn([](coro::cancel_scope& of) -> coro::task<> {
                    of.cancel();
                    co_return;
                }, std::ref(scope));
                co_return co_await on_a_thread(8);  // a value, although cancelled meanwhile
            };
            co_return co_await coro::with_task_group(body);
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(inside), 8);
    }());
}

TEST_F(foreign_test, a_stubborn_task_gets_cancelled_even_from_ready_ones) {
    const report_log log;
    simulate([]() -> coro::task<> {
        auto body = [](coro::cancel_scope& scope) -> coro::task<int> {
            scope.cancel();
            int thrown = 0;
            for (int i = 0; i < 2000; ++i) {
                try {
                    (void)co_await ready_value();
                } catch (const coro::cancelled&) {
                    ++thrown;
                }
            }
            co_return thrown;
        };
        EXPECT_EQ(co_await coro::with_cancel_scope(body), 2000);
    }());
    EXPECT_EQ(log.lines.size(), 1u);
}

TEST_F(foreign_test, the_dump_says_that_it_cannot_be_cancelled) {
    std::string dump;
    struct keeps_handle {
        std::coroutine_handle<>& out;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> waiter) const noexcept { out = waiter; }
        void await_resume() const noexcept {}
    };
    simulate([](std::string& out) -> coro::task<> {
        std::coroutine_handle<> kept;
        auto body = [&out, &kept](coro::task_group& group) -> coro::task<> {
            group.spawn([](std::coroutine_handle<>& handle) -> coro::task<> {
                co_await keeps_handle{handle};
            }, std::ref(kept));
            co_await coro::yield();
            out = coro::dump_tasks();
            kept.resume();
        };
        co_await coro::with_task_group(body);
    }(dump));
    EXPECT_NE(dump.find("foreign (uncancellable)"), std::string::npos) << dump;
}

}  // namespace
}  // namespace coro_test
