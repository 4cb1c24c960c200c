// ready_or_task: the awaiter of what is mostly there at once, and else is a child task's work.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Costs no frame and no suspension when the result is there; otherwise awaits a child task in
/// place. `Derived` supplies
///   bool   try_now()   true: finish() has the result; may throw
///   void   hold()      the result is there, but goes through the run queue (only so many may come
///                      at once in one resumption): keeps it for finish()
///   task<> wait()      waits until finish() has the result; may throw
///   R      finish()    the result; may throw
///   void   throw_cancelled()   `cancelled` that names the peer
/// An exception of try_now() leaves the await in await_resume(): combinators rely on that.
template <typename Derived>
class ready_or_task : public awaiter_face<Derived> {
public:
    void bind(detail::strand& strand) noexcept {
        CORO_ASSERT(strand_ == nullptr, awaited_twice);
        strand_ = &strand;
    }

    /// Cancellation wins at entry, even over a ready result.
    bool await_ready() noexcept {
        if (scope_access::cancelled(*strand_->scope)) [[unlikely]] {
            cancelled_ = true;
            return may_throw_cancelled_now(*strand_);
        }
        try {
            if (!self().try_now()) {
                child_.emplace(self().wait());
                return false;
            }
            if (--strand_->loop->inline_budget >= 0) return true;
            self().hold();
            return false;
        } catch (...) {
            error_ = std::current_exception();
            return true;
        }
    }

    bool suspend(frame_link* parent, std::coroutine_handle<> continuation) noexcept {
        if (cancelled_) [[unlikely]] {
            strand_->resume_point = continuation;
            strand_->loop->report_stubborn(*strand_);
            strand_->loop->make_ready(*strand_);
            return true;
        }
        if (!child_) {
            strand_->resume_point = continuation;
            grant(*strand_);
            return true;
        }
        task_promise_base& promise = task_access::promise(*child_);
        promise.strand = strand_;
        return start_child(parent, continuation, promise, task_access::frame(*child_));
    }

    decltype(auto) await_resume() {
        if (cancelled_) [[unlikely]] self().throw_cancelled();
        if (error_) [[unlikely]] std::rethrow_exception(std::exchange(error_, {}));
        if (child_) task_access::promise(*child_).take();
        return self().finish();
    }

protected:
    ready_or_task() = default;
    ~ready_or_task() = default;
    ready_or_task(const ready_or_task&) = delete;
    ready_or_task& operator=(const ready_or_task&) = delete;

private:
    Derived& self() noexcept { return static_cast<Derived&>(*this); }

    detail::strand* strand_ = nullptr;
    std::optional<task<>> child_;
    std::exception_ptr error_;
    bool cancelled_ = false;
};

}}}  // namespace coro::v0::detail
