#include "poller/posix_sockets.hpp"

#include <fcntl.h>
#include <netinet/in.h>
#include <linux/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "poller/socket_options.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

static_assert(sizeof(sockaddr_un) + 1 <= sizeof(socket_address::bytes));
static_assert(sizeof(sockaddr_in6) <= sizeof(compact_address::bytes));
static_assert(sizeof(socket_slot) <= 104, "an idle connection pays for it");
static_assert(alignof(socket_address) >= alignof(sockaddr_in6));
static_assert(sizeof(io_slice) == sizeof(iovec));
static_assert(offsetof(io_slice, data) == offsetof(iovec, iov_base));
static_assert(offsetof(io_slice, size) == offsetof(iovec, iov_len));

int open_reserve() noexcept {
    return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/// From here on `moved` is meant.
void begin_local(socket_slot& slot) noexcept {
    slot.local = true;
    slot.moved = 0;
}

void keep_compact(compact_address& into, const socket_address& from) noexcept {
    if (from.size > into.bytes.size()) return;  // no address of IP
    std::copy_n(from.bytes.begin(), from.size, into.bytes.begin());
    into.size = from.size;
}

/// No retry on EINTR: close(2) on Linux frees the descriptor all the same, and a second attempt
/// could close one that another thread has just been given.
void close_descriptor(int descriptor) noexcept {
    if (descriptor >= 0) ::close(descriptor);
}

sockaddr* kernel_view(socket_address& address) noexcept {
    return reinterpret_cast<sockaddr*>(address.bytes.data());
}

const sockaddr* kernel_view(const socket_address& address) noexcept {
    return reinterpret_cast<const sockaddr*>(address.bytes.data());
}

int domain_of(address_family family) noexcept {
    switch (family) {
        case address_family::ipv4: return AF_INET;
        case address_family::ipv6: return AF_INET6;
        case address_family::local: return AF_UNIX;
    }
    return AF_UNSPEC;
}

option_name name_of(socket_option which) noexcept {
    switch (which) {
        case socket_option::reuse_address: return {SOL_SOCKET, SO_REUSEADDR};
        case socket_option::reuse_port: return {SOL_SOCKET, SO_REUSEPORT};
        case socket_option::no_delay: return {IPPROTO_TCP, TCP_NODELAY};
        case socket_option::receive_buffer: return {SOL_SOCKET, SO_RCVBUF};
        case socket_option::send_buffer: return {SOL_SOCKET, SO_SNDBUF};
        case socket_option::linger: return {SOL_SOCKET, SO_LINGER};
        case socket_option::keepalive: return {SOL_SOCKET, SO_KEEPALIVE};
        case socket_option::keepalive_idle: return {IPPROTO_TCP, TCP_KEEPIDLE};
        case socket_option::keepalive_interval: return {IPPROTO_TCP, TCP_KEEPINTVL};
        case socket_option::keepalive_count: return {IPPROTO_TCP, TCP_KEEPCNT};
        case socket_option::user_timeout: return {IPPROTO_TCP, TCP_USER_TIMEOUT};
        case socket_option::v6_only: return {IPPROTO_IPV6, IPV6_V6ONLY};
        case socket_option::quick_ack: return {IPPROTO_TCP, TCP_QUICKACK};
        case socket_option::cork: return {IPPROTO_TCP, TCP_CORK};
        case socket_option::fast_open: return {IPPROTO_TCP, TCP_FASTOPEN};
        case socket_option::fast_open_connect: return {IPPROTO_TCP, TCP_FASTOPEN_CONNECT};
        case socket_option::mark: return {SOL_SOCKET, SO_MARK};
        case socket_option::traffic_class: return {IPPROTO_IP, IP_TOS};
        case socket_option::priority: return {SOL_SOCKET, SO_PRIORITY};
        case socket_option::not_sent_low_water: return {IPPROTO_TCP, TCP_NOTSENT_LOWAT};
        case socket_option::maximum_segment: return {IPPROTO_TCP, TCP_MAXSEG};
    }
    return {SOL_SOCKET, -1};
}

bool add_descriptor_flag(int descriptor, int get, int set, int flag) noexcept {
    const int flags = ::fcntl(descriptor, get);
    if (flags < 0) return false;
    if ((flags & flag) != 0) return true;
    return ::fcntl(descriptor, set, flags | flag) == 0;
}

/// close(2) waits for unsent data for the linger time, on a non-blocking socket too. Whether a
/// socket has the option (accepted ones inherit it) is not worth remembering.
void switch_linger_off(int descriptor) noexcept {
    ::linger how{};
    socklen_t size = sizeof how;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_LINGER, &how, &size) != 0) return;
    if (how.l_onoff == 0 || how.l_linger == 0) return;
    how.l_onoff = 0;
    static_cast<void>(::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &how, sizeof how));
}

