// The record beside a child of a group, for a group that does not know its type.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

namespace coro { inline namespace v0 { namespace detail {

/// The functions of a companion for a group that does not know its type.
struct companion_kind {
    std::size_t size;
    void (*make)(void* where, void* arguments);
    void (*started)(void* self, std::uint32_t number) noexcept;  ///< nullptr: need not be told
    void (*failed)(void* self, const std::exception_ptr& error) noexcept;
    void (*destroy)(void* self) noexcept;
};

template <typename Companion>
constexpr auto started_of() noexcept -> void (*)(void*, std::uint32_t) noexcept {
    if constexpr (requires(Companion& it, std::uint32_t number) {
                      { it.started(number) } noexcept;
                  })
        return [](void* self, std::uint32_t number) noexcept {
            static_cast<Companion*>(self)->started(number);
        };
    else
        return nullptr;
}

/// `Maker(where)` makes the companion there.
template <typename Companion, typename Maker>
constexpr companion_kind companion_kind_of() noexcept {
    return {.size = sizeof(Companion),
            .make = [](void* where, void* by) { (*static_cast<Maker*>(by))(where); },
            .started = started_of<Companion>(),
            .failed = [](void* self, const std::exception_ptr& error) noexcept {
                static_cast<Companion*>(self)->failed(error);
            },
            .destroy = [](void* self) noexcept { static_cast<Companion*>(self)->~Companion(); }};
}

}}}  // namespace coro::v0::detail
