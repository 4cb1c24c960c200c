// channel<T>: a bounded queue between tasks, with an orderly end.
#pragma once

#include <concepts>
#include <cstddef>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/runtime/detail/ring.hpp>

namespace coro { inline namespace v0 {

/// Carries items from tasks to tasks, first in, first out, at most `capacity` of them on the way.
/// With capacity 0 (a rendezvous) a send ends when a receive has taken its item. Waiting senders
/// are granted in the order in which they came, and so are waiting receivers. Nothing is allocated
/// after the constructor.
///
/// After close() nothing can be sent, and receivers get what is left, then the end:
///     while (auto item = co_await jobs.receive()) work_on(*item);
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may send(),
/// receive() and close(). These go there as messages, and that loop's thread then moves the items.
/// The other members abort there. Destroying it while a task waits aborts; items left inside are
/// destroyed with it.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class channel {
    static_assert(std::is_nothrow_move_constructible_v<T> && std::is_nothrow_destructible_v<T>,
                  "coro: a channel moves items from task to task, which must not throw: give the "
                  "type a noexcept move constructor, or send a std::unique_ptr to it");

    class send_awaiter;
    class moving_send_awaiter;
    class copying_send_awaiter;
    class receive_awaiter;

public:
    using value_type = T;

    /// Throws: std::bad_alloc (only here).
    explicit channel(std::size_t capacity) : remote_close_(*this), items_(capacity) {}
    channel(const channel&) = delete;
    channel& operator=(const channel&) = delete;
    ~channel() {
        CORO_ASSERT(senders_.empty() && receivers_.empty(),
                    "a channel was destroyed while a task waits for it: close it and let them end");
    }

    /// Returns nothing. Sends `item`: hands it to the receiver that has waited longest, or queues
    /// it.
    /// Requires: it is awaited in the expression that makes it, so that `item` outlives the wait.
    /// Suspends while the channel is full, or through the run queue for fairness; resumes on this
    /// loop.
    /// Throws: io_error (closed: before, or while it waited); cancelled.
    /// Cancel safety: `item` is moved from only when it has been taken; when this throws, it is
    /// whole.
    [[nodiscard("co_await it")]] moving_send_awaiter send(
        T&& item CORO_LIFETIMEBOUND) noexcept {
        static_assert(!detail::unsafe_aggregate<T>,
                      "coro: g++ 12 may destroy a temporary aggregate with a non-trivial "
                      "destructor twice in a co_await expression: give the type a constructor, or "
                      "specialise coro::trusted_aggregate<T> if you never send a braced temporary");
        return moving_send_awaiter(*this, item);
    }
    /// Returns nothing. The same with a copy, made at once.
    [[nodiscard("co_await it")]] copying_send_awaiter send(const T& item)
        requires std::copy_constructible<T>
    {
        return copying_send_awaiter(*this, item);
    }

    /// Returns `std::optional<T>`: the next item; empty once the channel is closed and all items
    /// have been taken.
    /// Suspends while the channel is empty, or through the run queue for fairness; resumes on this
    /// loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` no item has been taken.
    [[nodiscard("co_await it")]] receive_awaiter receive() noexcept {
        return receive_awaiter(*this);
    }

    /// Sends if that needs no wait. False: it is full (at capacity 0: no receiver waits) or closed,
    /// and `item` is whole. Never suspends.
    [[nodiscard]] bool try_send(T&& item) noexcept {
        home_.check();
        return !closed_ && accept(item);
    }
    [[nodiscard]] bool try_send(const T& item)
        requires std::copy_constructible<T>
    {
        T copy(item);
        return try_send(std::move(copy));
    }

    /// Receives if that needs no wait; is_closed() tells "nothing any more" from "nothing now".
    /// Never suspends.
    [[nodiscard]] std::optional<T> try_receive() noexcept {
        home_.check();
        std::optional<T> item;
        static_cast<void>(take(item));
        return item;
    }

    /// Ends the sending: waiting senders throw errc::closed and keep their items, waiting receivers
    /// get the end. Idempotent; resumes nobody in place.
    void close() noexcept {
        if (home_.is_elsewhere()) [[unlikely]] return remote_close_.send(home_.loop());
        closed_ = true;
        // A grant may withdraw another wait of these lists: always ask for the first.
        while (receive_awaiter* first = receivers_.pop_front()) first->end_granted();
        while (send_awaiter* first = senders_.pop_front()) first->reject();
    }
    [[nodiscard]] bool is_closed() const noexcept {
        home_.check();
        return closed_;
    }

