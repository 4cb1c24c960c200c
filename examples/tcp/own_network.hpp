// own_network: two network namespaces of this program's own (network_namespaces(7)), near and far:
// what is set, lost or counted in them is so for nobody else. They are gone with the program.
#pragma once

#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include "errors.hpp"
#include "raw_socket.hpp"

namespace tcp_truth {

/// A descriptor that is no socket of TCP: closed with its owner.
using descriptor = raw_socket;

/// netdevice(7), in the namespace in which the calling thread is.
class interface {
public:
    explicit interface(const char* name)
        : socket_(checked("socket", ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))) {
        std::strncpy(asked_.ifr_name, name, sizeof asked_.ifr_name - 1);
    }
    /// The address 10.77.0.x/24, say.
    void number(std::uint32_t host, std::uint32_t mask) {
        put(SIOCSIFADDR, host);
        put(SIOCSIFNETMASK, mask);
    }
    void up() {
        ask("SIOCGIFFLAGS", SIOCGIFFLAGS);
        asked_.ifr_flags = static_cast<short>(asked_.ifr_flags | IFF_UP);
        ask("SIOCSIFFLAGS", SIOCSIFFLAGS);
    }

private:
    void put(unsigned long request, std::uint32_t value) {
        const sockaddr_in raw = address{0, value}.raw();
        std::memcpy(&asked_.ifr_addr, &raw, sizeof raw);
        ask("SIOCSIFADDR", request);
    }
    void ask(const char* verb, unsigned long request) {
        checked(verb, ::ioctl(socket_.descriptor(), request, &asked_));
    }
    descriptor socket_;
    ifreq asked_{};
};

class own_network {
public:
    /// The program is in the near namespace from here on. Both have 127.0.0.1, and no way out.
    own_network() {
        // As root in the machine's own user namespace; else as root of a new one.
        if (::unshare(CLONE_NEWNET) != 0 && ::unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0)
            throw not_allowed("unshare(2) of a network namespace: " + name_of_error(errno));
        near_ = present();
        interface("lo").up();
        if (::unshare(CLONE_NEWNET) != 0)
            throw not_allowed("unshare(2) of a second one: " + name_of_error(errno));
        far_ = present();
        interface("lo").up();
        enter(near_);
    }

    /// Runs `what` in the far namespace: the sockets that it makes stay there.
    template <typename What>
    auto far(What what) const {
        const returner back{*this};
        enter(far_);
        return what();
    }

    /// Sets a sysctl of the present namespace, named as in ip-sysctl.rst: "tcp_syncookies".
    void set(const std::string& name, const std::string& value) const {
        std::ofstream file(path_of(name));
        if (!(file << value << std::flush))
            throw not_allowed("writing " + path_of(name) + ": " + name_of_error(errno));
    }
    [[nodiscard]] std::string setting(const std::string& name) const {
        std::ifstream file(path_of(name));
        std::string value;
        if (!std::getline(file, value)) fail("reading " + path_of(name));
        return value;
    }
    /// A counter of the near namespace, of /proc/net/netstat or snmp: ("TcpExt", "ListenDrops").
    [[nodiscard]] static long counter(const std::string& group, const std::string& name) {
        for (const char* path : {"/proc/net/netstat", "/proc/net/snmp"}) {
            std::ifstream file(path);
            std::string names;
            std::string values;
            while (std::getline(file, names) && std::getline(file, values))
                if (names.starts_with(group + ":")) {
                    std::istringstream each_name(names);
                    std::istringstream each_value(values);
                    std::string value;
                    for (std::string each; each_name >> each && each_value >> value;)
                        if (each == name) return std::stol(value);
                }
        }
        throw not_allowed("/proc/net has no counter " + group + " " + name);
    }

private:
    struct returner {
        const own_network& network;
        ~returner() { enter(network.near_); }
    };
    static std::string path_of(const std::string& name) {
        return (name.find('/') == std::string::npos ? "/proc/sys/net/ipv4/" : "/proc/sys/net/") +
               name;
    }
    static descriptor present() {
        constexpr const char* path = "/proc/thread-self/ns/net";
        return descriptor(checked("open", ::open(path, O_RDONLY | O_CLOEXEC)));
    }
    static void enter(const descriptor& name_space) {
        checked("setns", ::setns(name_space.descriptor(), CLONE_NEWNET));
    }

    descriptor near_{-1};
    descriptor far_{-1};
};

}  // namespace tcp_truth
