#include "support/own_network.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace coro_test {
namespace {

constexpr const char* near_name = "near";
constexpr const char* far_name = "far";
constexpr const char* own_namespace = "/proc/thread-self/ns/net";

std::string failed(const char* what) {
    return std::string(what) + " answered " + std::strerror(errno);
}

/// A netlink request that grows by attributes; see rtnetlink(7).
class request {
public:
    request(std::uint16_t type, std::uint16_t flags) {
        header().nlmsg_len = NLMSG_LENGTH(sizeof(ifinfomsg));
        header().nlmsg_type = type;
        header().nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags);
    }

    void text(std::uint16_t type, std::string_view value) {
        add(type, value.data(), value.size());
    }
    void number(std::uint16_t type, std::uint32_t value) { add(type, &value, sizeof value); }
    /// Opens an attribute that holds others, or a structure; `end` closes it.
    std::size_t begin(std::uint16_t type) {
        const std::size_t at = NLMSG_ALIGN(header().nlmsg_len);
        add(type, nullptr, 0);
        return at;
    }
    void end(std::size_t at) {
        rtattr attribute{};
        std::memcpy(&attribute, memory_.data() + at, sizeof attribute);
        attribute.rta_len = static_cast<unsigned short>(NLMSG_ALIGN(header().nlmsg_len) - at);
        std::memcpy(memory_.data() + at, &attribute, sizeof attribute);
    }
    void blank(std::size_t size) {
        header().nlmsg_len = static_cast<std::uint32_t>(NLMSG_ALIGN(header().nlmsg_len) + size);
    }

    /// 0, or the errno that the kernel answers.
    int send() {
        const int line = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
        if (line < 0) return errno;
        std::array<char, 1024> answer{};
        int error = EIO;
        if (::send(line, memory_.data(), header().nlmsg_len, 0) >= 0 &&
            ::recv(line, answer.data(), answer.size(), 0) >=
                static_cast<ssize_t>(NLMSG_LENGTH(sizeof(int))))
            std::memcpy(&error, NLMSG_DATA(answer.data()), sizeof error);
        ::close(line);
        return error < 0 ? -error : error;
    }

private:
    nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(memory_.data()); }
    void add(std::uint16_t type, const void* value, std::size_t size) {
        const std::size_t at = NLMSG_ALIGN(header().nlmsg_len);
        const rtattr attribute{static_cast<unsigned short>(RTA_LENGTH(size)), type};
        std::memcpy(memory_.data() + at, &attribute, sizeof attribute);
        if (size != 0) std::memcpy(memory_.data() + at + RTA_LENGTH(0), value, size);
        header().nlmsg_len = static_cast<std::uint32_t>(at + RTA_ALIGN(RTA_LENGTH(size)));
    }

    alignas(nlmsghdr) std::array<char, 1024> memory_{};
};

sockaddr_in address_of(std::uint32_t host, std::uint16_t port = 0) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(host);
    address.sin_port = htons(port);
    return address;
}

/// netdevice(7), in the present namespace.
class interface {
public:
    explicit interface(const char* name)
        : socket_(::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)), name_(name) {}
    interface(const interface&) = delete;
    interface& operator=(const interface&) = delete;
    ~interface() { ::close(socket_); }

    bool number(std::uint32_t host) {
        ifreq asked = named();
        const sockaddr_in address = address_of(host);
        std::memcpy(&asked.ifr_addr, &address, sizeof address);
        if (::ioctl(socket_, SIOCSIFADDR, &asked) != 0) return false;
        const sockaddr_in mask = address_of(0xffffff00);
        std::memcpy(&asked.ifr_netmask, &mask, sizeof mask);
        return ::ioctl(socket_, SIOCSIFNETMASK, &asked) == 0;
    }
    bool switch_on(bool on) {
        ifreq asked = named();
        if (::ioctl(socket_, SIOCGIFFLAGS, &asked) != 0) return false;
        const int up = on ? asked.ifr_flags | IFF_UP : asked.ifr_flags & ~IFF_UP;
        asked.ifr_flags = static_cast<short>(up);
        return ::ioctl(socket_, SIOCSIFFLAGS, &asked) == 0;
    }
    bool hardware_address(sockaddr& out) {
        ifreq asked = named();
        if (::ioctl(socket_, SIOCGIFHWADDR, &asked) != 0) return false;
        out = asked.ifr_hwaddr;
        return true;
    }
    /// arp(7): frames for `host` go to `hardware`, without asking.
    bool know(std::uint32_t host, const sockaddr& hardware) {
        arpreq entry{};
        const sockaddr_in address = address_of(host);
        std::memcpy(&entry.arp_pa, &address, sizeof address);
        entry.arp_ha = hardware;
        entry.arp_flags = ATF_COM | ATF_PERM;
        std::strncpy(entry.arp_dev, name_, sizeof entry.arp_dev - 1);
        return ::ioctl(socket_, SIOCSARP, &entry) == 0;
    }

