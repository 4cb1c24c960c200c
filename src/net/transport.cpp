// What a transport does with the transfers of tasks, and with requests of its own.
#include <coro/net/transport.hpp>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <span>

#include <coro/base/detail/assert.hpp>
#include <coro/net/detail/stream_access.hpp>
#include <coro/net/stream.hpp>

#include "net/io_failure.hpp"
#include "net/transport_table.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

using detail::io_slice;
using detail::opcode;
using detail::operation;
using detail::transport_table;

bool is_vectored(opcode code) noexcept {
    return code == opcode::receive_vectored || code == opcode::send_vectored;
}

/// What of the buffers of `op` follows its first `from` bytes, up to the end of the buffer in which
/// that begins.
mutable_bytes rest_of(const operation& op, std::size_t from) noexcept {
    if (!is_vectored(op.code)) {
        const bool leased = op.code == opcode::receive_leased;
        auto* const begin = static_cast<std::byte*>(leased ? op.lease_data : op.buffer.data);
        return {begin + from, (leased ? op.most : op.buffer.size) - from};
    }
    for (const io_slice& slice : std::span(op.slices.first, op.slices.count)) {
        if (from < slice.size)
            return {static_cast<std::byte*>(slice.data) + from, slice.size - from};
        from -= slice.size;
    }
    return {};
}

mutable_bytes at_most(mutable_bytes piece, std::size_t moved) noexcept {
    return piece.first(std::min(piece.size(), detail::most_bytes_at_once - moved));
}

}  // namespace

// --- transfer

bool transfer::sends() const noexcept { return detail::sends(of_->code); }

mutable_bytes transfer::room() const noexcept {
    if (of_->code == opcode::receive_leased && of_->lease_data == nullptr) {
        const std::size_t size = transport_table::made_here().loop().poller().lend(*of_);
        if (size == 0) {
            of_->backend_state |= detail::no_buffer;
            return {};
        }
        of_->most = std::min(of_->most, size);
    }
    return at_most(rest_of(*of_, moved()), moved());
}

const_bytes transfer::rest() const noexcept { return at_most(rest_of(*of_, moved()), moved()); }

std::size_t transfer::put(const_bytes from) const noexcept {
    const std::size_t before = from.size();
    while (!from.empty()) {
        const mutable_bytes to = room();
        if (to.empty()) break;
        const std::size_t count = std::min(to.size(), from.size());
        std::memcpy(to.data(), from.data(), count);
        moved(count);
        from = from.subspan(count);
    }
    return before - from.size();
}

std::size_t transfer::take(mutable_bytes into) const noexcept {
    const std::size_t before = into.size();
    while (!into.empty()) {
        const const_bytes from = rest();
        if (from.empty()) break;
        const std::size_t count = std::min(from.size(), into.size());
        std::memcpy(into.data(), from.data(), count);
        moved(count);
        into = into.subspan(count);
    }
    return before - into.size();
}

void transfer::complete() const noexcept {
    operation& op = *of_;
    CORO_ASSERT(op.result != 0 || !sends(),
                "a transport completed a write of which it has taken no byte");
    const bool unlent = op.result == 0 && (op.backend_state & detail::no_buffer) != 0;
    transport_table::made_here().completed(op, unlent ? detail::result_limit : op.result);
}

void transfer::fail(std::error_code error) const noexcept {
    if (moved() != 0) return complete();
    transport_table::made_here().failed(*of_, error);
}

void transfer::withdraw() const noexcept {
    if (moved() != 0) return complete();
    transport_table::made_here().completed(*of_, -ECANCELED);
}

// --- transport

bool transport::has_input() const noexcept { return below_ == nullptr || below_->has_input(); }

// --- relay

relay::relay(transport& of, stream& below) noexcept
    : operation(opcode::receive), of_(of), below_(below) {
    of.below_ = &below;
    advance = [](operation& op) noexcept {
        auto& self = static_cast<relay&>(op);
        --self.of_.relays_pending_;
        self.has_ended();
        transport_table::made_here().relay_ended();
        return false;  // nobody owns it
    };
}

relay::~relay() { give_back_lease(); }

/// Of a leased read whose answer was not passed on.
void relay::give_back_lease() noexcept {
    if (code != opcode::receive_leased || lease_data == nullptr) return;
    detail::poller& from = transport_table::made_here().loop().poller();
    from.return_lease(lease_id, lease_data, lease_from_heap);
    lease_data = nullptr;
}

void relay::forward(transfer what) noexcept {
    CORO_ASSERT(what.moved() == 0 &&
                    (what.of_->code != opcode::receive_leased || what.of_->lease_data == nullptr),
                "a transport forwarded a transfer of which it had moved a part itself");
    give_back_lease();
    for_ = what;
    code = what.of_->code;
    if (code == opcode::receive_leased) most = what.of_->most;
    else if (is_vectored(code)) slices = what.of_->slices;
    else buffer = what.of_->buffer;
    ask();
}

void relay::receive(mutable_bytes into) noexcept {
    give_back_lease();
    for_ = {};
    code = opcode::receive;
    buffer = {into.data(), into.size()};
    ask();
}

void relay::send(const_bytes from) noexcept {
    give_back_lease();
    for_ = {};
    code = opcode::send;
    buffer = {const_cast<std::byte*>(from.data()), from.size()};
    ask();
}

void relay::ask() noexcept {
    const detail::socket_ref& socket = detail::stream_access::ref(below_);
    detail::check_home(socket);
    CORO_ASSERT(!is_pending(), "a relay was given a request while another one is pending");
    target = socket.handle;
    pending_ = true;
    lease_data = nullptr;
    lease_id = 0;
    lease_from_heap = false;
    backend_state = 0;
    if (detail::submit_unowned(*this, transport_table::made_here().loop()))
        ++of_.relays_pending_;
    else has_ended();
}

/// A transport that asks again from inside of ended() is told in a loop, not in a recursion.
void relay::has_ended() noexcept {
    again_ = true;
    if (telling_) return;
    telling_ = true;
    while (again_) {
        again_ = false;
        pending_ = false;
        of_.ended(*this);
    }
    telling_ = false;
}

void relay::cancel() noexcept {
    if (phase == detail::operation_phase::submitted)
        detail::cancel_io(*this, transport_table::made_here().loop());
}

std::error_code relay::error() const noexcept {
    if (result >= 0) return {};
    return detail::error_of(result, {&transport_table::made_here().loop(), target});
}

const_bytes relay::piece(std::size_t from) const noexcept {
    if (from >= moved()) return {};
    const mutable_bytes rest = rest_of(*this, from);
    return rest.first(std::min(rest.size(), moved() - from));
}

void relay::pass_on() noexcept {
    if (!for_) return;
    operation& to = *std::exchange(for_, {}).of_;
    if (result == detail::result_other) {
        transport_table::made_here().failed(to, error());
        return;
    }
    to.lease_from_heap = lease_from_heap;
    to.lease_id = lease_id;
    if (code == opcode::receive_leased) to.lease_data = std::exchange(lease_data, nullptr);
    transport_table::made_here().completed(to, result);
}

}}}  // namespace coro::v0::net
