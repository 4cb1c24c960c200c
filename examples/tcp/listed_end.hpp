// listed_end: an end of a connection as the kernel lists it over netlink (sock_diag(7)). The list
// has also those ends that no program holds any more.
#pragma once

#include <arpa/inet.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>

#include "errors.hpp"
#include "raw_socket.hpp"

namespace tcp_truth {

/// What a socket waits for (idiag_timer in net/ipv4/inet_diag.c).
enum class kernel_timer : std::uint8_t { none, retransmit, keepalive, time_wait, zero_window };

struct listed_socket {
    tcp_state state;
    std::uint32_t inode;  ///< 0 when no descriptor leads to it
    kernel_timer timer;
    std::uint32_t expires_ms;  ///< until the timer runs out
};

/// The end at `local` of a connection with `peer`; empty when the kernel does not know it any more.
inline std::optional<listed_socket> look_up(address local, address peer) {
    const raw_socket kernel(
        checked("socket", ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG)));
    struct {
        nlmsghdr head;
        inet_diag_req_v2 body;
    } request{};
    request.head.nlmsg_len = sizeof request;
    request.head.nlmsg_type = SOCK_DIAG_BY_FAMILY;
    request.head.nlmsg_flags = NLM_F_REQUEST;
    request.body.sdiag_family = AF_INET;
    request.body.sdiag_protocol = IPPROTO_TCP;
    request.body.idiag_states = ~0U;
    request.body.id.idiag_sport = htons(local.port);
    request.body.id.idiag_src[0] = htonl(local.host);
    request.body.id.idiag_dport = htons(peer.port);
    request.body.id.idiag_dst[0] = htonl(peer.host);
    request.body.id.idiag_cookie[0] = request.body.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
    checked("send", ::send(kernel.descriptor(), &request, sizeof request, 0));

    const std::string answer = kernel.receive(8192);
    nlmsghdr head{};
    std::memcpy(&head, answer.data(), std::min(answer.size(), sizeof head));
    if (head.nlmsg_type == NLMSG_ERROR) {
        nlmsgerr why{};
        std::memcpy(&why, answer.substr(NLMSG_HDRLEN, sizeof why).data(), sizeof why.error);
        if (why.error == -ENOENT) return std::nullopt;
        throw not_allowed("sock_diag(7) of a TCP socket: " + name_of_error(-why.error));
    }
    inet_diag_msg one;
    if (answer.size() < NLMSG_HDRLEN + sizeof one) throw not_allowed("sock_diag(7) says nothing");
    std::memcpy(&one, answer.data() + NLMSG_HDRLEN, sizeof one);
    const auto state = static_cast<tcp_state>(one.idiag_state);
    if (state == tcp_state::listen) return std::nullopt;  // only the listener of the port is left
    return listed_socket{state, one.idiag_inode, static_cast<kernel_timer>(one.idiag_timer),
                         one.idiag_expires};
}

/// An end of a connection by its addresses: it can be asked also when its descriptor is closed.
class listed_end {
public:
    listed_end(address local, address peer) : local_(local), peer_(peer) {}
    explicit listed_end(const raw_socket& connected)
        : listed_end(connected.local(), connected.peer()) {}

    [[nodiscard]] listed_end other() const { return {peer_, local_}; }
    [[nodiscard]] std::optional<listed_socket> find() const { return look_up(local_, peer_); }
    [[nodiscard]] bool is(tcp_state wanted) const {
        const auto found = find();
        return found && found->state == wanted;
    }
    [[nodiscard]] bool is_gone() const { return !find(); }
    [[nodiscard]] std::string words() const {
        const auto found = find();
        return found ? name_of(found->state) : "gone";
    }
    void wait_until(tcp_state wanted) const {
        until("an end is in " + std::string(name_of(wanted)), [&] { return is(wanted); });
    }

private:
    address local_;
    address peer_;
};

}  // namespace tcp_truth