private:
    [[nodiscard]] ifreq named() const {
        ifreq asked{};
        std::strncpy(asked.ifr_name, name_, sizeof asked.ifr_name - 1);
        return asked;
    }
    int socket_;
    const char* name_;
};

}  // namespace

own_network::~own_network() {
    if (near_ >= 0) ::close(near_);
    if (far_ >= 0) ::close(far_);
}

std::string own_network::open() {
    // As root in the machine's own user namespace; else as root of a new one (user_namespaces(7)).
    if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
        return failed("unshare(2) of a network namespace");
    near_ = ::open(own_namespace, O_RDONLY | O_CLOEXEC);
    if (::unshare(CLONE_NEWNET) != 0) return failed("unshare(2) of a second network namespace");
    far_ = ::open(own_namespace, O_RDONLY | O_CLOEXEC);
    if (near_ < 0 || far_ < 0) return failed("opening a network namespace");
    enter(near_);
    if (std::string why = make_cable(); !why.empty()) return why;
    return configure();
}

void own_network::enter(int network_namespace) {
    if (::setns(network_namespace, CLONE_NEWNET) == 0) return;
    std::perror("setns(2) into a network namespace of the test's own");
    std::abort();
}

/// A pair of interfaces, veth(4), one end each.
std::string own_network::make_cable() {
    request make(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
    make.text(IFLA_IFNAME, near_name);
    const std::size_t info = make.begin(IFLA_LINKINFO);
    make.text(IFLA_INFO_KIND, "veth");
    const std::size_t data = make.begin(IFLA_INFO_DATA);
    const std::size_t peer = make.begin(VETH_INFO_PEER);
    make.blank(sizeof(ifinfomsg));
    make.text(IFLA_IFNAME, far_name);
    make.number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(far_));
    make.end(peer);
    make.end(data);
    make.end(info);
    errno = make.send();
    return errno == 0 ? std::string() : failed("making a pair of veth interfaces");
}

std::string own_network::configure() {
    sockaddr far_hardware{};
    enter(far_);
    bool done = interface("lo").switch_on(true) && interface(far_name).number(far_address) &&
                interface(far_name).switch_on(true) &&
                interface(far_name).hardware_address(far_hardware);
    enter(near_);
    done = done && interface("lo").switch_on(true) && interface(near_name).number(near_address) &&
           interface(near_name).switch_on(true) &&
           interface(near_name).know(silent_address, far_hardware) &&
           // Or the lost cable would be noticed by the addresses that nobody answers for.
           interface(near_name).know(far_address, far_hardware);
    if (!done) return failed("configuring the interfaces");
    hurry();
    // A new link drops what is sent until the kernel has noticed its carrier, up to a second later:
    // nobody listens at this port, and the refusal has come through.
    const int probe = far_socket();
    const sockaddr_in nobody = address_of(near_address, 9);
    const int answer = ::connect(probe, reinterpret_cast<const sockaddr*>(&nobody), sizeof nobody);
    const bool carries = answer != 0 && errno == ECONNREFUSED;
    ::close(probe);
    return carries ? std::string() : failed("the first packet");
}

void own_network::hurry() {
    // arp(7): how long to wait for an answer; where it cannot be set, three seconds in all.
    const std::string path =
        std::string("/proc/sys/net/ipv4/neigh/") + near_name + "/retrans_time_ms";
    const int setting = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
    if (setting < 0) return;
    [[maybe_unused]] const ssize_t written = ::write(setting, "50", 2);
    ::close(setting);
}

int own_network::far_socket() {
    enter(far_);
    const int made = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    enter(near_);
    return made;
}

int own_network::far_listener(std::uint16_t& port) {
    const int made = far_socket();
    sockaddr_in address = address_of(far_address);
    socklen_t size = sizeof address;
    auto* const where = reinterpret_cast<sockaddr*>(&address);
    if (::bind(made, where, size) != 0 || ::listen(made, 64) != 0 ||
        ::getsockname(made, where, &size) != 0)
        std::abort();
    port = ntohs(address.sin_port);
    return made;
}

int own_network::far_client(std::uint16_t port) {
    const int made = far_socket();
    const sockaddr_in address = address_of(near_address, port);
    if (::connect(made, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0)
        std::abort();
    return made;
}

void own_network::connect_cable(bool connected) {
    enter(far_);
    const bool done = interface(far_name).switch_on(connected);
    enter(near_);
    if (!done) std::abort();
}

}  // namespace coro_test
