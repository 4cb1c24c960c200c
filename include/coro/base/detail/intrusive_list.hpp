// A doubly linked list of nodes that live in the objects they link: no allocation, O(1) unlink.
#pragma once

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// One link. `Tag` lets an object stand in several lists at once. Unlinked nodes point to
/// themselves, so that unlink() needs no test and may be repeated.
template <typename Tag>
class list_node {
public:
    list_node() noexcept : next_(this), prev_(this) {}
    list_node(const list_node&) = delete;
    list_node& operator=(const list_node&) = delete;
    ~list_node() { unlink(); }

    [[nodiscard]] bool linked() const noexcept { return next_ != this; }

    void unlink() noexcept {
        next_->prev_ = prev_;
        prev_->next_ = next_;
        next_ = prev_ = this;
    }
    /// Stands where `other` stood, which is unlinked then. Requires: this one is not linked.
    void take_place_of(list_node& other) noexcept {
        if (!other.linked()) return;
        insert_before(other);
        other.unlink();
    }

private:
    template <typename, typename>
    friend class intrusive_list;

    void insert_before(list_node& where) noexcept {
        prev_ = where.prev_;
        next_ = &where;
        where.prev_->next_ = this;
        where.prev_ = this;
    }

    list_node* next_;
    list_node* prev_;
};

/// FIFO list of `T`, which must derive from `list_node<Tag>`. Owns nothing.
template <typename T, typename Tag = T>
class intrusive_list {
    using node = list_node<Tag>;

public:
    intrusive_list() noexcept = default;
    intrusive_list(const intrusive_list&) = delete;
    intrusive_list& operator=(const intrusive_list&) = delete;
    ~intrusive_list() { CORO_ASSERT(empty(), "an intrusive list ended while objects were in it"); }

    [[nodiscard]] bool empty() const noexcept { return !head_.linked(); }

    /// Requires: `item` is not linked.
    void push_back(T& item) noexcept {
        node& link = item;
        CORO_ASSERT(!link.linked(), "an object was put into a list while it was in one");
        link.insert_before(head_);
    }
    void push_front(T& item) noexcept {
        node& link = item;
        CORO_ASSERT(!link.linked(), "an object was put into a list while it was in one");
        link.insert_before(*head_.next_);
    }

    /// The first object, or nullptr.
    [[nodiscard]] T* front() const noexcept {
        return empty() ? nullptr : static_cast<T*>(head_.next_);
    }
    /// The object after `item`, or nullptr.
    [[nodiscard]] T* next(T& item) const noexcept {
        node& link = item;
        return link.next_ == &head_ ? nullptr : static_cast<T*>(link.next_);
    }
    /// Takes the first object out; nullptr when empty.
    T* pop_front() noexcept {
        T* first = front();
        if (first != nullptr) static_cast<node*>(first)->unlink();
        return first;
    }

private:
    node head_;
};

}}}  // namespace coro::v0::detail
