// A typed `q` ends a server, as in the texts that these servers grew from: standard input is one
// more thing for which the loop waits.
#pragma once

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

namespace perf {

class keyboard {
public:
    keyboard() {
        // Without a standard input the first socket would get its number.
        const bool is_there = fcntl(STDIN_FILENO, F_GETFD) >= 0;
        if (!is_there && open("/dev/null", O_RDONLY) != STDIN_FILENO) fd_ = -1;
        // In the background of a shell a read fails then, and does not stop the server.
        signal(SIGTTIN, SIG_IGN);
    }

    /// What to wait for, as long as anything may still be typed; -1 when nothing can be.
    int fd() const { return fd_; }

    /// Call it when fd() is readable. Ends the program with 0 at a `q`; false: it was the end of
    /// the input, fd() is -1 now, and nobody may wait for standard input any more.
    bool take_typed() {
        char typed[64];
        const ssize_t count = read(fd_, typed, sizeof typed);
        if (count < 0 && (errno == EINTR || errno == EAGAIN)) return true;
        if (count <= 0) {
            fd_ = -1;
            return false;
        }
        if (std::memchr(typed, 'q', static_cast<std::size_t>(count)) != nullptr) _exit(0);
        return true;
    }

    /// For a loop that waits for nothing: looks, and takes what is there.
    void look() {
        if (fd_ < 0) return;
        pollfd typed{fd_, POLLIN, 0};
        if (poll(&typed, 1, 0) > 0) take_typed();
    }

    /// Where standard input cannot be waited for: a file is always readable.
    void ignore() { fd_ = -1; }

private:
    int fd_ = STDIN_FILENO;
};

}  // namespace perf
