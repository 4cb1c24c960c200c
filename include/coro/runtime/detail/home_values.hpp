// Values that an object is told from other loops.
#pragma once

#include <atomic>
#include <cstddef>
#include <utility>

#include <coro/core/detail/home_loop.hpp>
#include <coro/core/detail/loop.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Each goes there as a message of its own, which takes a block of memory. They arrive in the order
/// in which a loop sends them.
template <auto Arrived>
class home_values;
template <typename Owner, typename Value, void (Owner::*Arrived)(Value&&) noexcept>
class home_values<Arrived> {
public:
    explicit home_values(Owner& of) noexcept : owner_(of) {}
    ~home_values() { check_no_message(under_way_.load(std::memory_order_relaxed) == 0); }
    home_values(const home_values&) = delete;
    home_values& operator=(const home_values&) = delete;

    /// Throws: std::bad_alloc; then `value` is whole.
    void send(detail::loop& home, Value&& value) {
        void* const memory = allocate_block(sizeof(message));
        under_way_.fetch_add(1, std::memory_order_relaxed);
        home.post(*::new (memory) message(*this, std::move(value)));
    }

private:
    struct message : posted {
        message(home_values& to, Value&& what) noexcept : of(to), value(std::move(what)) {
            run = [](posted& self) noexcept {
                auto* const mine = static_cast<message*>(&self);
                home_values& values = mine->of;
                (values.owner_.*Arrived)(std::move(mine->value));
                mine->~message();
                free_block(mine, sizeof(message));
                values.under_way_.fetch_sub(1, std::memory_order_relaxed);
            };
        }
        home_values& of;
        Value value;
    };

    Owner& owner_;
    std::atomic<std::size_t> under_way_{0};
};

}}}  // namespace coro::v0::detail
