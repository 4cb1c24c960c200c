// What the tests of tasks, scopes and combinators share: runs in virtual time, a check that no
// frame is left, and a channel of the smallest kind.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <deque>
#include <exception>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/base/report.hpp>
#include <coro/core/task.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>

#include "core/frame_census.hpp"
#include "support/leftovers.hpp"

namespace coro_test {

using namespace std::chrono_literals;

#if defined(__has_feature)
#define CORO_TEST_HAS_FEATURE(x) __has_feature(x)
#else
#define CORO_TEST_HAS_FEATURE(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) ||            \
    CORO_TEST_HAS_FEATURE(address_sanitizer) || CORO_TEST_HAS_FEATURE(thread_sanitizer)
#define CORO_TEST_SANITIZED 1
#else
#define CORO_TEST_SANITIZED 0
#endif
inline constexpr bool sanitized = CORO_TEST_SANITIZED != 0;

/// `count`, or what a sanitizer can do in the same time.
constexpr int scaled(int count, int divisor = 10) { return sanitized ? count / divisor : count; }

/// Whether a test has to reach the counts of docs/performance.md: on demand, by
/// `scripts/test --full`, and in an optimized build, where that takes seconds.
inline bool reaches_full_counts() {
#ifdef __OPTIMIZE__
    return !sanitized && std::getenv("CORO_TEST_FULL") != nullptr;
#else
    return false;
#endif
}
/// `full` where those counts are wanted, otherwise what is scaled().
inline int scaled_or_full(int count, int full) {
    return reaches_full_counts() ? full : scaled(count);
}

template <typename T>
T simulate(coro::task<T> main, std::uint64_t seed = 0) {
    return coro::run(std::move(main),
                     {.poller = coro::poller_choice::simulation, .seed = seed});
}

/// Whole milliseconds of virtual time since `start`.
inline long elapsed_ms(coro::time_point start) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(coro::now() - start).count();
}

/// Whether `work` throws an `Error`; other exceptions pass through.
template <typename Error, typename T>
coro::task<bool> throws(coro::task<T> work) {
    try {
        (void)co_await std::move(work);
    } catch (const Error&) {
        co_return true;
    }
    co_return false;
}
template <typename Error>
coro::task<bool> throws(coro::task<> work) {
    try {
        co_await std::move(work);
    } catch (const Error&) {
        co_return true;
    }
    co_return false;
}

inline coro::task<int> value_after(coro::duration span, int value) {
    co_await coro::sleep_for(span);
    co_return value;
}
inline coro::task<> sleep_task(coro::duration span) { co_await coro::sleep_for(span); }
inline coro::task<int> failure_after(coro::duration span, const char* text) {
    co_await coro::sleep_for(span);
    throw std::runtime_error(text);
}

/// What is left behind is looked for after every test (support/main.cpp).
class core_test : public testing::Test {};

/// Collects what goes to the report hook while it lives.
class report_log {
public:
    report_log() {
        coro::set_report_hook(
            [](const coro::report_event& event, void* user) noexcept {
                static_cast<report_log*>(user)->lines.push_back(
                    std::string(event.verb) + ": " + std::string(event.text) + " [" +
                    std::string(event.task) + "]" +
                    (event.error ? " " + event.error.message() : std::string()));
            },
            this);
    }
    report_log(const report_log&) = delete;
    report_log& operator=(const report_log&) = delete;
    ~report_log() { coro::set_report_hook(nullptr, nullptr); }

    std::vector<std::string> lines;
};

/// The test drops tasks unstarted, on purpose: they are told to nobody else.
class dropped_tasks {
public:
    [[nodiscard]] std::size_t told() const noexcept { return log_.lines.size(); }

private:
    unstarted_tasks_expected expected_;
    report_log log_;
};

/// A channel in its smallest form, to show what a library wait takes and when.
class mailbox {
public:
    class [[nodiscard]] taker : public coro::detail::library_awaiter<taker>,
                                public coro::detail::list_node<taker> {
    public:
        explicit taker(mailbox& box) noexcept : box_(box) {}

        bool try_now() {
            if (box_.items_.empty()) return false;
            value_ = box_.items_.front();
            box_.items_.pop_front();
            return true;
        }
        bool start() noexcept {
            box_.takers_.push_back(*this);
            return true;
        }
        int finish() const noexcept { return value_; }
        void cancel_wait() noexcept override {
            unlink();
            end_cancelled();
        }
        void describe(coro::detail::text_sink& out) const noexcept override { out.write("take"); }

    private:
        friend class mailbox;
        mailbox& box_;
        int value_ = 0;
    };

    taker take() noexcept { return taker(*this); }
    void put(int value) {
        if (taker* first = takers_.pop_front()) {
            first->value_ = value;
            first->end_granted();
        } else {
            items_.push_back(value);
        }
    }
    [[nodiscard]] std::size_t size() const noexcept { return items_.size(); }

private:
    std::deque<int> items_;
    coro::detail::intrusive_list<taker> takers_;
};

inline coro::task<int> take_task(mailbox& box) { co_return co_await box.take(); }

}  // namespace coro_test
