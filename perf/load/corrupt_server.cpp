// The cheating echo server. Slow and simple on purpose: blocking sends, poll(2), small messages.
#include "load/corrupt_server.hpp"

#include "common/failure.hpp"
#include "common/server.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <span>
#include <vector>

namespace load {

namespace {

constexpr std::uint64_t honest_receives = 20;

class cheat {
public:
    explicit cheat(corruption kind) : kind_(kind) {}

    /// Alters what is sent back to `fd` once its time has come.
    void apply(int fd, std::vector<std::byte>& bytes) {
        const bool now = ++receives_ > honest_receives && !done_ && kind_ != corruption::none;
        std::vector<std::byte> original = bytes;
        if (now) commit(fd, bytes);
        last_ = std::move(original);
        last_fd_ = fd;
    }

private:
    void commit(int fd, std::vector<std::byte>& bytes) {
        if (kind_ == corruption::flip) {
            bytes[bytes.size() / 2] ^= std::byte{1};
        } else if (kind_ == corruption::drop) {
            bytes.erase(bytes.begin());
        } else if ((fd == last_fd_) == (kind_ == corruption::repeat)) {
            bytes = last_;  // an older message of this connection, or a message of another one
        } else {
            return;  // the message before does not serve this kind: wait for one that does
        }
        done_ = true;
    }

    corruption kind_;
    std::uint64_t receives_ = 0;
    bool done_ = false;
    std::vector<std::byte> last_;
    int last_fd_ = -1;
};

bool send_all(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const ssize_t sent = send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) return false;
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
    return true;
}

bool echo_once(int fd, cheat& how) {
    std::vector<std::byte> bytes(16384);
    const ssize_t received = recv(fd, bytes.data(), bytes.size(), 0);
    if (received <= 0) return false;
    bytes.resize(static_cast<std::size_t>(received));
    how.apply(fd, bytes);
    return send_all(fd, bytes);
}

}  // namespace

void serve_corrupt(std::uint16_t port, corruption kind) {
    perf::exit_on_termination();
    const int listener = perf::listen_on_loopback(port, 0);
    perf::announce(listener);
    cheat how(kind);
    std::vector<pollfd> watched{{.fd = listener, .events = POLLIN, .revents = 0}};
    for (;;) {
        if (poll(watched.data(), watched.size(), -1) < 0 && errno != EINTR) {
            perf::fail_errno("wait for events", errno, "report this; it should not happen");
        }
        for (std::size_t i = 1; i < watched.size(); ++i) {
            if (watched[i].revents == 0 || echo_once(watched[i].fd, how)) continue;
            close(watched[i].fd);
            watched[i].fd = -1;  // poll skips it
        }
        std::erase_if(watched, [](const pollfd& each) { return each.fd < 0; });
        if (watched[0].revents == 0) continue;
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) perf::fail_errno("accept", errno, "raise ulimit -n");
        watched.push_back({.fd = fd, .events = POLLIN, .revents = 0});
    }
}

}  // namespace load