/// Zero seconds to linger: close(2) sends a reset.
void linger_for_nothing(int descriptor) noexcept {
    const ::linger how{1, 0};
    static_cast<void>(::setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &how, sizeof how));
}

/// Closes the descriptors of sockets that left one loop and never came to another one.
class closer_of_descriptors final : public detached::closer {
public:
    constexpr closer_of_descriptors() noexcept = default;
    void close_detached(detached& gone) noexcept override {
        const int descriptor = static_cast<int>(gone.token);
        if (gone.by_reset) linger_for_nothing(descriptor);
        else if (gone.lingering) switch_linger_off(descriptor);
        close_descriptor(descriptor);
    }
};
constinit closer_of_descriptors descriptor_closer;

}  // namespace

// --- the table

posix_sockets::posix_sockets(const poller_options& options)
    : options_(options), reserved_descriptor_(open_reserve()) {}

posix_sockets::~posix_sockets() {
    CORO_ASSERT(pending_operations_ == 0,
                "a poller was destroyed while operations were pending: cancel them and wait for "
                "their completions first");
    for (const auto& chunk : chunks_) {
        for (std::size_t i = 0; i < slots_per_chunk; ++i) {
            if (chunk[i].open) vacate_slot(chunk[i]);
        }
    }
    close_descriptor(reserved_descriptor_);
}

bool posix_sockets::add_chunk() noexcept {
    std::unique_ptr<socket_slot[]> chunk(new (std::nothrow) socket_slot[slots_per_chunk]);
    if (chunk == nullptr) return false;
    const std::size_t first = slot_count_;
    if (first + slots_per_chunk > UINT32_MAX) return false;
    try {
        // Only ever grows, and geometrically: vector::reserve alone would copy at each chunk.
        const std::size_t slots = first + slots_per_chunk;
        if (free_.capacity() < slots) free_.reserve(2 * slots);
        chunks_.push_back(std::move(chunk));
    } catch (const std::bad_alloc&) {
        return false;
    }
    for (std::size_t i = slots_per_chunk; i-- > 0;) {
        socket_slot& slot = chunks_.back()[i];
        slot.index = static_cast<std::uint32_t>(first + i);
        slot.generation = 1;
        free_.push_back(slot.index);
    }
    slot_count_ += slots_per_chunk;
    return true;
}

socket_slot* posix_sockets::find(detail::handle socket) noexcept {
    mark_.check();
    if (socket.index >= slot_count_) return nullptr;
    socket_slot& slot = slot_at(socket.index);
    if (!slot.open || slot.closing || slot.generation != socket.generation) return nullptr;
    return &slot;
}

socket_slot* posix_sockets::find_watched(detail::handle socket) noexcept {
    if (socket.index >= slot_count_) return nullptr;
    socket_slot& slot = slot_at(socket.index);
    return slot.watched && slot.generation == socket.generation ? &slot : nullptr;
}

socket_slot* posix_sockets::make_slot(int descriptor) noexcept {
    socket_slot* const slot = take_slot();
    if (slot != nullptr) open_slot(*slot, descriptor);
    return slot;
}

socket_slot* posix_sockets::take_slot() noexcept {
    if (!slot_available()) return nullptr;
    socket_slot& slot = slot_at(free_.back());
    free_.pop_back();
    return &slot;
}

void posix_sockets::open_slot(socket_slot& slot, int descriptor) noexcept {
    slot.descriptor = descriptor;
    slot.open = true;
    ++open_slots_;
}

void posix_sockets::free_slot(socket_slot& slot) noexcept {
    CORO_ASSERT((slot.open || slot.watched) && slot.receiver == nullptr && slot.sender == nullptr,
                "a socket slot was freed while an operation was pending on it");
    vacate_slot(slot);
    free_.push_back(slot.index);
}

void posix_sockets::vacate_slot(socket_slot& slot) noexcept {
    if (lingering_ && !slot.watched) switch_linger_off(slot.descriptor);
    if (!slot.borrowed) close_descriptor(slot.descriptor);
    const std::uint32_t index = slot.index;
    const std::uint32_t next_generation = slot.generation + 1;
    slot = socket_slot{};
    slot.index = index;
    // After 2^32 reuses of one slot a handle kept since then could match again; 0 stays "none".
    slot.generation = next_generation == 0 ? 1 : next_generation;
    --open_slots_;
}

