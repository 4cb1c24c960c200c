// How sleep_for, sleep_until and yield wait.
#pragma once

#include <coro/base/detail/export.hpp>
#include <coro/base/time.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/timer.hpp>

namespace coro { inline namespace v0 { namespace detail {

class [[nodiscard("co_await it")]] CORO_EXPORT sleep_awaiter final
    : public library_awaiter<sleep_awaiter> {
public:
    explicit sleep_awaiter(time_point until) noexcept : until_(until) {}
    explicit sleep_awaiter(time_span span) noexcept : span_(span) {}

    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        timer_.self = this;
        // A span counts from here, the await, and not from the call that made the awaiter.
        if (span_ != duration::max()) until_ = saturating_add(loop().read_clock(), span_);
        loop().arm_timer(timer_, until_);
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override;
    void describe(text_sink& out) const noexcept override;

private:
    struct node : timer_node {
        node() noexcept
            : timer_node([](timer_node& fired) noexcept {
                  static_cast<node&>(fired).self->end_granted();
              }) {}
        sleep_awaiter* self = nullptr;
    };

    time_point until_ = never;
    duration span_ = duration::max();
    node timer_;
};

class [[nodiscard("co_await it")]] CORO_EXPORT yield_awaiter final
    : public library_awaiter<yield_awaiter> {
public:
    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        set_outcome(wait_outcome::done);
        loop().make_ready(strand());
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override;
    void describe(text_sink& out) const noexcept override;
};

}}}  // namespace coro::v0::detail
