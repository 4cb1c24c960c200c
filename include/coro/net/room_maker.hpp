// room_maker: is asked to give descriptors back when accept finds none left.
#pragma once

#include <cstddef>

#include <coro/runtime/detail/room_maker.hpp>

namespace coro { inline namespace v0 { namespace net {

/// A base for what can give up connections. When descriptors or memory run out, an accept on its
/// loop asks it to make room, before it turns a client away. If it has made some, the accept tries
/// again soon. Belongs to the loop on which it was made.
class room_maker : public detail::room_maker {
public:
    /// Requires: called inside of run().
    room_maker() noexcept = default;

protected:
    ~room_maker() = default;  // nobody owns one by its base

private:
    /// Gives up what it can spare. Returns how many descriptors are free, or will be soon; 0: none.
    /// Called inside of the accept. Must not throw; cannot await.
    std::size_t make_room() noexcept override = 0;
};

}}}  // namespace coro::v0::net