poller_census posix_sockets::census() const noexcept {
    return {pending_operations_, open_slots_, leases_out_};
}

// --- descriptors come and go

int posix_sockets::open_stream(address_family family, detail::handle& out) noexcept {
    return open_socket(family, SOCK_STREAM, out);
}

int posix_sockets::open_datagram(address_family family, detail::handle& out) noexcept {
    if (family == address_family::local) return -EAFNOSUPPORT;
    return open_socket(family, SOCK_DGRAM, out);
}

int posix_sockets::open_socket(address_family family, int type, detail::handle& out) noexcept {
    const int descriptor = ::socket(domain_of(family), type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (descriptor < 0) return -errno;
    socket_slot* slot = make_slot(descriptor);
    if (slot == nullptr) {
        close_descriptor(descriptor);
        return -ENOMEM;
    }
    if (family == address_family::local) begin_local(*slot);
    slot->datagram = type == SOCK_DGRAM;
    out = handle_of(*slot);
    return 0;
}

int posix_sockets::adopt(int descriptor, detail::handle& out) noexcept {
    int listening = 0;
    int domain = 0;
    int type = 0;
    socklen_t size = sizeof(int);
    // Also the check that it is a socket at all: EBADF or ENOTSOCK.
    if (::getsockopt(descriptor, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) != 0) return -errno;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_DOMAIN, &domain, &size) != 0) return -errno;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return -errno;
    if (type != SOCK_STREAM && type != SOCK_DGRAM) return -EPROTOTYPE;
    // Asked first: after an error the descriptor is as it was.
    if (!slot_available()) return -ENOMEM;
    const int mode = ::fcntl(descriptor, F_GETFL);
    const int on_exec = ::fcntl(descriptor, F_GETFD);
    // O_NONBLOCK belongs to the open file description: a duplicate elsewhere sees it too.
    if (!add_descriptor_flag(descriptor, F_GETFD, F_SETFD, FD_CLOEXEC) ||
        !add_descriptor_flag(descriptor, F_GETFL, F_SETFL, O_NONBLOCK)) {
        const int error = errno;
        if (on_exec >= 0) static_cast<void>(::fcntl(descriptor, F_SETFD, on_exec));
        return -error;
    }
    // Another poller may have set it: a close(2) that waits is looked after where it happens.
    ::linger how{};
    socklen_t how_size = sizeof how;
    if (::getsockopt(descriptor, SOL_SOCKET, SO_LINGER, &how, &how_size) == 0 &&
        how.l_onoff != 0 && how.l_linger > 0) {
        lingering_ = true;
    }
    socket_slot* const slot = make_slot(descriptor);
    slot->listening = listening != 0;
    slot->datagram = type == SOCK_DGRAM;
    slot->was_blocking = mode >= 0 && (mode & O_NONBLOCK) == 0;
    if (domain == AF_UNIX) {
        begin_local(*slot);
    } else if (socket_address peer; ask_peer(descriptor, peer) == 0) {
        keep_compact(slot->remote, peer);
    }
    out = handle_of(*slot);
    return 0;
}

int posix_sockets::check_stream(int descriptor, address_family family) noexcept {
    const auto ask = [&](int what, int& answer) {
        socklen_t size = sizeof answer;
        return ::getsockopt(descriptor, SOL_SOCKET, what, &answer, &size) == 0 ? 0 : -errno;
    };
    int type = 0;
    int domain = 0;
    int protocol = 0;
    int listening = 0;
    if (const int error = ask(SO_TYPE, type); error != 0) return error;
    if (const int error = ask(SO_DOMAIN, domain); error != 0) return error;
    if (const int error = ask(SO_PROTOCOL, protocol); error != 0) return error;
    if (const int error = ask(SO_ACCEPTCONN, listening); error != 0) return error;
    const bool local = family == address_family::local;
    const bool of_ip = domain == AF_INET || domain == AF_INET6;
    if (local ? domain != AF_UNIX : !of_ip) return -EAFNOSUPPORT;
    const bool is_tcp = protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
    if (type != SOCK_STREAM || (of_ip && !is_tcp)) return -EPROTOTYPE;
    if (listening != 0) return -EINVAL;
    socket_address peer;
    return ask_peer(descriptor, peer) == 0 ? 0 : -ENOTCONN;
}

int posix_sockets::watch(int descriptor, detail::handle& out) noexcept {
    mark_.check();
    if (::fcntl(descriptor, F_GETFD) < 0) return -errno;
    socket_slot* const slot = make_slot(descriptor);
    if (slot == nullptr) return -ENOMEM;
    slot->watched = true;
    slot->open = false;
    slot->closing = true;
    slot->borrowed = true;
    out = handle_of(*slot);
    return 0;
}

