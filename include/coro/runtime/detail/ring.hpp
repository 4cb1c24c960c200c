// The items of a channel: a ring that grows.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/detail/intrusive_list.hpp>
#include <coro/base/error.hpp>
#include <coro/core/detail/lifetime_checks.hpp>
#include <coro/core/detail/wait.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A queue of at most `capacity` items in memory that is allocated once.
template <typename T>
class ring {
public:
    explicit ring(std::size_t capacity)
        : slots_(capacity == 0 ? nullptr : std::allocator<T>().allocate(capacity)),
          capacity_(capacity) {}
    ring(const ring&) = delete;
    ring& operator=(const ring&) = delete;
    ~ring() {
        for (; size_ != 0; --size_) std::destroy_at(advance());
        if (slots_ != nullptr) std::allocator<T>().deallocate(slots_, capacity_);
    }

    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }
    [[nodiscard]] bool full() const noexcept { return size_ == capacity_; }

    /// Requires: not full.
    void push(T&& item) noexcept {
        const std::size_t room = capacity_ - first_;
        std::construct_at(slots_ + (size_ < room ? first_ + size_ : size_ - room), std::move(item));
        ++size_;
    }
    /// Requires: not empty.
    void pop_into(std::optional<T>& into) noexcept {
        T* slot = advance();
        into.emplace(std::move(*slot));
        std::destroy_at(slot);
        --size_;
    }

private:
    T* advance() noexcept {
        T* slot = slots_ + first_;
        if (++first_ == capacity_) first_ = 0;
        return slot;
    }

    T* slots_;
    std::size_t capacity_;
    std::size_t first_ = 0;
    std::size_t size_ = 0;
};

}}}  // namespace coro::v0::detail
