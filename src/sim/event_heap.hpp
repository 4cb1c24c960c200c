// What will happen in the simulated world, ordered by (virtual time, sequence).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include <coro/base/time.hpp>

#include "sim/sim_socket.hpp"

namespace coro { inline namespace v0 { namespace detail {

enum class sim_event_kind : std::uint8_t {
    bytes_arrive,      ///< `amount` bytes in flight become visible to `socket`
    end_arrives,       ///< the peer's end of stream comes to `socket`
    reset_arrives,     ///< a reset comes to `socket`
    datagram_arrives,  ///< the first of what is on its way from `socket` reaches its place
    refusal_arrives,   ///< nobody is where `socket` has sent to, connected for the `amount`th time
    try_again,         ///< something changed for `socket`: what is parked on it may go on
    connect_arrives,   ///< the attempt `amount` of `socket` reaches the place it names
    connect_succeeds,  ///< the answers to it
    connect_refused,
    connect_expires,
    queue_has_room,    ///< `socket` is a listener: admit who waits
    cancel_receive,    ///< ask the operation with ticket `amount` to end
    cancel_send,
    close_slot,        ///< end what is pending on the slot `amount` and free it
};

struct sim_event {
    time_point at{};
    std::uint64_t sequence = 0;
    sim_event_kind kind{};
    std::uint32_t amount = 0;
    std::shared_ptr<sim_socket> socket;
};

/// Equal times come out in the order in which they were put in: nothing in a simulation depends on
/// how a heap breaks ties.
class event_heap {
public:
    [[nodiscard]] bool empty() const noexcept { return heap_.empty(); }
    /// The time of the nearest event, or `never`.
    [[nodiscard]] time_point next_time() const noexcept {
        return heap_.empty() ? never : heap_.front().at;
    }

    void push(time_point at, sim_event_kind kind, std::shared_ptr<sim_socket> socket,
              std::uint32_t amount) {
        heap_.push_back({at, sequence_++, kind, amount, std::move(socket)});
        std::push_heap(heap_.begin(), heap_.end(), later);
    }

    /// Requires: not empty().
    sim_event pop() {
        std::pop_heap(heap_.begin(), heap_.end(), later);
        sim_event event = std::move(heap_.back());
        heap_.pop_back();
        return event;
    }

private:
    static bool later(const sim_event& left, const sim_event& right) noexcept {
        return left.at != right.at ? left.at > right.at : left.sequence > right.sequence;
    }

    std::vector<sim_event> heap_;
    std::uint64_t sequence_ = 0;
};

}}}  // namespace coro::v0::detail