socket_slot* posix_sockets::find_leaving(detail::handle socket, int& why_not) noexcept {
    socket_slot* slot = find(socket);
    if (slot == nullptr) why_not = result_closed;
    else if (slot->receiver != nullptr || slot->sender != nullptr) why_not = -EBUSY;
    else why_not = forget(*slot);
    return why_not == 0 ? slot : nullptr;
}

int posix_sockets::release(detail::handle socket, int& descriptor) noexcept {
    int why_not = 0;
    socket_slot* slot = find_leaving(socket, why_not);
    if (slot == nullptr) return why_not;
    descriptor = std::exchange(slot->descriptor, -1);
    if (slot->was_blocking) {
        const int mode = ::fcntl(descriptor, F_GETFL);
        if (mode >= 0) static_cast<void>(::fcntl(descriptor, F_SETFL, mode & ~O_NONBLOCK));
    }
    free_slot(*slot);
    return 0;
}

int posix_sockets::detach(detail::handle socket, detached& out) noexcept {
    int why_not = 0;
    socket_slot* slot = find_leaving(socket, why_not);
    if (slot == nullptr) return why_not;
    out = detached();
    out.keep(descriptor_closer, static_cast<std::uint64_t>(std::exchange(slot->descriptor, -1)));
    out.notes = slot->notes;
    out.notes.task = 0;  // of this loop
    out.listening = slot->listening;
    out.local = slot->local;
    out.datagram = slot->datagram;
    out.was_blocking = slot->was_blocking;
    if (slot->local) out.moved = slot->moved;
    else out.remote = slot->remote;
    out.lingering = lingering_;
    free_slot(*slot);
    return 0;
}

int posix_sockets::attach(detached&& what, detail::handle& out) noexcept {
    mark_.check();
    CORO_ASSERT(what.is_of(descriptor_closer), "a poller was given a socket of another world");
    socket_slot* slot = make_slot(static_cast<int>(what.token));
    if (slot == nullptr) return -ENOMEM;
    what.taken();
    slot->notes = what.notes;
    slot->listening = what.listening;
    slot->local = what.local;
    slot->datagram = what.datagram;
    slot->was_blocking = what.was_blocking;
    if (slot->local) slot->moved = what.moved;
    else slot->remote = what.remote;
    lingering_ = lingering_ || what.lingering;
    out = handle_of(*slot);
    return 0;
}

int posix_sockets::close_if_idle(detail::handle listener) noexcept {
    socket_slot* slot = find(listener);
    if (slot == nullptr) return result_closed;
    if (slot->datagram) return -EOPNOTSUPP;
    if (slot->receiver != nullptr) return -EBUSY;
    if (forget(*slot) != 0) return -EAGAIN;
    pollfd waiting{slot->descriptor, POLLIN, 0};
    if (::poll(&waiting, 1, 0) > 0) return -EAGAIN;
    close(listener);
    return 0;
}

void posix_sockets::close(detail::handle socket) noexcept {
    socket_slot* slot = find(socket);
    if (slot == nullptr) return;
    slot->closing = true;
    if (begin_close(*slot)) free_slot(*slot);
}

int posix_sockets::shed_connection(detail::handle listener) noexcept {
    const socket_slot* slot = find(listener);
    if (slot == nullptr) return result_closed;
    if (slot->datagram) return -EOPNOTSUPP;
    if (reserved_descriptor_ < 0) reserved_descriptor_ = open_reserve();
    if (reserved_descriptor_ < 0) return -errno;
    close_descriptor(reserved_descriptor_);
    int descriptor = -1;
    do {
        // ECONNABORTED: accept(2), that connection is gone already; the next one may be shed.
        descriptor = ::accept4(slot->descriptor, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
    } while (descriptor < 0 && (errno == EINTR || errno == ECONNABORTED));
    const int answer = descriptor < 0 ? -errno : 0;
    close_descriptor(descriptor);
    // Another thread may be faster; then the next call tries to reserve again.
    reserved_descriptor_ = open_reserve();
    return answer;
}

// --- translation

int posix_sockets::bind(detail::handle socket, const socket_address& where) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (where.size > where.bytes.size()) return -EINVAL;
    return ::bind(slot->descriptor, kernel_view(where), where.size) == 0 ? 0 : -errno;
}

int posix_sockets::listen(detail::handle socket, int backlog) noexcept {
    socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (::listen(slot->descriptor, backlog) != 0) return -errno;
    slot->listening = true;
    return 0;
}

