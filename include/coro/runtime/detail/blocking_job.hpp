// A call on its way to a helper thread and back.
#pragma once

#include <array>
#include <exception>
#include <memory>
#include <optional>
#include <source_location>
#include <tuple>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/detail/shared_words.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 { namespace detail {

class blocking_pool;

/// A call on its way through the pool. Its memory is its own: the task that waits may leave it
/// behind.
class CORO_EXPORT blocking_job {
public:
    blocking_job() = default;
    blocking_job(const blocking_job&) = delete;
    blocking_job& operator=(const blocking_job&) = delete;
    virtual ~blocking_job() = default;
    /// On a thread of the pool. Keeps what it returns or throws.
    virtual void execute() noexcept = 0;

    /// Begins it. False: it was refused, and `refused` is set.
    bool begin(wait_point& waiter, strand& strand, void (*on_end)(wait_point& waiter) noexcept);
    /// True: nobody will hear of it any more, and it frees itself if it runs. False: it has ended,
    /// and on_end is about to be called.
    bool abandon() noexcept;
    bool refused = false;
    /// Throws io_error (errc::limit_exceeded), which names the option that was reached.
    [[noreturn]] void throw_refused() const;

private:
    friend class blocking_pool;
    job_state<> state_;
    bool threadless_ = false;  ///< refused because there is no thread at all
    blocking_job* next_ = nullptr;  ///< in the pool's queue
    message_of<blocking_job> arrival_;
    wait_point* waiter_ = nullptr;
    void (*on_end_)(wait_point& waiter) noexcept = nullptr;
    detail::loop* home_ = nullptr;
    blocking_pool* pool_ = nullptr;
    std::array<char, 32> task_name_{};
    std::source_location site_;
};

/// The result of a call, until the waiter takes it.
template <typename T>
class blocking_value : public blocking_job {
public:
    T take() {
        if (error_) std::rethrow_exception(std::move(error_));
        if constexpr (!std::is_void_v<T>) return std::move(*value_);
    }

protected:
    struct nothing {};
    std::optional<std::conditional_t<std::is_void_v<T>, nothing, T>> value_;
    std::exception_ptr error_;
};

template <typename T, typename Function, typename... Args>
class blocking_call final : public blocking_value<T> {
public:
    template <typename... Given>
    explicit blocking_call(Function function, Given&&... given)
        : function_(std::move(function)), args_(std::forward<Given>(given)...) {}

    void execute() noexcept override {
        try {
            if constexpr (std::is_void_v<T>) std::apply(std::move(function_), std::move(args_));
            else this->value_.emplace(std::apply(std::move(function_), std::move(args_)));
        } catch (...) {
            this->error_ = std::current_exception();
        }
    }

private:
    Function function_;
    std::tuple<Args...> args_;
};

template <typename T>
class [[nodiscard("co_await it")]] blocking_awaiter final
    : public library_awaiter<blocking_awaiter<T>> {
public:
    explicit blocking_awaiter(std::unique_ptr<blocking_value<T>> job) noexcept
        : job_(std::move(job)) {}

    bool try_now() const noexcept { return false; }
    bool start() {
        return job_->begin(*this, this->strand(), [](wait_point& waiter) noexcept {
            static_cast<blocking_awaiter&>(waiter).end_granted();
        });
    }
    T finish() {
        if (job_->refused) job_->throw_refused();
        return job_->take();
    }
    void cancel_wait() noexcept override {
        if (!job_->abandon()) return;  // its result is on the way
        static_cast<void>(job_.release());
        this->end_cancelled();
    }
    void describe(text_sink& out) const noexcept override { out.write("blocking call"); }

private:
    std::unique_ptr<blocking_value<T>> job_;
};

}}}  // namespace coro::v0::detail
