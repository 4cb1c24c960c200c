// The beginning and the end of a stream, the same for every kind.
#include <coro/net/stream.hpp>

#include <array>
#include <utility>

#include <coro/core/as_result.hpp>
#include <coro/net/address.hpp>
#include <coro/net/transport.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/timeout.hpp>

#include "net/io_failure.hpp"
#include "net/transport_table.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

using detail::scheduler;
using detail::scheduler_of;
using detail::socket_ref;
using detail::transport_table;

scheduler& loop_of(const socket_ref& socket) noexcept {
    detail::check_home(socket);
    return scheduler_of(*detail::current);
}

}  // namespace

stream::stream(std::unique_ptr<transport> of) {
    CORO_ASSERT(detail::current != nullptr, "a stream was made of a transport outside of run()");
    CORO_ASSERT(of != nullptr, "a stream was made of no transport");
    socket_ = detail::owned_socket({detail::current, transport_table::here().add(std::move(of))});
}

void stream::shutdown_send() {
    const socket_ref socket = socket_.ref();
    if (!socket.handle) throw io_error(errc::closed, "shutdown");
    scheduler& loop = loop_of(socket);
    if (socket.handle.is_transport()) {
        transport* of = loop.transports->find(socket.handle);
        if (of == nullptr) throw io_error(errc::closed, "shutdown");
        return of->shutdown_send();
    }
    const int result = loop.poller().shutdown(socket.handle, detail::shutdown_how::send);
    if (result < 0) detail::throw_io(result, "shutdown", socket);
}

task<> stream::close_gracefully(time_span limit) {
    // Moved here, so that it is closed in every case, also when the await below throws. In so many
    // words: what the end of a server's stream does then is not meant.
    struct closer {
        ~closer() { of.close(); }
        stream of;
    };
    closer closing{std::move(*this)};
    if (!closing.of) co_return;
    try {
        closing.of.shutdown_send();
    } catch (const io_error&) {
        co_return;
    }
    const time_point deadline = saturating_add(now(), limit);
    for (;;) {
        const result<read_lease> dropped =
            co_await as_result(with_deadline(deadline, closing.of.read_leased()));
        if (!dropped.has_value() || (*dropped).empty()) co_return;
    }
}

void stream::reset_on_failure(bool on) noexcept {
    const socket_ref& socket = socket_.ref();
    if (!socket.handle) return;
    scheduler& loop = loop_of(socket);
    detail::socket_notes* const notes = socket.handle.is_transport()
                                            ? loop.transports->notes(socket.handle)
                                            : loop.poller().notes(socket.handle);
    if (notes != nullptr) notes->reset_failed = on;
}

std::string stream::describe() const {
    const socket_ref& socket = socket_.ref();
    if (!socket.handle) return {};
    detail::check_home(socket);
    std::array<char, detail::name_capacity> buffer;
    return std::string(detail::peer_text(socket, buffer));
}

bool stream::has_input() const noexcept {
    const socket_ref& socket = socket_.ref();
    if (!socket.handle) return true;
    scheduler& loop = loop_of(socket);
    if (socket.handle.is_transport()) return loop.transports->has_input(socket.handle);
    bool found = true;  // also where it could not be asked: who asks must not take it for quiet
    static_cast<void>(loop.poller().has_input(socket.handle, found));
    return found;
}

std::uint64_t stream::activity() const noexcept {
    const socket_ref& socket = socket_.ref();
    if (!socket.handle) return 0;
    scheduler& loop = loop_of(socket);
    if (socket.handle.is_transport()) {
        const transport* of = loop.transports->find(socket.handle);
        return of != nullptr ? of->activity() : 0;
    }
    std::uint64_t moved = 0;
    return loop.poller().moved_bytes(socket.handle, moved) < 0 ? 0 : moved;
}

}}}  // namespace coro::v0::net
