// One connection, served by blocking calls: by a thread of its own, or by a process of its own.
#pragma once

#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <span>

namespace perf {

inline constexpr std::size_t blocking_buffer_bytes = 65536;  // on the stack

inline bool send_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) continue;
        if (sent <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
}

/// Returns when the peer has ended the connection, which is closed then.
inline void echo_until_end(int fd) {
    std::array<std::byte, blocking_buffer_bytes> buffer;
    for (;;) {
        const ssize_t received = recv(fd, buffer.data(), buffer.size(), 0);
        if (received < 0 && errno == EINTR) continue;
        if (received <= 0) break;
        if (!send_all(fd, std::span(buffer).first(static_cast<std::size_t>(received)))) break;
    }
    close(fd);
}

}  // namespace perf
