// Operations on sockets: submission, cancellation, errors in words, leases.
#include <coro/net/local_address.hpp>
#include <coro/net/detail/rebind.hpp>
#include <coro/net/detail/socket.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/loop_handle.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>

#include <coro/base/report.hpp>

#include "net/idle_watch.hpp"
#include "net/io_failure.hpp"
#include "net/transport_table.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

std::error_code error_of(std::int32_t result) noexcept {
    switch (result) {
        case result_closed: return errc::closed;
        case result_busy: return errc::busy;
        case result_limit: return errc::limit_exceeded;
        case result_broken: return errc::broken;
        default: return {-result, std::generic_category()};
    }
}

std::error_code error_of(std::int32_t result, socket_ref socket) noexcept {
    if (result != result_other) return error_of(result);
    transport_table* table = is_here(socket.loop) ? scheduler_of(*current).transports : nullptr;
    return table != nullptr ? table->other_error(socket.handle) : make_error_code(errc::closed);
}

poller& poller_of(socket_ref socket) noexcept {
    check_home(socket);
    return scheduler_of(*current).poller();
}

std::string_view address_text(const socket_address& address, std::span<char> buffer) noexcept {
    net::endpoint ip;
    if (from_socket_address(address, ip)) return ip.to_text(buffer);
    net::local_address local;
    if (from_socket_address(address, local)) return local.to_text(buffer);
    return {};
}

namespace {

/// The peer of `socket` has no name: then the name that it has connected to says who it is.
std::string_view text_of_client(socket_ref socket, std::span<char> buffer) noexcept {
    constexpr std::string_view what = "client of ";
    static_assert(what.size() + net::local_address::text_capacity <= name_capacity);
    std::copy(what.begin(), what.end(), buffer.begin());
    const std::string_view own = local_text(socket, buffer.subspan(what.size()));
    return {buffer.data(), what.size() + own.size()};
}

}  // namespace

std::string_view peer_text(socket_ref socket, std::span<char> buffer) noexcept {
    if (socket.handle.is_transport()) {
        if (!is_here(socket.loop)) return {};
        return scheduler_of(*current).transports->describe(socket.handle);
    }
    socket_address raw;
    if (!is_here(socket.loop) ||
        scheduler_of(*current).poller().remote_address(socket.handle, raw) != 0)
        return {};
    if (net::local_address named; from_socket_address(raw, named) && named.is_unnamed())
        return text_of_client(socket, buffer);
    return address_text(raw, buffer);
}

std::string_view local_text(socket_ref socket, std::span<char> buffer) noexcept {
    socket_address raw;
    if (!is_here(socket.loop) ||
        scheduler_of(*current).poller().local_address(socket.handle, raw) != 0)
        return {};
    return address_text(raw, buffer);
}

void used_elsewhere(socket_ref socket) noexcept {
    if (is_of_this_run(socket.loop))
        misused(__FILE__, __LINE__, "a stream or listener was used on another loop than its own: "
                                    "rebind() a stream first");
    misused(__FILE__, __LINE__, "a stream or listener was used outside of the run() in which it "
                                "was made: it must end inside of that");
}

namespace {

inline socket_notes* notes_of(scheduler& loop, detail::handle which) noexcept {
    return which.is_transport() ? loop.transports->notes(which) : loop.poller().notes(which);
}

/// The one place where reads and writes end with `cancelled`: what does not fail pays nothing.
void mark_interrupted(socket_ref socket) noexcept {
    if (!is_here(socket.loop)) return;  // a reader or writer without a connection
    if (socket_notes* notes = notes_of(scheduler_of(*current), socket.handle))
        notes->interrupted = true;
}

}  // namespace

void throw_io(std::int32_t result, const char* verb, socket_ref socket, std::size_t moved) {
    std::array<char, name_capacity> buffer;
    const std::string_view peer = peer_text(socket, buffer);
    if (result == -ECANCELED) {
        mark_interrupted(socket);
        throw cancelled(moved, peer);
    }
    throw io_error(error_of(result, socket), verb, peer, moved);
}

void describe_io(text_sink& out, const char* verb, socket_ref socket) noexcept {
    std::array<char, name_capacity> buffer;
    out.write(verb);
    const std::string_view peer = peer_text(socket, buffer);
    const std::string_view where = peer.empty() ? local_text(socket, buffer) : peer;
    if (where.empty()) return;
    out.write(" ");
    out.write(where);
}

