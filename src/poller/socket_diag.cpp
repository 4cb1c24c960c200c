// sock_diag(7): the kernel tells of its sockets by netlink(7), many in each message.
#include "runtime/socket_diag.hpp"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <memory>

#include <coro/net/tcp_info.hpp>

#include "poller/tcp_facts.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// netlink(7) advises 8 KiB at least; the kernel fills what a larger buffer has room for.
constexpr std::size_t room_for_answers = 64 * 1024;
constexpr std::uint8_t timer_of_time_wait = 3;  // sock_diag(7), idiag_timer

class netlink_socket {
public:
    netlink_socket() noexcept
        : descriptor_(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)),
          error_(descriptor_ < 0 ? errno : 0) {}
    netlink_socket(const netlink_socket&) = delete;
    netlink_socket& operator=(const netlink_socket&) = delete;
    ~netlink_socket() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }

    [[nodiscard]] int error() const noexcept { return error_; }
    /// 0 or an errno.
    [[nodiscard]] int send(const void* message, std::size_t size) const noexcept {
        ssize_t sent = 0;
        do sent = ::send(descriptor_, message, size, 0);
        while (sent < 0 && errno == EINTR);
        return sent < 0 ? errno : 0;
    }
    /// The bytes of an answer, or a negated errno.
    [[nodiscard]] ssize_t receive(std::byte* into) const noexcept {
        ssize_t got = 0;
        do got = ::recv(descriptor_, into, room_for_answers, MSG_TRUNC);
        while (got < 0 && errno == EINTR);
        if (got < 0) return -errno;
        return static_cast<std::size_t>(got) > room_for_answers ? -EMSGSIZE : got;
    }

private:
    int descriptor_;
    int error_;
};

socket_address address_of(std::uint8_t family, const __be32* host, __be16 port,
                          std::uint32_t interface) noexcept {
    socket_address made;
    if (family == AF_INET) {
        sockaddr_in layout{};
        layout.sin_family = AF_INET;
        layout.sin_port = port;
        std::memcpy(&layout.sin_addr, host, sizeof layout.sin_addr);
        std::memcpy(made.bytes.data(), &layout, sizeof layout);
        made.size = sizeof layout;
    } else {
        sockaddr_in6 layout{};
        layout.sin6_family = AF_INET6;
        layout.sin6_port = port;
        std::memcpy(&layout.sin6_addr, host, sizeof layout.sin6_addr);
        if (IN6_IS_ADDR_LINKLOCAL(&layout.sin6_addr)) layout.sin6_scope_id = interface;
        std::memcpy(made.bytes.data(), &layout, sizeof layout);
        made.size = sizeof layout;
    }
    return made;
}

/// The attribute INET_DIAG_INFO among those behind a message; false if there is none.
bool find_info(const std::byte* at, std::size_t size, net::tcp_info& out) noexcept {
    while (size >= sizeof(nlattr)) {
        nlattr attribute{};
        std::memcpy(&attribute, at, sizeof attribute);
        if (attribute.nla_len < sizeof attribute || attribute.nla_len > size) return false;
        if (attribute.nla_type == INET_DIAG_INFO) {
            decode_tcp_info(at + sizeof attribute, attribute.nla_len - sizeof attribute, out);
            return true;
        }
        const std::size_t step = NLMSG_ALIGN(attribute.nla_len);
        if (step >= size) return false;
        at += step;
        size -= step;
    }
    return false;
}

void show(const std::byte* payload, std::size_t size, socket_visitor& to) {
    inet_diag_msg from{};
    if (size < sizeof from) return;
    std::memcpy(&from, payload, sizeof from);
    socket_record seen;
    seen.local = address_of(from.idiag_family, from.id.idiag_src, from.id.idiag_sport,
                            from.id.idiag_if);
    seen.remote = address_of(from.idiag_family, from.id.idiag_dst, from.id.idiag_dport,
                             from.id.idiag_if);
    seen.state = from.idiag_state;
    seen.uid = from.idiag_uid;
    seen.inode = from.idiag_inode;
    seen.receive_queue = from.idiag_rqueue;
    seen.send_queue = from.idiag_wqueue;
    seen.ends = from.idiag_timer == timer_of_time_wait;
    if (seen.ends) seen.ends_in = std::chrono::milliseconds(from.idiag_expires);
    net::tcp_info info;
    if (find_info(payload + sizeof from, size - sizeof from, info)) seen.info = &info;
    to.see(seen);
}

/// What one datagram of answers says: the dump goes on, or is over with an error or without.
enum class dump_step { more, over };

dump_step read_answers(const std::byte* at, std::size_t size, socket_visitor& to, int& error) {
    while (size >= sizeof(nlmsghdr)) {
        nlmsghdr head{};
        std::memcpy(&head, at, sizeof head);
        if (head.nlmsg_len < sizeof head || head.nlmsg_len > size) break;
        const std::byte* const payload = at + NLMSG_HDRLEN;
        const std::size_t length = head.nlmsg_len - NLMSG_HDRLEN;
        if (head.nlmsg_type == NLMSG_DONE || head.nlmsg_type == NLMSG_ERROR) {
            // Both begin with a negated errno or 0.
            if (length >= sizeof error) std::memcpy(&error, payload, sizeof error);
            return dump_step::over;
        }
        if (head.nlmsg_type == SOCK_DIAG_BY_FAMILY) show(payload, length, to);
        const std::size_t step = NLMSG_ALIGN(head.nlmsg_len);
        if (step >= size) return dump_step::more;
        at += step;
        size -= step;
    }
    error = -EBADMSG;
    return dump_step::over;
}

int dump_family(const netlink_socket& line, std::byte* buffer, std::uint8_t family,
                std::uint32_t states, bool with_info, socket_visitor& to) {
    struct {
        nlmsghdr head{};
        inet_diag_req_v2 asked{};
    } request;
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.head.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    request.asked.sdiag_family = family;
    request.asked.sdiag_protocol = IPPROTO_TCP;
    request.asked.idiag_states = states;
    if (with_info) request.asked.idiag_ext = 1u << (INET_DIAG_INFO - 1);
    if (const int error = line.send(&request, sizeof request); error != 0) return -error;
    for (;;) {
        const ssize_t got = line.receive(buffer);
        if (got < 0) return static_cast<int>(got);
        int error = 0;
        if (read_answers(buffer, static_cast<std::size_t>(got), to, error) == dump_step::over)
            return error;
    }
}

}  // namespace

int visit_tcp_sockets(std::uint32_t states, bool with_info, socket_visitor& to) {
    const netlink_socket line;
    if (line.error() != 0) return -line.error();
    const auto buffer = std::make_unique_for_overwrite<std::byte[]>(room_for_answers);
    for (const auto family : {std::uint8_t{AF_INET}, std::uint8_t{AF_INET6}}) {
        const int error = dump_family(line, buffer.get(), family, states, with_info, to);
        if (error != 0) return error;
    }
    return 0;
}

}}}  // namespace coro::v0::detail
