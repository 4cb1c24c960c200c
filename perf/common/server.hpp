// What every yardstick server does the same way: its options, its listening socket, its end.
//
// The contract that the scripts rely on: bind 127.0.0.1, set TCP_NODELAY, print
// `listening 127.0.0.1:<port>` once connections are accepted, exit 0 on SIGTERM.
#pragma once

#include "common/arguments.hpp"
#include "common/failure.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>

namespace perf {

inline constexpr option port_option{"port", "P", "port on 127.0.0.1; 0 takes any free one (0)"};
inline constexpr option loops_option{"loops", "N", "event loops; only 1 is supported (1)"};
inline constexpr option buffer_option{"buffer", "BYTES", "bytes per receive (65536)"};

inline constexpr int listen_backlog = 4096;

struct server_settings {
    std::uint16_t port = 0;
    std::size_t buffer_bytes = 65536;
};

inline void require_one_loop(const arguments& given) {
    if (given.whole("loops", 1, 1, 1024) != 1) {
        arguments::refuse("--loops", "this yardstick has one loop", "give 1 or leave it out");
    }
}

inline std::uint16_t read_port(const arguments& given) {
    return static_cast<std::uint16_t>(given.whole("port", 0, 0, 65535));
}

inline server_settings read_server_settings(const arguments& given) {
    require_one_loop(given);
    return {.port = read_port(given),
            .buffer_bytes = given.whole("buffer", 65536, 1, 64 << 20)};
}

/// TCP_NODELAY is set on the listener because accepted sockets inherit it: one call, not one each.
inline int listen_on_loopback(std::uint16_t port, int extra_type_flags) {
    const std::string place = "127.0.0.1:" + std::to_string(port);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | extra_type_flags, 0);
    if (fd < 0) fail_errno("open a socket", errno, "raise the descriptor limit (ulimit -n)");
    const int on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    sockaddr_in at{};
    at.sin_family = AF_INET;
    at.sin_port = htons(port);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, reinterpret_cast<const sockaddr*>(&at), sizeof at) != 0) {
        fail_errno("bind " + place, errno, "choose another --port, or 0 for any");
    }
    if (listen(fd, listen_backlog) != 0) {
        fail_errno("listen on " + place, errno, "choose another --port, or 0 for any");
    }
    return fd;
}

inline void announce(int listener) {
    sockaddr_in at{};
    socklen_t length = sizeof at;
    getsockname(listener, reinterpret_cast<sockaddr*>(&at), &length);
    std::printf("listening 127.0.0.1:%u\n", unsigned{ntohs(at.sin_port)});
    std::fflush(stdout);
}

/// There is nothing to unwind in a yardstick, so the handler ends the process itself: the loop pays
/// for no signal mask and no flag.
inline void exit_on_termination() {
    struct sigaction action {};
    action.sa_handler = [](int) { _exit(0); };
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
}

inline void raise_descriptor_limit() {
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

/// Out of descriptors or memory: accepting must pause, for the listener stays ready and an eager
/// loop would spin at 100 %.
inline bool is_shortage(int error) {
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM;
}

}  // namespace perf
