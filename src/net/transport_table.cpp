// Transports by handle: one transfer a direction, completions through the loop, closing in order.
#include "net/transport_table.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/net/stream.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The bit of operation::backend_state that is set while the transport is being asked.
constexpr std::uint8_t inside_submit = 1;

std::uint32_t place_of(detail::handle which) noexcept {
    return which.index - detail::handle::first_transport;
}

}  // namespace

transport_table::transport_table(scheduler& loop) noexcept
    : turn_end([](turn_end& work) noexcept { static_cast<transport_table&>(work).sweep(); }),
      loop_(loop) {
    loop.guests.push_back(*this);
    loop.transports = this;
}

transport_table::~transport_table() { loop_.transports = nullptr; }

transport_table& transport_table::here() {
    scheduler& loop = scheduler_of(*current);
    if (loop.transports == nullptr) new transport_table(loop);  // a guest: the loop deletes it
    return *loop.transports;
}

transport_table& transport_table::made_here() noexcept {
    CORO_ASSERT(current != nullptr && scheduler_of(*current).transports != nullptr,
                "a transport was used outside of the loop of its stream");
    return *scheduler_of(*current).transports;
}

detail::handle transport_table::add(std::unique_ptr<net::transport> of) {
    if (free_.empty()) {
        // The lists grow first: closing must not need memory.
        if (const std::size_t size = entries_.size(); free_.capacity() <= size) {
            free_.reserve(2 * size + 1);
            closing_.reserve(2 * size + 1);
        }
        entries_.push_back(std::make_unique<entry>());
        free_.push_back(static_cast<std::uint32_t>(entries_.size() - 1));
    }
    const std::uint32_t place = free_.back();
    free_.pop_back();
    entry& made = *entries_[place];
    const std::uint32_t generation = made.generation + 1 == 0 ? 1 : made.generation + 1;
    made = entry();
    made.generation = generation;
    made.transport = std::move(of);
    ++loop_.beside.streams;
    return {place + detail::handle::first_transport, generation};
}

transport_table::entry* transport_table::entry_of(detail::handle which) const noexcept {
    const std::uint32_t place = place_of(which);
    if (place >= entries_.size()) return nullptr;
    entry* found = entries_[place].get();
    return found->generation == which.generation && found->transport ? found : nullptr;
}

operation*& transport_table::pending(entry& of, const operation& op) noexcept {
    return sends(op.code) ? of.sending : of.receiving;
}

bool transport_table::submit(operation& op) noexcept {
    entry* to = entry_of(op.target);
    op.phase = operation_phase::completed;
    if (to == nullptr || to->closing) {
        op.result = result_closed;
        return true;
    }
    operation*& place = pending(*to, op);
    if (place != nullptr) {
        op.result = result_busy;
        return true;
    }
    place = &op;
    op.phase = operation_phase::submitted;
    op.backend_state = inside_submit;
    op.result = 0;
    if (op.code == opcode::receive_leased) op.lease_data = nullptr;
    ++loop_.beside.transfers;
    to->transport->submit(net::transfer(op));
    op.backend_state &= static_cast<std::uint8_t>(~inside_submit);
    return op.phase == operation_phase::completed;
}

void transport_table::cancel(operation& op) noexcept {
    if (op.phase != operation_phase::submitted) return;
    entry_of(op.target)->transport->cancel(net::transfer(op));
}

void transport_table::completed(operation& op, std::int32_t result) noexcept {
    CORO_ASSERT(op.phase == operation_phase::submitted,
                "a transport completed a transfer that it had completed already");
    entry& of = *entry_of(op.target);
    if (result == -ECANCELED && of.closing) result = result_closed;
    pending(of, op) = nullptr;
    --loop_.beside.transfers;
    if (op.code == opcode::receive_leased && result <= 0 && op.lease_data != nullptr) {
        loop_.poller().return_lease(op.lease_id, op.lease_data, op.lease_from_heap);
        op.lease_data = nullptr;
    }
    op.result = result;
    op.phase = operation_phase::completed;
    if ((op.backend_state & inside_submit) == 0) loop_.completed_elsewhere(op);
    if (of.closing) sweep_later();
}

