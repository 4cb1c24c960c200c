// What the kernel says of a connection without taking anything from it.
#include <linux/tcp.h>  // not netinet/tcp.h: its tcp_info ends before the counts of bytes
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {

detail::handle posix_sockets::next_socket(std::uint32_t from, std::uint32_t& task) noexcept {
    for (std::uint32_t index = from; index < slot_count_; ++index) {
        const socket_slot& slot = slot_at(index);
        if (!slot.open || slot.closing) continue;
        task = task_of(slot.notes, slot.receiver, slot.sender);
        return handle_of(slot);
    }
    return {};
}

int posix_sockets::moved_bytes(detail::handle socket, std::uint64_t& out) noexcept {
    const socket_slot* slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->datagram) return -EOPNOTSUPP;
    if (slot->local) {
        int unread = 0;
        if (::ioctl(slot->descriptor, FIONREAD, &unread) != 0) return -errno;
        out = slot->moved + static_cast<unsigned>(unread);
        return 0;
    }
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(slot->descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return -errno;
    // Both counts are there since Linux 4.1.
    out = info.tcpi_bytes_received + info.tcpi_bytes_acked;
    return 0;
}

/// What of `events` there is on a connection now, or as has_input() fails.
int posix_sockets::look_for(short events, const socket_slot* slot) noexcept {
    if (slot == nullptr) return result_closed;
    if (slot->datagram || slot->listening) return -EOPNOTSUPP;
    pollfd look{slot->descriptor, events, 0};
    int found = 0;
    do found = ::poll(&look, 1, 0);  // a signal may end it, although it does not wait
    while (found < 0 && errno == EINTR);
    return found < 0 ? -errno : look.revents;
}

int posix_sockets::has_input(detail::handle socket, bool& out) noexcept {
    const socket_slot* slot = find(socket);
    const int found = look_for(POLLIN | POLLRDHUP, slot);
    if (found >= 0) out = found != 0 || slot->receiver != nullptr;
    return std::min(found, 0);
}

int posix_sockets::has_peer_ended(detail::handle socket, bool& out) noexcept {
    const int found = look_for(POLLRDHUP, find(socket));
    if (found >= 0) out = found != 0;
    return std::min(found, 0);
}

}}}  // namespace coro::v0::detail