    /// Items that are queued; those of waiting senders do not count.
    [[nodiscard]] std::size_t size() const noexcept {
        home_.check();
        return items_.size();
    }
    [[nodiscard]] std::size_t capacity() const noexcept { return items_.capacity(); }

private:
    /// Takes `item` if a receiver waits or there is room. Requires: not closed. Senders wait only
    /// while the queue is full, so a sender that finds room has overtaken nobody.
    bool accept(T& item) noexcept {
        if (receive_awaiter* first = receivers_.pop_front()) {
            first->give(item);
            return true;
        }
        if (items_.full()) return false;
        items_.push(std::move(item));
        return true;
    }

    /// Puts the next item into `into`; true also when there will never be one. The place that an
    /// item leaves in the queue goes to the sender that has waited longest.
    bool take(std::optional<T>& into) noexcept {
        if (items_.size() != 0) {
            items_.pop_into(into);
            if (send_awaiter* first = senders_.pop_front()) {
                items_.push(first->surrender());
                first->end_granted();
            }
            return true;
        }
        if (send_awaiter* first = senders_.pop_front()) {
            into.emplace(first->surrender());
            first->end_granted();
            return true;
        }
        return closed_;
    }

    detail::home_loop home_;
    detail::home_call<&channel::close> remote_close_;
    bool closed_ = false;
    detail::ring<T> items_;
    detail::intrusive_list<send_awaiter> senders_;       ///< only while items_ is full
    detail::intrusive_list<receive_awaiter> receivers_;  ///< only while items_ is empty
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] channel<T>::send_awaiter
    : public detail::library_awaiter<send_awaiter>, public detail::list_node<send_awaiter> {
public:
    send_awaiter(channel& to, T& item) noexcept : channel_(to), item_(item) {}
    virtual ~send_awaiter() = default;

    [[nodiscard]] detail::home_loop& home() const noexcept { return channel_.home_; }
    bool try_now() noexcept {
        rejected_ = channel_.closed_;
        return rejected_ || channel_.accept(item_);
    }
    bool start() noexcept {
        channel_.senders_.push_back(*this);
        return true;
    }
    void finish() const {  // the channel may be gone
        if (rejected_) throw io_error(errc::closed, "send", "channel");
    }

    void cancel_wait() noexcept override {
        this->unlink();
        this->end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override { out.write("send to channel"); }

private:
    friend class channel;

    T&& surrender() noexcept { return std::move(item_); }
    void reject() noexcept {
        rejected_ = true;
        this->end_granted();
    }

    channel& channel_;
    T& item_;  ///< the sender's own until it is surrendered
    bool rejected_ = false;
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] channel<T>::moving_send_awaiter final
    : public send_awaiter, public detail::bound_awaiter_tag {
public:
    using send_awaiter::send_awaiter;
};

namespace detail {

/// A base, so that the copy exists before the awaiter that refers to it.
template <typename T>
class copied_item {
protected:
    explicit copied_item(const T& item) : copy_(item) {}
    ~copied_item() = default;
    T copy_;
};

}  // namespace detail

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] channel<T>::copying_send_awaiter final
    : private detail::copied_item<T>, public send_awaiter {
public:
    copying_send_awaiter(channel& to, const T& item)
        : detail::copied_item<T>(item), send_awaiter(to, this->copy_) {}
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] channel<T>::receive_awaiter final
    : public detail::library_awaiter<receive_awaiter>, public detail::list_node<receive_awaiter> {
public:
    explicit receive_awaiter(channel& from) noexcept : channel_(from) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return channel_.home_; }
    bool try_now() noexcept {
        return channel_.take(item_);
    }
    bool start() noexcept {
        channel_.receivers_.push_back(*this);
        return true;
    }
    [[nodiscard]] std::optional<T> finish() noexcept {  // the channel may be gone
        return std::exchange(item_, std::nullopt);
    }

    void cancel_wait() noexcept override {
        this->unlink();
        this->end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        out.write("receive from channel");
    }

private:
    friend class channel;

    void give(T& item) noexcept {
        item_.emplace(std::move(item));
        this->end_granted();
    }

    channel& channel_;
    std::optional<T> item_;
};

}}  // namespace coro::v0
