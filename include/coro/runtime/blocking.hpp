// blocking(f, args…): a call that blocks or burns CPU, on a thread where it holds up no task.
#pragma once

#include <array>
#include <concepts>
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

namespace coro { inline namespace v0 {
namespace detail {

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
    struct arrival : posted {
        blocking_job* of = nullptr;
    };

    job_state<> state_;
    bool threadless_ = false;  ///< refused because there is no thread at all
    blocking_job* next_ = nullptr;  ///< in the pool's queue
    arrival arrival_;
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

}  // namespace detail

/// Returns what `f(args…)` returns, called on a thread of the run's pool with the arguments copied
/// or moved. It is for calls that block (files, databases, name look-ups) or compute for long. At
/// most run_options::blocking_threads at once; run_options::blocking_queue more wait. In a
/// simulation the thread of the loops calls `f` at once, and that takes no time.
/// Requires: `f` refers to nothing that a task owns, because it may outlive the wait; it does not
/// use the library.
/// Suspends until `f` has returned; resumes on this loop.
/// Throws: what `f` throws; io_error (errc::limit_exceeded: too many wait; the system has no thread
/// left); cancelled.
/// Cancel safety: `f` that has not begun is not called. One that runs goes on alone, and what it
/// returns is lost; the end of run() waits for it up to run_options::blocking_limit.
template <typename Function, typename... Args>
    requires std::invocable<std::decay_t<Function>, std::decay_t<Args>...>
[[nodiscard("co_await it")]] auto blocking(Function&& f, Args&&... args) {
    using value = std::invoke_result_t<std::decay_t<Function>, std::decay_t<Args>...>;
    static_assert(!detail::unsafe_closure_temporary<Function>,
                  "coro: g++ 12 may destroy a temporary closure twice in a co_await expression: "
                  "name the lambda first and pass the name (it is copied; coro::moved(name) moves "
                  "it); it captures by value, because the call may outlive the task");
    static_assert((!detail::unsafe_aggregate<std::remove_cvref_t<Args>> && ...),
                  "coro: g++ 12 may destroy a temporary aggregate with a non-trivial destructor "
                  "twice in a co_await expression: give the type a constructor, or specialise "
                  "coro::trusted_aggregate<T> if you never pass a braced temporary");
    static_assert(!detail::task_type<value>,
                  "coro: blocking calls a plain function; the task that this one returns would not "
                  "run on its thread: await the task itself");
    static_assert(!std::is_reference_v<value>,
                  "coro: a blocking call must not return a reference: to what would be another "
                  "thread's");
    using call = detail::blocking_call<value, std::decay_t<Function>, std::decay_t<Args>...>;
    return detail::blocking_awaiter<value>(
        std::make_unique<call>(std::forward<Function>(f), std::forward<Args>(args)...));
}

}}  // namespace coro::v0
