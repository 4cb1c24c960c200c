// oneshot<T>: one value from one task to another.
#pragma once

#include <atomic>
#include <concepts>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 {

/// Carries one value: the answer to one question, the result of one piece of work. A channel is for
/// several, an event for none.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may send(),
/// close() and receive(), which go there as messages. Destroying it while a task waits aborts; a
/// value that nobody has received is destroyed with it. It must outlive the tasks that use it on
/// other loops.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class oneshot {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "coro: a oneshot moves its value from task to task, which must not throw: give "
                  "the type a noexcept move constructor, or send a std::unique_ptr to it");

    class awaiter;

public:
    oneshot() noexcept : remote_arrival_(*this), remote_close_(*this) {}
    oneshot(const oneshot&) = delete;
    oneshot& operator=(const oneshot&) = delete;
    ~oneshot() {
        CORO_ASSERT(receivers_.empty(), "a oneshot was destroyed while a task waits for it");
    }

    /// Sends `value`; never suspends, and resumes nobody in place. False: it was sent or closed
    /// before, and `value` is whole.
    bool send(T&& value) noexcept {
        if (decided_.exchange(true, std::memory_order_acq_rel)) return false;
        value_.emplace(std::move(value));
        if (home_.is_elsewhere()) [[unlikely]] remote_arrival_.send(home_.loop());
        else arrive();
        return true;
    }
    bool send(const T& value)
        requires std::copy_constructible<T>
    {
        T copy(value);
        return send(std::move(copy));
    }
    /// Says that no value will come: who waits, and who comes later, gets errc::closed. Does
    /// nothing after send(). Resumes nobody in place.
    void close() noexcept {
        if (decided_.exchange(true, std::memory_order_acq_rel)) return;
        if (home_.is_elsewhere()) [[unlikely]] remote_close_.send(home_.loop());
        else end();
    }

    /// Returns `T`, the value, which one receive() gets.
    /// Suspends until it comes, or through the run queue for fairness; resumes on this loop.
    /// Throws: io_error (closed: it was closed, or another task has the value); cancelled.
    /// Cancel safety: on `cancelled` the value is there for the next receive().
    [[nodiscard("co_await it")]] awaiter receive() noexcept { return awaiter(*this); }

private:
    /// `value_` is there, and is this loop's.
    void arrive() noexcept {
        arrived_ = true;
        // A grant may withdraw another wait of the list (a sibling in when_any).
        if (awaiter* first = receivers_.pop_front()) {
            first->give(*value_);
            value_.reset();
            end();
        }
    }
    void end() noexcept {
        arrived_ = false;
        closed_ = true;
        while (awaiter* first = receivers_.pop_front()) first->reject();
    }

    detail::home_loop home_;
    detail::home_call<&oneshot::arrive> remote_arrival_;
    detail::home_call<&oneshot::end> remote_close_;
    std::atomic<bool> decided_{false};  ///< sent or closed, on whatever loop
    bool arrived_ = false;              ///< and nobody has received it
    bool closed_ = false;
    std::optional<T> value_;
    detail::intrusive_list<awaiter> receivers_;
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] oneshot<T>::awaiter final
    : public detail::library_awaiter<awaiter>, public detail::list_node<awaiter> {
public:
    explicit awaiter(oneshot& of) noexcept : oneshot_(of) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return oneshot_.home_; }
    bool try_now() noexcept {
        if (oneshot_.arrived_) {
            value_.emplace(std::move(*oneshot_.value_));
            oneshot_.value_.reset();
            oneshot_.end();
            return true;
        }
        rejected_ = oneshot_.closed_;
        return rejected_;
    }
    bool start() noexcept {
        oneshot_.receivers_.push_back(*this);
        return true;
    }
    [[nodiscard]] T finish() {  // the oneshot may be gone
        if (rejected_) throw io_error(errc::closed, "receive", "oneshot");
        return std::move(*value_);
    }

    void cancel_wait() noexcept override {
        this->unlink();
        this->end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        out.write("receive from oneshot");
    }

private:
    friend class oneshot;
    void give(T& value) noexcept {
        value_.emplace(std::move(value));
        this->end_granted();
    }
    void reject() noexcept {
        rejected_ = true;
        this->end_granted();
    }

    oneshot& oneshot_;
    std::optional<T> value_;
    bool rejected_ = false;
};

}}  // namespace coro::v0
