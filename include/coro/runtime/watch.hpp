// watch<T>: a value that changes, of which readers want the latest.
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/home_values.hpp>

namespace coro { inline namespace v0 {

/// Holds the latest value: a configuration, a state of health. Each reader gets the value that is
/// there when it looks, and waits until there is a newer one. What came in between it never sees; a
/// broadcast is for readers that want all.
///     watch<settings> current(load());
///     watch<settings>::reader seen(current);                    // in each task that reads
///     while (const auto now = co_await seen.next()) apply(*now);
/// Values are shared and not copied, and a reader keeps the one that it has.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may set(),
/// close() and read, which go there as messages; the other members abort there. Destroying it while
/// a task waits aborts. It must outlive its readers, and the tasks that use it on other loops.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class watch {
    class next_awaiter;

public:
    class reader;
    using pointer = std::shared_ptr<const T>;

    /// Throws: std::bad_alloc; what moving a T throws.
    explicit watch(T first)
        : remote_close_(*this), remote_put_(*this),
          value_(std::make_shared<const T>(std::move(first))) {}
    watch(const watch&) = delete;
    watch& operator=(const watch&) = delete;
    ~watch() { CORO_ASSERT(waiters_.empty(), "a watch was destroyed while a task waits for it"); }

    /// From now on `value` is the latest one. All readers that wait become ready, in the order in
    /// which they came. Resumes nobody in place. After close() it is dropped. From another loop it
    /// takes effect when it has come here: after what that loop has set before.
    /// Throws: std::bad_alloc; what moving a T throws.
    void set(T value) { set(std::make_shared<const T>(std::move(value))); }
    /// The same of a value that is shared already. Requires: not nullptr (aborts).
    void set(pointer value) {
        CORO_ASSERT(value != nullptr, "a watch was set to no value");
        if (home_.is_elsewhere()) [[unlikely]]
            return remote_put_.send(home_.loop(), std::move(value));
        put(std::move(value));
    }

    /// The latest value.
    [[nodiscard]] pointer get() const noexcept {
        home_.check();
        return value_;
    }
    /// Ends it: readers get what they have not seen, then the end. Idempotent; resumes nobody in
    /// place.
    void close() noexcept {
        if (home_.is_elsewhere()) [[unlikely]] return remote_close_.send(home_.loop());
        closed_ = true;
        wake_all();
    }

private:
    void put(pointer&& value) noexcept {
        if (closed_) return;
        value_.swap(value);
        ++version_;
        wake_all();
    }
    /// A grant may withdraw another wait of this list (a sibling in when_any): always ask for the
    /// first.
    void wake_all() noexcept {
        while (next_awaiter* first = waiters_.pop_front()) {
            static_cast<void>(first->try_now());
            first->end_granted();
        }
    }

    detail::home_loop home_;
    detail::home_call<&watch::close> remote_close_;
    detail::home_values<&watch::put> remote_put_;
    std::uint64_t version_ = 1;
    bool closed_ = false;
    pointer value_;
    detail::intrusive_list<next_awaiter> waiters_;
};

/// One that reads, and what it has seen. Copies have seen the same. For one task at a time.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class watch<T>::reader {
public:
    explicit reader(watch& of) noexcept : of_(&of) {}

    /// Returns `std::shared_ptr<const T>`: the latest value, which this reader has not seen. At
    /// first that is the one that is there. nullptr once the watch is closed, and it has seen the
    /// last value.
    /// Suspends until there is one, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` nothing counts as seen.
    [[nodiscard("co_await it")]] next_awaiter next() noexcept { return next_awaiter(*of_, seen_); }

private:
    watch* of_;
    std::uint64_t seen_ = 0;
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] watch<T>::next_awaiter final
    : public detail::library_awaiter<next_awaiter>, public detail::list_node<next_awaiter> {
public:
    next_awaiter(watch& of, std::uint64_t& seen) noexcept
        : watch_(of), seen_(seen), version_(seen) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return watch_.home_; }
    bool try_now() noexcept {
        if (version_ == watch_.version_) return watch_.closed_;
        version_ = watch_.version_;
        value_ = watch_.value_;
        return true;
    }
    bool start() noexcept {
        watch_.waiters_.push_back(*this);
        return true;
    }
    [[nodiscard]] pointer finish() noexcept {  // the watch may be gone
        seen_ = version_;
        return std::move(value_);
    }

    void cancel_wait() noexcept override {
        this->unlink();
        this->end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        out.write("wait for a change of watch");
    }

private:
    friend class watch;
    watch& watch_;
    std::uint64_t& seen_;    ///< of the reader, on its loop: home must not look at it
    std::uint64_t version_;
    pointer value_;
};

}}  // namespace coro::v0