int posix_sockets::set_option(detail::handle socket, socket_option which, int value) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (which == socket_option::traffic_class) return set_traffic_class(slot->descriptor, value);
    const option_name option = name_of(which);
    if (which == socket_option::linger) {
        if (value > 0) lingering_ = true;
        const ::linger how{value >= 0 ? 1 : 0, value >= 0 ? value : 0};
        const int failed =
            ::setsockopt(slot->descriptor, option.level, option.name, &how, sizeof how);
        return failed == 0 ? 0 : -errno;
    }
    const int failed =
        ::setsockopt(slot->descriptor, option.level, option.name, &value, sizeof value);
    return failed == 0 ? 0 : -errno;
}

int posix_sockets::get_option(detail::handle socket, socket_option which, int& value) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    const option_name option = which == socket_option::traffic_class
                                   ? name_of_traffic_class(slot->descriptor)
                                   : name_of(which);
    if (which == socket_option::linger) {
        ::linger how{};
        socklen_t size = sizeof how;
        if (::getsockopt(slot->descriptor, option.level, option.name, &how, &size) != 0) {
            return -errno;
        }
        value = how.l_onoff != 0 ? how.l_linger : -1;
        return 0;
    }
    int answer = 0;
    socklen_t size = sizeof answer;
    if (::getsockopt(slot->descriptor, option.level, option.name, &answer, &size) != 0) {
        return -errno;
    }
    value = answer;
    return 0;
}

int posix_sockets::local_address(detail::handle socket, socket_address& out) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    socklen_t size = static_cast<socklen_t>(out.bytes.size());
    if (::getsockname(slot->descriptor, kernel_view(out), &size) != 0) return -errno;
    out.size = size;
    return 0;
}

int posix_sockets::remote_address(detail::handle socket, socket_address& out) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->local) return ask_peer(slot->descriptor, out);
    if (slot->remote.size == 0) return -ENOTCONN;
    std::copy_n(slot->remote.bytes.begin(), slot->remote.bytes.size(), out.bytes.begin());
    out.size = slot->remote.size;
    return 0;
}

int posix_sockets::ask_peer(int descriptor, socket_address& out) noexcept {
    socklen_t size = static_cast<socklen_t>(out.bytes.size());
    if (::getpeername(descriptor, kernel_view(out), &size) != 0) return -errno;
    out.size = size;
    return 0;
}

void posix_sockets::keep_peer(socket_slot& slot, const socket_address& where) noexcept {
    if (slot.local) return;
    // Asked, because 0.0.0.0 connects to 127.0.0.1; a peer that is gone again has no name: it was
    // the one that was asked for.
    socket_address peer;
    keep_compact(slot.remote, ask_peer(slot.descriptor, peer) == 0 ? peer : where);
}

void posix_sockets::keep_accepted_peer(socket_slot& slot, bool local) noexcept {
    if (local) begin_local(slot);
}

int posix_sockets::shutdown(detail::handle socket, shutdown_how how) noexcept {
    socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    // A message has no end to announce; and Linux would end receives of UDP that nobody asked for.
    if (slot->datagram) return -EOPNOTSUPP;
    int direction = SHUT_RDWR;
    if (how == shutdown_how::receive) direction = SHUT_RD;
    if (how == shutdown_how::send) direction = SHUT_WR;
    if (::shutdown(slot->descriptor, direction) != 0) return -errno;
    return 0;
}

socket_notes* posix_sockets::notes(detail::handle socket) noexcept {
    socket_slot* slot = find(socket);
    return slot == nullptr ? nullptr : &slot->notes;
}

// --- time, memory

time_point posix_sockets::now() noexcept { return monotonic_now(); }

bool posix_sockets::take_heap_lease(lease& out) noexcept {
    if (heap_leases_out_ >= options_.leases_on_heap) return false;
    void* data = std::malloc(options_.lease_buffer_bytes);
    if (data == nullptr) return false;
    ++heap_leases_out_;
    ++leases_out_;
    out = {0, data, true};
    return true;
}

void posix_sockets::give_heap_lease(void* data) noexcept {
    CORO_ASSERT(heap_leases_out_ > 0, "a leased buffer was returned twice");
    --heap_leases_out_;
    --leases_out_;
    std::free(data);
}

void posix_sockets::return_lease(std::uint32_t, void* data, bool from_heap) noexcept {
    CORO_ASSERT(from_heap, "a leased buffer was returned to a poller that has no pool");
    give_heap_lease(data);
}

}}}  // namespace coro::v0::detail
