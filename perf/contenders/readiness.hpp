// What all loops over non-blocking sockets do the same way once they know that a socket is ready.
// They differ in how they learn it, and that is what is compared.
//
// A connection has no buffer of its own: the loop's is used, and only when a peer does not take its
// reply is the rest kept. Until that is gone nothing more is received from this peer, so a slow
// reader holds at most one buffer.
#pragma once

#include "common/cpu_time.hpp"
#include "common/server.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace perf {

struct unsent {
    std::vector<std::byte> bytes;
    std::size_t done = 0;
};

enum class served {
    drained,  ///< it waits for input; the last receive left nothing behind
    more,     ///< there may be more input already
    blocked,  ///< it waits until its peer takes something
    closed,   ///< its descriptor is gone
};

inline bool is_transient(int error) { return error == EAGAIN || error == EINTR; }

inline served end_of(int fd, unsent& rest) {
    rest = {};
    close(fd);
    return served::closed;
}

inline served send_rest(int fd, unsent& rest) {
    const auto left = std::span(rest.bytes).subspan(rest.done);
    const ssize_t sent = send(fd, left.data(), left.size(), MSG_NOSIGNAL);
    if (sent < 0) return is_transient(errno) ? served::blocked : end_of(fd, rest);
    rest.done += static_cast<std::size_t>(sent);
    if (rest.done < rest.bytes.size()) return served::blocked;
    rest = {};  // an idle connection owns no buffer
    return served::more;
}

/// One receive and its send, or one send of what was kept. No flag of an event is looked at:
/// receive and send say what happened, errors included.
inline served serve_once(int fd, unsent& rest, std::span<std::byte> buffer) {
    if (!rest.bytes.empty()) return send_rest(fd, rest);
    const ssize_t received = recv(fd, buffer.data(), buffer.size(), 0);
    if (received < 0 && errno == EINTR) return served::more;
    if (received < 0 && errno == EAGAIN) return served::drained;
    if (received <= 0) return end_of(fd, rest);
    const auto bytes = buffer.first(static_cast<std::size_t>(received));
    const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent == received) return bytes.size() == buffer.size() ? served::more : served::drained;
    if (sent < 0 && !is_transient(errno)) return end_of(fd, rest);
    const auto left = bytes.subspan(sent < 0 ? 0 : static_cast<std::size_t>(sent));
    rest.bytes.assign(left.begin(), left.end());
    return served::blocked;
}

/// The connections of a loop, by descriptor, and the buffer that they share.
class echo_table {
public:
    explicit echo_table(std::size_t buffer_bytes) : buffer_(buffer_bytes) {}

    void add(int fd) {
        if (unsent_.size() <= index_of(fd)) unsent_.resize(index_of(fd) + 1);
    }

    /// Whether the connection waits for room and not for input.
    bool is_blocked(int fd) const { return !unsent_[index_of(fd)].bytes.empty(); }

    served serve(int fd) { return serve_once(fd, unsent_[index_of(fd)], buffer_); }

private:
    static std::size_t index_of(int fd) { return static_cast<std::size_t>(fd); }

    std::vector<std::byte> buffer_;
    std::vector<unsent> unsent_;
};

/// The listening socket. Without descriptors or memory accepting pauses, for the listener stays
/// ready, and an eager loop would spin.
class acceptor {
public:
    explicit acceptor(int listener) : fd_(listener) {}

    int fd() const { return fd_; }
    bool is_paused() const { return resume_at_ != 0; }
    int timeout_milliseconds() const { return is_paused() ? pause_milliseconds : -1; }

    /// Gives all that wait to `take`, and pauses when there is a shortage.
    template <typename Take>
    void accept_all(Take take) {
        for (;;) {
            const int fd = accept4(fd_, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0) {
                take(fd);
            } else if (is_shortage(errno)) {
                resume_at_ = monotonic_nanoseconds() + pause_milliseconds * 1'000'000LL;
                return;
            } else if (errno != EINTR && errno != ECONNABORTED) {
                return;  // EAGAIN: none waits. Anything else is the peer's trouble; it comes again.
            }
        }
    }

    /// Whether a pause has just ended.
    bool resumes() {
        if (!is_paused() || monotonic_nanoseconds() < resume_at_) return false;
        resume_at_ = 0;
        return true;
    }

private:
    static constexpr int pause_milliseconds = 100;

    int fd_;
    std::int64_t resume_at_ = 0;  // 0: it accepts
};

/// What every program of one such loop begins with.
struct loop_start {
    loop_start(const char* name, int argc, char** argv) {
        static constexpr option options[] = {port_option, loops_option, buffer_option};
        const arguments given(name, options, argc, argv);
        const server_settings settings = read_server_settings(given);
        buffer_bytes = settings.buffer_bytes;
        exit_on_termination();
        raise_descriptor_limit();
        listener = listen_on_loopback(settings.port, SOCK_NONBLOCK);
    }

    int listener = -1;
    std::size_t buffer_bytes = 0;
};

}  // namespace perf
