// The list of a loop's objects that can give descriptors back.
#pragma once

#include <cstddef>

#include <coro/base/detail/export.hpp>
#include <coro/base/detail/intrusive_list.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// As net::room_maker says it. Stands in the list of its loop as long as it lives.
class CORO_EXPORT room_maker : public list_node<room_maker> {
public:
    virtual std::size_t make_room() noexcept = 0;

protected:
    room_maker() noexcept;
    ~room_maker() = default;
};

}}}  // namespace coro::v0::detail
