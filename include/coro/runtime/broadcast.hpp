// broadcast<T>: each item goes to every reader.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/wait.hpp>
#include <coro/runtime/detail/home_values.hpp>

namespace coro { inline namespace v0 {

/// Sends each item to all readers there are: news, the lines of a chat. It keeps the last
/// `capacity` items for readers that are behind, and a sender never waits for a reader. A reader
/// that is further behind has lost items, and the next one that it gets says how many.
///     broadcast<std::string> lines(64);
///     auto mine = lines.subscribe();                                  // from now on
///     while (const auto next = co_await mine.receive()) show(next->missed, *next->item);
/// Items are shared and not copied.
///
/// Belongs to the loop on which it was made. If that was outside of run(), or its run has ended, it
/// belongs to the loop of the task that first uses it. Tasks of other loops of the run may send(),
/// close() and receive(), which go there as messages; the other members abort there. A reader that
/// was made here may be handed to them. Destroying it while a task waits aborts. It must outlive
/// its readers, and the tasks that use it on other loops.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class broadcast {
    class receive_awaiter;

public:
    class reader;
    using pointer = std::shared_ptr<const T>;
    struct received {
        pointer item;
        std::uint64_t missed = 0;  ///< items before it that this reader was too slow for
    };

    /// Requires: capacity >= 1 (aborts). Throws: std::bad_alloc.
    explicit broadcast(std::size_t capacity)
        : remote_close_(*this), remote_put_(*this), capacity_(capacity),
          items_(capacity == 0 ? nullptr : new pointer[capacity]) {
        CORO_ASSERT(capacity > 0, "a broadcast that keeps 0 items gives none to anybody");
    }
    broadcast(const broadcast&) = delete;
    broadcast& operator=(const broadcast&) = delete;
    ~broadcast() {
        CORO_ASSERT(waiters_.empty(), "a broadcast was destroyed while a task waits for it");
    }

    /// Sends `item` to all readers. Those that wait become ready, in the order in which they came.
    /// Never waits, and resumes nobody in place. After close() it is dropped. From another loop it
    /// is sent when it has come here: after what that loop has sent before.
    /// Throws: std::bad_alloc; what moving a T throws.
    void send(T item) {
        pointer shared = std::make_shared<const T>(std::move(item));
        if (home_.is_elsewhere()) [[unlikely]]
            return remote_put_.send(home_.loop(), std::move(shared));
        put(std::move(shared));
    }

    /// A reader of what is sent from now on.
    [[nodiscard]] reader subscribe() noexcept {
        home_.check();
        return reader(*this, sent_);
    }
    /// Ends it: readers get what they have not had, then the end. Idempotent; resumes nobody in
    /// place.
    void close() noexcept {
        if (home_.is_elsewhere()) [[unlikely]] return remote_close_.send(home_.loop());
        closed_ = true;
        wake_all();
    }
    /// Items that a reader may be behind without a loss.
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

private:
    void put(pointer&& item) noexcept {
        if (closed_) return;
        items_[sent_ % capacity_].swap(item);
        ++sent_;
        wake_all();
    }
    /// A grant may withdraw another wait of this list (a sibling in when_any): always ask for the
    /// first.
    void wake_all() noexcept {
        while (receive_awaiter* first = waiters_.pop_front()) {
            static_cast<void>(first->try_now());
            first->end_granted();
        }
    }

    detail::home_loop home_;
    detail::home_call<&broadcast::close> remote_close_;
    detail::home_values<&broadcast::put> remote_put_;
    const std::size_t capacity_;
    std::unique_ptr<pointer[]> items_;
    std::uint64_t sent_ = 0;
    bool closed_ = false;
    detail::intrusive_list<receive_awaiter> waiters_;
};

/// One that reads, and how far it is. Copies are as far. For one task at a time.
template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class broadcast<T>::reader {
public:
    /// Returns `std::optional<received>`: the next item, and how many were lost before it. Empty
    /// once the broadcast is closed, and this reader has had all.
    /// Suspends until there is one, or through the run queue for fairness; resumes on this loop.
    /// Throws: cancelled. Cancel safety: on `cancelled` the item is still to come.
    [[nodiscard("co_await it")]] receive_awaiter receive() noexcept {
        return receive_awaiter(*of_, next_);
    }

private:
    friend class broadcast;
    reader(broadcast& of, std::uint64_t next) noexcept : of_(&of), next_(next) {}

    broadcast* of_;
    std::uint64_t next_;
};

template <typename T>
    requires std::is_object_v<T> && std::same_as<T, std::remove_cv_t<T>>
class [[nodiscard("co_await it")]] broadcast<T>::receive_awaiter final
    : public detail::library_awaiter<receive_awaiter>, public detail::list_node<receive_awaiter> {
public:
    receive_awaiter(broadcast& of, std::uint64_t& next) noexcept
        : from_(of), next_(next), wanted_(next) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return from_.home_; }
    bool try_now() noexcept {
        if (wanted_ == from_.sent_) return from_.closed_;
        const std::uint64_t oldest =
            from_.sent_ > from_.capacity_ ? from_.sent_ - from_.capacity_ : 0;
        const std::uint64_t at = wanted_ < oldest ? oldest : wanted_;
        got_.emplace(received{from_.items_[at % from_.capacity_], at - wanted_});
        wanted_ = at + 1;
        return true;
    }
    bool start() noexcept {
        from_.waiters_.push_back(*this);
        return true;
    }
    [[nodiscard]] std::optional<received> finish() noexcept {  // the broadcast may be gone
        next_ = wanted_;
        return std::move(got_);
    }

    void cancel_wait() noexcept override {
        this->unlink();
        this->end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        out.write("receive from broadcast");
    }

private:
    friend class broadcast;
    broadcast& from_;
    std::uint64_t& next_;    ///< of the reader, on its loop: home must not look at it
    std::uint64_t wanted_;
    std::optional<received> got_;
};

}}  // namespace coro::v0
