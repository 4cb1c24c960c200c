// Unix sockets over the waist: connect, and listeners that look after their files.
#include <coro/net/local.hpp>

#include <array>
#include <cerrno>
#include <utility>

#include <coro/runtime/detail/this_strand.hpp>

#include "net/adopt.hpp"
#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// `ask` is poller::local_address or poller::remote_address.
net::local_address address_of(const socket_ref& socket, const char* verb,
                              int (poller::*ask)(detail::handle, socket_address&)) {
    socket_address raw;
    const int result =
        socket.handle ? (poller_of(socket).*ask)(socket.handle, raw) : result_closed;
    if (result < 0) throw io_error(error_of(result), verb);
    net::local_address named;
    static_cast<void>(from_socket_address(raw, named));
    return named;
}

}  // namespace

struct bound_file {
    socket_address where;
    file_mark mark;
};

bool local_connect_awaiter::start() noexcept {
    set_outcome(wait_outcome::done);
    detail::poller& poller = scheduler_of(loop()).poller();
    result = poller.open_stream(address_family::local, target);
    if (result < 0) return false;
    socket_ = owned_socket({&loop(), target});
    where = &address_;
    return submit_io(*this, strand());
}

net::local_stream local_connect_awaiter::finish() {
    if (result >= 0) return net::local_stream(socket_ref{&loop(), socket_.release()});
    if (result == -ECANCELED) throw_cancelled();
    std::array<char, name_capacity> text;
    throw io_error(error_of(result), "connect", address_text(address_, text));
}

void local_connect_awaiter::throw_cancelled() const {
    std::array<char, name_capacity> text;
    throw cancelled(0, address_text(address_, text));
}

void local_connect_awaiter::describe(text_sink& out) const noexcept {
    std::array<char, name_capacity> text;
    out.write("connect ");
    out.write(address_text(address_, text));
}

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

using detail::error_of;

detail::local_connect_awaiter local_stream::connect(const local_address& to) noexcept {
    return detail::local_connect_awaiter(to);
}

local_stream local_stream::adopt(int descriptor) {
    return local_stream(detail::adopt_stream(descriptor, detail::address_family::local));
}

int local_stream::release() { return detail::release_stream(socket_); }

local_address local_stream::remote_endpoint() const {
    return detail::address_of(socket_.ref(), "getpeername", &detail::poller::remote_address);
}

local_address local_stream::local_endpoint() const {
    return detail::address_of(socket_.ref(), "getsockname", &detail::poller::local_address);
}

namespace {

/// Says for an address that cannot be bound what to do about it.
[[noreturn]] void throw_not_bound(int result, const local_address& where) {
    std::array<char, local_address::text_capacity> buffer;
    const std::string_view text = where.to_text(buffer);
    const auto refuse = [&](std::string_view sentence) {
        throw io_error(error_of(result), "bind", text, detail::error_text(sentence));
    };
    if (result == -EADDRINUSE)
        refuse("a server listens there: stop it, or bind another name");
    if (result == -EACCES)
        refuse("the folder may not be written, or it may not be read and the file of a dead server "
               "is there: change its permissions, or bind elsewhere");
    if (result == -EEXIST)
        refuse("a file that is no socket is there: remove it, or bind another path");
    if (result == -EAGAIN)
        refuse("another process keeps the folder locked (flock): stop it, or bind elsewhere");
    throw io_error(error_of(result), "bind", text);
}

}  // namespace

local_listener::local_listener() noexcept = default;
local_listener::local_listener(local_listener&& other) noexcept = default;
local_listener& local_listener::operator=(local_listener&& other) noexcept {
    if (this != &other) {
        close();
        socket_ = std::move(other.socket_);
        file_ = std::move(other.file_);
    }
    return *this;
}
local_listener::~local_listener() { remove_file(); }

local_listener local_listener::bind(const local_address& where,
                                    const local_listen_options& options) {
    detail::loop& loop = detail::this_loop();
    detail::poller& poller = detail::scheduler_of(loop).poller();
    auto file = std::make_unique<detail::bound_file>();
    file->where = detail::to_socket_address(where);
    detail::handle handle;
    if (const int result = poller.open_stream(detail::address_family::local, handle); result < 0)
        throw_not_bound(result, where);
    local_listener listener;
    listener.socket_ = detail::owned_socket({&loop, handle});
    const detail::local_file how{options.backlog,
                                 options.mode ? static_cast<int>(*options.mode) : -1};
    if (where.is_unnamed()) throw_not_bound(-EINVAL, where);
    const int result = poller.listen_local(handle, file->where, how, file->mark);
    if (result < 0) throw_not_bound(result, where);
    if (file->mark) listener.file_ = std::move(file);
    return listener;
}

detail::accept_awaiter<local_stream> local_listener::accept() noexcept {
    return {socket_.ref(), false};
}

task<std::optional<local_stream>> local_listener::accept_if_waiting() {
    detail::accept_awaiter<local_stream> once(socket_.ref(), true);
    local_stream accepted = co_await once;
    if (!accepted) co_return std::nullopt;
    co_return std::optional<local_stream>(std::move(accepted));
}

/// close() and the destructor do it while the socket listens, so that no other server takes the
/// path for a dead one's. close_if_idle() cannot: it learns only by closing whether it may end. A
/// server that replaced the file in between keeps its own: the poller compares, and locks the
/// folder.
void local_listener::remove_file() noexcept {
    const std::unique_ptr<detail::bound_file> file = std::move(file_);
    if (file == nullptr || detail::current == nullptr) return;
    detail::scheduler_of(*detail::current).poller().remove_file(file->where, file->mark);
}

void local_listener::close() noexcept {
    remove_file();
    socket_.close();
}

bool local_listener::close_if_idle() noexcept {
    if (!socket_) return true;
    const detail::socket_ref which = socket_.ref();
    if (detail::poller_of(which).close_if_idle(which.handle) != 0) return false;
    static_cast<void>(socket_.release());
    remove_file();
    return true;
}

local_address local_listener::local_endpoint() const {
    return detail::address_of(socket_.ref(), "getsockname", &detail::poller::local_address);
}

}}}  // namespace coro::v0::net