namespace {

/// As scheduler::submit. Not inlined: a socket's submission would pay for its frame.
[[gnu::cold, gnu::noinline]] bool submit_to_transport(operation& op, strand& strand) noexcept {
    op.owner = &strand;
    return submit_to_transport(op, scheduler_of(*strand.loop));
}

}  // namespace

bool submit_io(operation& op, detail::strand& strand) noexcept {
    if (op.target.is_transport()) [[unlikely]] return submit_to_transport(op, strand);
    return scheduler_of(*strand.loop).submit(op, strand);
}

void cancel_io(operation& op, detail::loop& loop) noexcept {
    scheduler& on = scheduler_of(loop);
    if (op.target.is_transport()) on.transports->cancel(op);
    else on.poller().cancel(op);
}

namespace {

/// nullptr for a stream without a connection. Aborts on another loop.
const socket_notes* notes_here(socket_ref socket) noexcept {
    if (is_here(socket.loop)) [[likely]]
        return notes_of(scheduler_of(*current), socket.handle);
    check_home(socket);
    return nullptr;
}

}  // namespace

// The bits of `direction` are those of `socket_notes::broken`.

void mark_broken(socket_ref socket, direction which) noexcept {
    check_home(socket);
    if (!socket.loop) return;
    if (socket_notes* notes = notes_of(scheduler_of(*current), socket.handle))
        notes->broken = static_cast<std::uint16_t>(notes->broken | static_cast<unsigned>(which));
}

bool is_broken(socket_ref socket, direction which) noexcept {
    const socket_notes* notes = notes_here(socket);
    return notes != nullptr && (notes->broken & static_cast<std::uint32_t>(which)) != 0;
}

bool was_interrupted(socket_ref socket) noexcept {
    const socket_notes* notes = notes_here(socket);
    return notes != nullptr && (notes->interrupted || notes->broken != 0);
}

namespace {

template <void (*End)(scheduler& loop, detail::handle which) noexcept>
void end_at_home(socket_ref which) noexcept {
    CORO_ASSERT(is_of_this_run(which.loop),
                "a stream or listener was destroyed outside of its loop: it must end inside of the "
                "run() in which it was made");
    if (is_here(which.loop)) [[likely]]
        return End(scheduler_of(*current), which.handle);
    // One that was handed to another loop and never used there: rare, so the message is allocated.
    struct end_there {
        socket_ref socket;
        void operator()() const noexcept { End(scheduler_of(*current), socket.handle); }
    };
    try {
        loop_of_this_run(which.loop).post(*posted_call<end_there>::make(end_there{which}));
    } catch (const std::bad_alloc&) {
        report({.level = severity::error, .verb = "close", .endpoint = {},
                .error = std::make_error_code(std::errc::not_enough_memory),
                .text = "a stream that ended on another loop than its own stays open until the run "
                        "ends: rebind() it before it ends there", .task = {}});
    }
}

void close_in(scheduler& loop, detail::handle which) noexcept {
    if (which.is_transport()) loop.transports->close(which, false);
    else loop.poller().close(which);
}
void reset_in(scheduler& loop, detail::handle which) noexcept {
    if (which.is_transport()) return loop.transports->close(which, true);
    // Zero seconds to linger: close(2) sends a reset.
    static_cast<void>(loop.poller().set_option(which, socket_option::linger, 0));
    loop.poller().close(which);
}
/// By a reset, if it is a connection of a server that has not switched that off, or stands on one.
void end_failed_in(scheduler& loop, detail::handle which) noexcept {
    if (which.is_transport()) {
        if (loop.transports->is_reset_when_failed(which)) return reset_in(loop, which);
    } else if (const socket_notes* notes = loop.poller().notes(which);
               notes != nullptr && notes->reset_failed) {
        return reset_in(loop, which);
    }
    close_in(loop, which);
}
/// Whether a message was cut that this side was sending.
bool has_cut_a_message(const socket_notes& notes) noexcept {
    return (notes.broken & static_cast<std::uint32_t>(direction::sending)) != 0;
}
/// In order, if no message was cut.
void end_cancelled_in(scheduler& loop, detail::handle which) noexcept {
    const socket_notes* notes = notes_of(loop, which);
    if (notes != nullptr && has_cut_a_message(*notes)) return end_failed_in(loop, which);
    close_in(loop, which);
}

/// Whether an exception destroys what this thread destroys now. It does so on its way through a
/// function, or behind it, with the parameters of a task that it has ended.
bool an_exception_destroys() noexcept {
    return destroying.failed || std::uncaught_exceptions() != 0;
}
/// Whether the end of a stop has cancelled the task that ends so, which is no failure of it. A
/// scope of the handler's own may be cancelled at any time, by a timeout or by a task that failed.
bool a_stop_has_cancelled() noexcept {
    const detail::strand* running = current != nullptr ? current->running : nullptr;
    return running != nullptr && scope_access::stop_is_over(*running->scope);
}

}  // namespace

