// postgres_connection: a client of PostgreSQL. libpq reads and writes its own socket, and never
// blocks; this library waits for it (readable, writable).
//
// libpq owns the descriptor. It may close it and open another one while it connects: for the next
// host, or to try again without TLS. A wait here refers to a descriptor for its own length only,
// and libpq changes it in its own calls only, which nobody makes during a wait. So nothing is
// registered that could be left over, and each wait asks PQsocket anew.
#pragma once

#include <coro/coro.hpp>
#include <coro/runtime/blocking.hpp>

#include <libpq-fe.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "postgres_result.hpp"

/// The values of $1, $2 and so on, as text; nothing is NULL.
using postgres_values = std::vector<std::optional<std::string>>;

/// One session. It belongs to no loop: between two queries a pool may take it to any.
class postgres_connection {
public:
    /// Requires: `session` is connected, and its deleter closes it.
    explicit postgres_connection(std::shared_ptr<PGconn> session)
        : session_(std::move(session)), peer_(peer_of(session_.get())) {
        PQsetnonblocking(raw(), 1);
    }

    /// Returns `postgres_result`; an error that leaves the session usable is one too.
    /// Throws: postgres_error (the session is lost), io_error, cancelled.
    /// Cancel safety: the server is told to stop the query, and its end is awaited, for 2 s at
    /// most.
    coro::task<postgres_result> query(std::string sql, postgres_values values = {}) {
        const auto ask = [&]() -> coro::task<postgres_result> { return exchange(sql, values); };
        const auto leave = [this]() -> coro::task<> { return stop(); };
        co_return co_await coro::with_cleanup(ask, leave, std::chrono::seconds(2));
    }

    /// No query is under way, or was cut without its end, and no transaction is open.
    [[nodiscard]] bool is_clean() const noexcept {
        return state_ == state::idle && PQtransactionStatus(raw()) == PQTRANS_IDLE;
    }
    /// Between two queries: the end, or what the server says before it ends a session.
    [[nodiscard]] bool has_input() const noexcept {
        char first = 0;
        return recv(PQsocket(raw()), &first, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN;
    }

    postgres_connection detach() && { return std::move(*this); }
    postgres_connection attach() { return std::move(*this); }

    /// Host and port.
    static std::string peer_of(const PGconn* session) {
        const std::string host = PQhost(session), port = PQport(session);
        return (host.empty() ? "server" : host) + (port.empty() ? "" : ":" + port);
    }

private:
    enum class state { idle, asking, spoilt };

    [[nodiscard]] PGconn* raw() const noexcept { return session_.get(); }
    [[nodiscard]] postgres_error lost() {
        state_ = state::spoilt;
        return {"query", peer_, PQerrorMessage(raw())};
    }

    coro::task<postgres_result> exchange(const std::string& sql, const postgres_values& values) {
        std::vector<const char*> texts;
        for (const auto& each : values) texts.push_back(each ? each->c_str() : nullptr);
        state_ = state::asking;
        if (PQsendQueryParams(raw(), sql.c_str(), static_cast<int>(texts.size()), nullptr,
                              texts.data(), nullptr, nullptr, 0) == 0)
            throw lost();
        int unsent = 0;
        while ((unsent = PQflush(raw())) > 0) {
            // A server that cannot get rid of its output takes no input.
            auto ready = co_await coro::when_any(coro::readable(PQsocket(raw())),
                                                 coro::writable(PQsocket(raw())));
            if (ready.index() == 1) ready.get<1>();
            if (ready.index() == 0) ready.get<0>();
            if (PQconsumeInput(raw()) == 0) throw lost();
        }
        if (unsent < 0) throw lost();
        co_return co_await last_result();
    }

    /// What comes to the end of the query. The last of it counts, or the first error: behind that
    /// of a session that was ended comes one more, that the socket was closed.
    coro::task<postgres_result> last_result() {
        std::optional<postgres_result> last;
        for (;;) {
            while (PQisBusy(raw()) != 0) {
                co_await coro::readable(PQsocket(raw()));
                if (PQconsumeInput(raw()) == 0) break;  // PQgetResult has the reason
            }
            PGresult* const next = PQgetResult(raw());
            if (next == nullptr) break;
            postgres_result came(next, peer_);
            if (!last || !last->is_error()) last = std::move(came);
            const ExecStatusType status = PQresultStatus(next);
            if (status != PGRES_COPY_IN && status != PGRES_COPY_OUT && status != PGRES_COPY_BOTH)
                continue;
            state_ = state::spoilt;
            throw postgres_error("query", peer_, "COPY needs more than a query");
        }
        if (PQstatus(raw()) == CONNECTION_BAD || !last) {
            state_ = state::spoilt;
            if (last && last->is_error()) throw last->error();
            throw lost();
        }
        state_ = state::idle;
        co_return std::move(*last);
    }

    /// After an exchange, whatever its end. A server that does not know that nobody waits would go
    /// on with the query, and with its locks. PQcancel connects and blocks, so a thread does that.
    coro::task<> stop() {
        if (state_ != state::asking) co_return;
        const std::shared_ptr<PGcancel> to_stop(PQgetCancel(raw()), &PQfreeCancel);
        const auto cancel = [](const std::shared_ptr<PGcancel>& which) {
            char why[256] = "";
            return PQcancel(which.get(), why, sizeof why) != 0;
        };
        if (co_await coro::blocking(cancel, to_stop)) co_await last_result();
    }

    std::shared_ptr<PGconn> session_;
    std::string peer_;
    state state_ = state::idle;
};