void transport_table::failed(operation& op, std::error_code error) noexcept {
    const auto number = static_cast<std::int32_t>(error.value());
    std::int32_t result = result_other;
    if (error == errc::closed) result = result_closed;
    else if (error == errc::busy) result = result_busy;
    else if (error == errc::broken) result = result_broken;
    else if (error == errc::limit_exceeded) result = result_limit;
    else if ((error.category() == std::generic_category() ||
              error.category() == std::system_category()) &&
             number != ECANCELED)  // which would mean that the task was cancelled
        result = -number;
    CORO_ASSERT(error.value() != 0, "a transport said that a transfer had failed without an error");
    if (result == result_other) entry_of(op.target)->error = error;
    completed(op, result);
}

void transport_table::close(detail::handle which, bool by_reset) noexcept {
    entry* of = entry_of(which);
    if (of == nullptr || of->closing) return;
    of->closing = true;
    closing_.push_back(place_of(which));
    for (operation* op : {of->receiving, of->sending})
        if (op != nullptr) cancel(*op);
    if (by_reset) of->transport->abort();
    else of->transport->close();
    sweep_later();
}

void transport_table::relay_ended() noexcept {
    if (!closing_.empty()) sweep_later();
}

void transport_table::sweep() noexcept {
    for (std::size_t i = 0; i < closing_.size();) {
        const std::uint32_t place = closing_[i];
        entry& of = *entries_[place];
        if (of.receiving != nullptr || of.sending != nullptr ||
            of.transport->relays_pending_ != 0) {
            ++i;
            continue;
        }
        closing_[i] = closing_.back();
        closing_.pop_back();
        free_.push_back(place);
        --loop_.beside.streams;
        // It may own another stream and close it, which appends to closing_.
        const std::unique_ptr<net::transport> gone = std::move(of.transport);
    }
}

net::transport* transport_table::find(detail::handle which) noexcept {
    entry* of = entry_of(which);
    return of == nullptr || of->closing ? nullptr : of->transport.get();
}

socket_notes* transport_table::notes(detail::handle which) noexcept {
    entry* of = entry_of(which);
    return of == nullptr || of->closing ? nullptr : &of->notes;
}

bool transport_table::has_input(detail::handle which) noexcept {
    const entry* of = entry_of(which);
    return of == nullptr || of->closing || of->receiving != nullptr || of->transport->has_input();
}

detail::handle transport_table::below(const net::transport& of) noexcept {
    if (of.below_ == nullptr) return {};
    const socket_ref& socket = stream_access::ref(*of.below_);
    return is_here(socket.loop) ? socket.handle : detail::handle{};
}

detail::handle transport_table::lowest_below(detail::handle which) noexcept {
    while (which.is_transport()) {
        const net::transport* of = find(which);
        const detail::handle next = of == nullptr ? detail::handle{} : below(*of);
        if (!next) break;
        which = next;
    }
    return which;
}

bool transport_table::is_reset_when_failed(detail::handle which) noexcept {
    while (which.is_transport()) {
        const entry* of = entry_of(which);
        if (of != nullptr && of->notes.reset_failed) return true;
        which = of != nullptr ? below(*of->transport) : detail::handle{};
    }
    const socket_notes* of = loop_.poller().notes(which);
    return of != nullptr && of->reset_failed;
}

bool submit_to_transport(operation& op, scheduler& loop) noexcept {
    if (!loop.transports->submit(op)) return true;
    if (loop.inline_budget > 0) {
        loop.inline_budget -= 1 + std::max(op.result, 0) / scheduler::inline_bytes_per_answer;
        return false;
    }
    loop.completed_elsewhere(op);
    return true;
}

std::string_view transport_table::describe(detail::handle which) const noexcept {
    const entry* of = entry_of(which);
    return of == nullptr ? std::string_view() : of->transport->describe();
}

std::error_code transport_table::other_error(detail::handle which) const noexcept {
    const entry* of = entry_of(which);
    return of == nullptr || !of->error ? make_error_code(errc::closed) : of->error;
}

}}}  // namespace coro::v0::detail