bool ends_by_reset(const socket_notes& notes) noexcept {
    if (!notes.reset_failed || !an_exception_destroys()) return false;
    return !a_stop_has_cancelled() || has_cut_a_message(notes);
}

void owned_socket::end_socket(socket_ref which) noexcept {
    if (!an_exception_destroys()) [[likely]] return close_socket(which);
    if (a_stop_has_cancelled()) return end_at_home<&end_cancelled_in>(which);
    end_at_home<&end_failed_in>(which);
}
void owned_socket::close_socket(socket_ref which) noexcept { end_at_home<&close_in>(which); }
void owned_socket::reset_socket(socket_ref which) noexcept { end_at_home<&reset_in>(which); }

// --- rebind

bool rebind_awaiter::suspend(frame_link*, std::coroutine_handle<> resume) noexcept {
    strand_->resume_point = resume;
    strand_->wait_on(*this);
    message_.of = this;
    message_.run = [](posted& self) noexcept { message::owner(self).leave(); };
    from_ = socket_.ref();
    if (!is_of_this_run(from_.loop)) used_elsewhere(from_);
    loop_of_this_run(from_.loop).post(message_);
    return true;
}

void rebind_awaiter::leave() noexcept {  // on the old loop
    detail::poller& poller = scheduler_of(*current).poller();
    result_ = poller.detach(from_.handle, moved_);
    if (result_ != 0) {
        std::array<char, name_capacity> buffer;
        try {
            peer_ = peer_text(from_, buffer);
        } catch (const std::bad_alloc&) {  // the error names no peer
        }
    }
    message_.run = [](posted& self) noexcept { message::owner(self).arrive(); };
    strand_->loop->post(message_);
}

void rebind_awaiter::arrive() noexcept {  // on the new loop
    scheduler& here = scheduler_of(*strand_->loop);
    detail::poller& poller = here.poller();
    if (result_ == 0 && !socket_) result_ = result_closed;  // meanwhile, by another task here
    if (result_ == 0) {
        const duration idle = moved_.notes.idle;
        detail::handle handle;
        result_ = poller.attach(std::move(moved_), handle);
        if (result_ == 0 && idle != duration::max() && !watch_moved_stream(here, handle, idle)) {
            poller.close(handle);
            result_ = -ENOMEM;
        }
        socket_.moved_to(result_ == 0 ? socket_ref{strand_->loop, handle} : socket_ref{});
    }
    moved_.drop();
    strand_->loop->make_ready(*strand_);
}

void rebind_awaiter::await_resume() const {
    if (result_ == 0) return;
    throw io_error(result_ == -EBUSY ? make_error_code(errc::busy) : error_of(result_), "rebind",
                   peer_);
}

template <bool Sending>
void exact_awaiter<Sending>::throw_end_of_stream(socket_ref socket, std::size_t moved) {
    std::array<char, name_capacity> buffer;
    throw io_error(errc::end_of_stream, Sending ? "write_all" : "read_exact",
                   peer_text(socket, buffer), moved);
}
template void exact_awaiter<true>::throw_end_of_stream(socket_ref, std::size_t);
template void exact_awaiter<false>::throw_end_of_stream(socket_ref, std::size_t);

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

void read_lease::give_back() noexcept {
    CORO_ASSERT(detail::is_here(loop_), "a read lease ended outside of its loop");
    detail::scheduler_of(*detail::current).poller().return_lease(id_, data_, from_heap_);
}

}}}  // namespace coro::v0::net
