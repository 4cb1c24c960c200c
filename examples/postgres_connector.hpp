// postgres_connector: makes the sessions of a pool. The server never has more than max_size.
#pragma once

#include <coro/coro.hpp>
#include <coro/runtime/blocking.hpp>

#include <libpq-fe.h>

#include <memory>
#include <new>
#include <string>
#include <utility>

#include "ended_sessions.hpp"
#include "postgres_connection.hpp"

class postgres_connector {
public:
    /// `to` is a connection string of libpq, such as `host=/run/postgresql dbname=shop`.
    explicit postgres_connector(std::string to) : to_(std::move(to)) {}

    /// Both functions run on a thread for blocking calls, because they look up names and compute
    /// hashes of passwords. Each has a share in the session: whoever is cancelled here leaves it to
    /// the call that still runs.
    coro::task<postgres_connection> operator()() const {
        co_await ended_->over();
        using ending = std::shared_ptr<ended_sessions>;
        const auto start = [](const std::string& to, const ending& ended) {
            PGconn* const made = PQconnectStart(to.c_str());
            if (made == nullptr) throw std::bad_alloc();
            // Otherwise libpq writes them to stderr, with all that a query may put there.
            PQsetNoticeProcessor(made, [](void*, const char*) {}, nullptr);
            return std::shared_ptr<PGconn>(made, [ended](PGconn* it) { ended->finish(it); });
        };
        const auto go_on = [](const std::shared_ptr<PGconn>& of) {
            return PQconnectPoll(of.get());
        };

        const std::shared_ptr<PGconn> session = co_await coro::blocking(start, to_, ended_);
        PostgresPollingStatusType next =
            PQstatus(session.get()) == CONNECTION_BAD ? PGRES_POLLING_FAILED
                                                      : PGRES_POLLING_WRITING;
        while (next != PGRES_POLLING_OK) {
            if (next == PGRES_POLLING_FAILED)
                throw postgres_error("connect", postgres_connection::peer_of(session.get()),
                                     PQerrorMessage(session.get()));
            if (next == PGRES_POLLING_READING) co_await coro::readable(PQsocket(session.get()));
            else co_await coro::writable(PQsocket(session.get()));
            next = co_await coro::blocking(go_on, session);
        }
        co_return postgres_connection(session);
    }

    /// An empty query is the shortest way there and back.
    coro::task<bool> validate(postgres_connection& of) const {
        const postgres_result result = co_await of.query("");
        co_return !result.is_error();
    }
    bool clean(postgres_connection& of) const { return of.is_clean(); }

private:
    std::string to_;
    std::shared_ptr<ended_sessions> ended_ = std::make_shared<ended_sessions>();
};
