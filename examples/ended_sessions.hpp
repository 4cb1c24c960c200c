// ended_sessions: sessions of PostgreSQL that were closed here and that the server still has.
//
// libpq closes a socket and goes. The process of the server sees that later, and counts as a
// session until then: a pool that connected again at once would have more than its max_size for a
// moment. That process keeps its end of the socket open until it exits. So whoever still has the
// other end sees when the session is over. It is a duplicate, because libpq owns its descriptor and
// closes it.
#pragma once

#include <coro/coro.hpp>

#include <fcntl.h>
#include <libpq-fe.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

/// Any thread may use it.
class ended_sessions {
public:
    ended_sessions() = default;
    ended_sessions(const ended_sessions&) = delete;
    ended_sessions& operator=(const ended_sessions&) = delete;

    /// Closes a session, in order if it may: PQfinish. Does not wait.
    void finish(PGconn* session) noexcept {
        const int ours = PQsocket(session) < 0 ? -1 : fcntl(PQsocket(session), F_DUPFD_CLOEXEC, 0);
        PQfinish(session);
        if (ours < 0) return;  // there was no session, or it is not waited for
        shutdown(ours, SHUT_WR);  // what the close of all descriptors would have said
        try {
            auto it = std::make_shared<const ending>(ours);
            const std::lock_guard held(lock_);
            endings_.push_back(std::move(it));
        } catch (const std::bad_alloc&) {  // it is not waited for
        }
    }

    /// Returns nothing, when all that were closed before are over. A server that has vanished tells
    /// nothing: one session is waited for at most `patience` after its close.
    coro::task<> over() {
        for (const auto& each : snapshot()) {
            const auto left = each->until - std::chrono::steady_clock::now();
            if (left > left.zero()) co_await coro::move_on_after(left, end_of(each->socket));
            const std::lock_guard held(lock_);
            std::erase(endings_, each);
        }
    }

    static constexpr std::chrono::seconds patience{3};

private:
    struct ending {
        explicit ending(int owned) noexcept : socket(owned) {}
        ending(const ending&) = delete;
        ending& operator=(const ending&) = delete;
        ~ending() { close(socket); }

        const int socket;
        const std::chrono::steady_clock::time_point until =
            std::chrono::steady_clock::now() + patience;
    };

    std::vector<std::shared_ptr<const ending>> snapshot() const {
        const std::lock_guard held(lock_);
        return endings_;
    }

    /// Drops what the server still sends. libpq has made the socket non-blocking.
    static coro::task<> end_of(int socket) {
        std::array<char, 4096> dropped;
        for (;;) {
            const ssize_t count = recv(socket, dropped.data(), dropped.size(), MSG_DONTWAIT);
            const bool waits = count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
            if (count == 0 || (count < 0 && !waits)) co_return;
            co_await coro::readable(socket);
        }
    }

    mutable std::mutex lock_;
    std::vector<std::shared_ptr<const ending>> endings_;
};
