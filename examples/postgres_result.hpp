// postgres_result: what PostgreSQL has answered to a query, and the exception for an error.
#pragma once

#include <libpq-fe.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

/// what() reads `query postgres /tmp:5432: ERROR: division by zero (22012)`, in one line.
class postgres_error : public std::runtime_error {
public:
    postgres_error(const std::string& verb, const std::string& peer, std::string why,
                   std::string state = {})
        : std::runtime_error(verb + " postgres " + peer + ": " + one_line(std::move(why)) +
                             (state.empty() ? "" : " (" + state + ")")),
          sqlstate_(std::move(state)) {}

    /// Five characters; empty where the error is none of the server. See: PostgreSQL, appendix A.
    [[nodiscard]] const std::string& sqlstate() const noexcept { return sqlstate_; }

private:
    static std::string one_line(std::string text) {
        text.erase(text.find_last_not_of('\n') + 1);
        std::replace(text.begin(), text.end(), '\n', ' ');
        std::replace(text.begin(), text.end(), '\t', ' ');
        return text;
    }
    std::string sqlstate_;
};

/// Owns a result of libpq, which holds all rows in memory: a query that may have many has a LIMIT.
/// One that the server has refused is a result too, because the connection is as good as before.
/// rows(), columns() and at() throw it as a postgres_error. Call them where the connection has been
/// given back, because an exception would close it.
class postgres_result {
public:
    postgres_result(PGresult* of, std::string peer) : result_(of), peer_(std::move(peer)) {}

    [[nodiscard]] bool is_error() const noexcept {
        const ExecStatusType status = PQresultStatus(result_.get());
        return status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK &&
               status != PGRES_EMPTY_QUERY;
    }
    [[nodiscard]] postgres_error error() const {
        const std::string primary = field(PG_DIAG_MESSAGE_PRIMARY);
        if (primary.empty())  // none of the server, but of libpq
            return {"query", peer_, PQresultErrorMessage(result_.get())};
        return {"query", peer_, field(PG_DIAG_SEVERITY) + ": " + primary, field(PG_DIAG_SQLSTATE)};
    }

    [[nodiscard]] int rows() const { return PQntuples(&checked()); }
    [[nodiscard]] int columns() const { return PQnfields(&checked()); }
    /// Nothing for NULL. The view is valid as long as the result.
    [[nodiscard]] std::optional<std::string_view> at(int row, int column) const {
        const PGresult& all = checked();
        if (PQgetisnull(&all, row, column) != 0) return std::nullopt;
        return std::string_view(PQgetvalue(&all, row, column),
                                static_cast<std::size_t>(PQgetlength(&all, row, column)));
    }
    /// For all else that libpq says of a result.
    [[nodiscard]] const PGresult& checked() const {
        if (is_error()) throw error();
        return *result_;
    }

private:
    std::string field(int code) const {
        const char* const text = PQresultErrorField(result_.get(), code);
        return text == nullptr ? "" : text;
    }
    struct cleared {
        void operator()(PGresult* of) const noexcept { PQclear(of); }
    };
    std::unique_ptr<PGresult, cleared> result_;
    std::string peer_;
};
