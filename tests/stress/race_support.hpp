// What the races share: two threads that meet in each round, and an aim that brings the cancel as
// close to the completion as both outcomes being frequent can.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdint>
#include <thread>
#include <utility>

#include <gtest/gtest.h>

#include <coro/base/time.hpp>

namespace coro { inline namespace v0 { namespace detail::stress {

using namespace std::chrono_literals;

inline constexpr unsigned wanted = 1000;  ///< of each outcome
/// Only turns a race that never happens into a sentence.
inline constexpr unsigned most_rounds = 400'000;

/// When to cancel, learnt from what came of it: later after each cancellation, sooner after each
/// success; each round up to a quarter earlier, or nearly as much later, than that.
class aim {
public:
    /// How long after the start of a round to cancel.
    [[nodiscard]] duration next() noexcept {
        ++rounds_;
        const auto jitter = static_cast<std::int64_t>((rounds_ * 7919) % 8);
        return at_ + at_ * (jitter - 4) / 16;
    }
    void note(bool succeeded) noexcept {
        succeeded ? ++successes_ : ++cancellations_;
        // More often sooner than later where the one outcome is behind: both are wanted.
        const duration step = at_ / 32 + 100ns;
        at_ = succeeded ? std::max(at_ - step, duration(0)) : at_ + step;
    }
    [[nodiscard]] bool done() const noexcept {
        return (successes_ >= wanted && cancellations_ >= wanted) || rounds_ >= most_rounds;
    }
    void expect_both(const char* what) const {
        std::printf("%s: %u succeeded, %u were cancelled, aim %lld ns\n", what, successes_,
                    cancellations_, static_cast<long long>(at_.count()));
        std::fflush(stdout);
        EXPECT_GE(successes_, wanted) << what;
        EXPECT_GE(cancellations_, wanted) << what;
    }

private:
    duration at_{10us};
    std::uint64_t rounds_ = 0;
    unsigned successes_ = 0;
    unsigned cancellations_ = 0;
};

/// Called again and again while a round waits for its moment: with two processors both threads run,
/// and the race is tight; when it takes longer the opponent may have no processor.
class patience {
public:
    void pass() const noexcept {
        if (std::chrono::steady_clock::now() >= begun_ + 20us) std::this_thread::yield();
    }

private:
    std::chrono::steady_clock::time_point begun_ = std::chrono::steady_clock::now();
};

/// A thread that acts once a round, as soon as it is told.
class opponent {
public:
    template <typename Act>
    explicit opponent(Act act)
        : thread_([this, act = std::move(act)]() mutable {
              for (unsigned round = 1;; ++round) {
                  while (told_.load(std::memory_order_acquire) < round) {
                      if (ended_.load(std::memory_order_acquire)) return;
                      std::this_thread::yield();
                  }
                  // So that a cancel can come before it, too.
                  const auto lead_in = std::chrono::steady_clock::now() + 5us;
                  while (std::chrono::steady_clock::now() < lead_in) {}
                  act();
                  acted_.store(round, std::memory_order_release);
              }
          }) {}
    opponent(const opponent&) = delete;
    opponent& operator=(const opponent&) = delete;
    ~opponent() {
        ended_.store(true, std::memory_order_release);
        thread_.join();
    }

    void go() noexcept { told_.fetch_add(1, std::memory_order_release); }
    [[nodiscard]] bool has_acted() const noexcept {
        return acted_.load(std::memory_order_acquire) ==
               told_.load(std::memory_order_relaxed);
    }
    void await_act() const noexcept {
        while (!has_acted()) std::this_thread::yield();
    }

private:
    std::atomic<unsigned> told_{0};   ///< rounds that may begin; partner: the thread
    std::atomic<unsigned> acted_{0};  ///< rounds that are over; partner: await_act()
    std::atomic<bool> ended_{false};
    std::thread thread_;
};

}}}  // namespace coro::v0::detail::stress
