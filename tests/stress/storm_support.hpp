// What the storms share: runs of several loops, a task on each of them, and small random numbers.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <utility>

#include <gtest/gtest.h>

#include <coro/coro.hpp>
#include <coro/runtime/loop_handle.hpp>

#include "conformance/poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {

inline constexpr unsigned storm_loops = 3;

/// Small and repeatable; each user has its own.
class dice {
public:
    explicit dice(unsigned seed) noexcept : state_(seed * 2654435761u + 12345u) {}
    unsigned next() noexcept {
        state_ = state_ * 1664525u + 1013904223u;
        return state_ >> 8;
    }
    unsigned below(unsigned limit) noexcept { return next() % limit; }
    duration up_to(duration most) noexcept {
        return duration(static_cast<std::int64_t>(next()) % (most.count() + 1));
    }

private:
    std::uint32_t state_;
};

/// Runs `f(args…)` on each loop, and waits for all.
template <typename Function, typename... Args>
task<> on_each_loop(Function f, Args... args) {
    const auto in_group = [&](task_group& group) -> task<> {
        const unsigned count = loop_count();
        for (unsigned loop = 0; loop < count; ++loop) group.spawn({.loop = loop}, f, args...);
        co_return;
    };
    co_await with_task_group(in_group);
}

class storm_test : public ::testing::TestWithParam<poller_choice> {
protected:
    [[nodiscard]] run_options options(unsigned loops) const {
        run_options how;
        how.poller = GetParam();
        how.strict = conformance::insists(GetParam());
        how.signals = signal_policy::leave;
        how.loops = loops;
        return how;
    }
    /// What hangs ends with an error instead.
    template <typename Body>
    void storm(Body& body) const {
        const auto limited = [&]() -> task<> {
            co_await with_timeout(std::chrono::minutes(2), body());
        };
        run(limited(), options(storm_loops));
    }
};

}}}  // namespace coro::v0::detail::stress
