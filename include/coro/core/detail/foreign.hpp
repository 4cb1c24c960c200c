// Awaitables of other libraries: awaited through a proxy coroutine that posts the strand home.
#pragma once

#include <concepts>
#include <coroutine>
#include <exception>
#include <type_traits>
#include <utility>

#include <coro/core/detail/awaitable.hpp>
#include <coro/core/detail/strand.hpp>
#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A coroutine that does one thing: when it is resumed, on any thread, it posts the strand to its
/// home loop. Its handle is what the foreign awaitable gets.
class proxy {
public:
    struct promise_type {
        posted* home_work = nullptr;
        detail::loop* home = nullptr;

        proxy get_return_object() noexcept {
            return proxy(std::coroutine_handle<promise_type>::from_promise(*this));
        }
        std::suspend_always initial_suspend() const noexcept { return {}; }
        /// The post is the last thing: after it the home loop may destroy this frame. It is done at
        /// the final suspension, when the frame is suspended already.
        struct poster {
            bool await_ready() const noexcept { return false; }
            void await_suspend(std::coroutine_handle<promise_type> frame) const noexcept {
                promise_type& self = frame.promise();
                self.home->post_foreign(*self.home_work);
            }
            void await_resume() const noexcept {}
        };
        poster final_suspend() const noexcept { return {}; }
        void return_void() const noexcept {}
        void unhandled_exception() const noexcept { std::terminate(); }
    };

    explicit proxy(std::coroutine_handle<promise_type> frame) noexcept : frame_(frame) {}
    proxy(proxy&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
    proxy& operator=(proxy&&) = delete;
    ~proxy() {
        if (frame_) frame_.destroy();
    }

    static proxy make() { co_return; }

    std::coroutine_handle<> arm(detail::loop& home, posted& work) noexcept {
        frame_.promise().home = &home;
        frame_.promise().home_work = &work;
        return frame_;
    }

private:
    std::coroutine_handle<promise_type> frame_;
};

/// The compiler's sentence for what cannot be awaited at all.
template <typename Awaited>
constexpr void refuse_unawaitable() {
    static_assert(awaitable_type<Awaited> || !std::invocable<Awaited&>,
                  "coro: a function or lambda is awaited that nobody has called: write "
                  "co_await f()");
    static_assert(awaitable_type<Awaited> || std::invocable<Awaited&>,
                  "coro: this cannot be awaited: it is no task, no operation of the library, "
                  "and has neither operator co_await nor the three await_ members");
}

/// Awaits a foreign awaitable. It may resume us on any thread; we go on at home. It cannot be
/// cancelled: cancellation is met at the next await; the dump says so.
template <typename Awaitable>
class [[nodiscard]] foreign_awaiter final : public wait_point {
    using awaiter = decltype(obtain_awaiter(std::declval<Awaitable>()));
    static_assert(!unsafe_aggregate<std::remove_cvref_t<awaiter>>,
                  "coro: g++ 12 may destroy this awaiter twice, because it is an aggregate with a "
                  "non-trivial destructor: give it a constructor");

public:
    foreign_awaiter(detail::strand& strand, Awaitable&& awaitable)
        : strand_(&strand), awaiter_(obtain_awaiter(std::forward<Awaitable>(awaitable))) {
        home_.run = [](posted& work) noexcept {
            auto& self = static_cast<arrival&>(work);
            --self.strand->loop->outside_waits;
            self.strand->loop->make_ready(*self.strand);
        };
        home_.strand = &strand;
    }

    bool await_ready() {
        if (scope_access::cancelled(*strand_->scope)) [[unlikely]] {
            if (may_throw_cancelled_now(*strand_)) throw cancelled();
            refused_ = true;
            return false;
        }
        return static_cast<bool>(awaiter_.await_ready());
    }

    template <typename Promise>
    bool await_suspend(std::coroutine_handle<Promise> frame) {
        strand_->resume_point = frame;
        if (refused_) [[unlikely]] {
            strand_->loop->report_stubborn(*strand_);
            strand_->loop->make_ready(*strand_);
            return true;
        }
        const std::coroutine_handle<> handle = proxy_.arm(*strand_->loop, home_);
        strand_->wait_on(*this);
        ++strand_->loop->outside_waits;
        try {
            if (hand_over(handle)) return true;
        } catch (...) {
            --strand_->loop->outside_waits;
            strand_->waiting = nullptr;
            throw;
        }
        --strand_->loop->outside_waits;
        strand_->waiting = nullptr;
        return false;
    }

    decltype(auto) await_resume() {
        if (refused_) [[unlikely]] throw cancelled();
        return awaiter_.await_resume();
    }

    void cancel_wait() noexcept override {}
    void describe(text_sink& out) const noexcept override { out.write("foreign (uncancellable)"); }

private:
    /// Gives the awaiter our proxy; false: it need not have suspended.
    bool hand_over(std::coroutine_handle<> handle) {
        using answer = decltype(awaiter_.await_suspend(handle));
        if constexpr (std::is_void_v<answer>) {
            awaiter_.await_suspend(handle);
            return true;
        } else if constexpr (std::is_same_v<answer, bool>) {
            return awaiter_.await_suspend(handle);
        } else {
            // Symmetric transfer to a foreign coroutine: run it here. If it is our own proxy, the
            // strand is posted and comes back through the run queue.
            std::coroutine_handle<> other = awaiter_.await_suspend(handle);
            other.resume();
            return true;
        }
    }

    struct arrival : posted {
        detail::strand* strand = nullptr;
    };

    detail::strand* strand_;
    bool refused_ = false;  ///< `cancelled` comes through the run queue
    arrival home_;
    proxy proxy_ = proxy::make();
    awaiter awaiter_;
};

}}}  // namespace coro::v0::detail
