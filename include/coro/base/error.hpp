// Errors: the library's own error codes, io_error, cancelled and interrupted.
#pragma once

#include <array>
#include <cstddef>
#include <exception>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include <coro/base/detail/export.hpp>

namespace coro { inline namespace v0 {

/// Errors that the kernel has no number for. Everything else is an errno in
/// std::generic_category(), comparable with std::errc.
enum class errc {
    closed = 1,         ///< the stream or listener was closed, or destroyed while someone waited
    deadline_exceeded,  ///< the deadline of with_timeout, with_deadline or shield passed
    busy,               ///< a second reader (or writer) on one bare stream
    broken,             ///< an exact transfer was cut short earlier; the framing is lost
    end_of_stream,      ///< the peer ended the stream in the middle of what was asked for
    limit_exceeded,     ///< a named limit was reached (line, frame, buffer, pool, queue)
    bad_address,        ///< text that is no address; the message shows the offending part
};

/// The category of `errc`; its name is "coro".
[[nodiscard]] CORO_EXPORT const std::error_category& category() noexcept;
[[nodiscard]] CORO_EXPORT std::error_code make_error_code(errc code) noexcept;

namespace detail {
/// Words that only the text of an io_error has, instead of an endpoint or behind it.
struct error_text {
    /// Not an aggregate: as an argument, {} is an endpoint.
    explicit error_text(std::string_view shown) noexcept : text(shown) {}
    std::string_view text;
};
}  // namespace detail

/// An io_error and a `cancelled` keep so many characters of the name of an endpoint.
inline constexpr std::size_t error_endpoint_capacity = 95;

/// The exception of an awaited operation: an error code with the verb, the endpoint and the bytes
/// that had moved. what() reads `connect tcp 127.0.0.1:8080: Connection refused`. It is compared
/// with the error that it may be: `error == coro::errc::closed`,
/// `error == std::errc::connection_refused`.
class CORO_EXPORT io_error : public std::system_error {
public:
    /// `operation` must be a string literal (it is not copied). `endpoint` is copied, cut at
    /// error_endpoint_capacity characters. `bytes_transferred` counts what had moved before
    /// the error.
    io_error(std::error_code code, const char* operation, std::string_view endpoint = {},
             std::size_t bytes_transferred = 0);
    io_error(std::error_code code, const char* operation, detail::error_text only_in_what,
             std::string_view endpoint = {});
    /// what() has `more` behind the endpoint: what to do about it.
    io_error(std::error_code code, const char* operation, std::string_view endpoint,
             detail::error_text more);
    io_error(const io_error&) noexcept;
    io_error& operator=(const io_error&) = delete;
    ~io_error() override;

    [[nodiscard]] const char* operation() const noexcept { return operation_; }
    /// Of a deadline: of the peer whose read, write, flush or connect it ended. Empty where there
    /// is none: for a limit of blocking(), and text that is no address (what() shows that).
    [[nodiscard]] std::string_view endpoint() const noexcept {
        return {endpoint_.data(), endpoint_size_};
    }
    [[nodiscard]] std::size_t bytes_transferred() const noexcept { return bytes_transferred_; }

    // The comparisons of std::error_code; each for its own type, so that none is ambiguous.
    [[nodiscard]] friend bool operator==(const io_error& error, errc code) noexcept {
        return error.code() == make_error_code(code);
    }
    [[nodiscard]] friend bool operator==(const io_error& error, std::errc condition) noexcept {
        return error.code() == std::make_error_condition(condition);
    }
    [[nodiscard]] friend bool operator==(const io_error& error,
                                         const std::error_code& code) noexcept {
        return error.code() == code;
    }
    [[nodiscard]] friend bool operator==(const io_error& error,
                                         const std::error_condition& condition) noexcept {
        return error.code() == condition;
    }

private:
    const char* operation_;
    std::size_t bytes_transferred_;
    std::size_t endpoint_size_;
    std::array<char, error_endpoint_capacity> endpoint_;
};

/// Thrown out of an await when its cancel scope was cancelled. It is not a std::exception, so that
/// a handler's `catch (const std::exception&)` cannot swallow it. Never leaves run().
class CORO_EXPORT cancelled {
public:
    explicit cancelled(std::size_t bytes_transferred = 0) noexcept
        : bytes_transferred_(bytes_transferred) {}
    /// `endpoint` is copied, cut at error_endpoint_capacity characters.
    cancelled(std::size_t bytes_transferred, std::string_view endpoint) noexcept;
    cancelled(const cancelled&) noexcept = default;
    cancelled& operator=(const cancelled&) noexcept = default;
    virtual ~cancelled();

    /// Returns the number of bytes that an exact transfer on a bare stream had moved; 0 for
    /// everything else.
    [[nodiscard]] std::size_t bytes_transferred() const noexcept { return bytes_transferred_; }
    /// Returns the endpoint of the peer in whose read, write, flush or connect it found the task.
    /// It is `fd 7` for readable() and writable(), and empty for every other wait.
    [[nodiscard]] std::string_view endpoint() const noexcept {
        return {endpoint_.data(), endpoint_size_};
    }

private:
    std::size_t bytes_transferred_;
    std::size_t endpoint_size_ = 0;
    std::array<char, error_endpoint_capacity> endpoint_{};
};

/// Thrown by run() when a signal ended it before the task had a value.
class CORO_EXPORT interrupted : public std::exception {
public:
    explicit interrupted(int signal) noexcept : signal_(signal) {}
    ~interrupted() override;
    [[nodiscard]] const char* what() const noexcept override;
    /// The number of the signal that ended run(), for example SIGINT.
    [[nodiscard]] int signal() const noexcept { return signal_; }

private:
    int signal_;
};

/// run() throws it when nothing can ever happen again: every task waits, and nothing can wake one.
/// what() is that sentence and the task dump of that moment, one task a line. If the cancelled main
/// task threw something else than `cancelled`, what() says so, and that exception is nested in this
/// one (std::rethrow_if_nested). A simulation throws simulation_stuck, which is one too.
class CORO_EXPORT deadlock : public std::runtime_error {
public:
    explicit deadlock(const std::string& task_dump);
    deadlock(const deadlock&) noexcept;
    deadlock& operator=(const deadlock&) = delete;
    ~deadlock() override;

protected:
    /// With a sentence of its own.
    deadlock(std::string_view sentence, const std::string& task_dump);
};

/// The same in a simulation: every task waits, and no timer is set.
class CORO_EXPORT simulation_stuck : public deadlock {
public:
    explicit simulation_stuck(const std::string& task_dump);
    simulation_stuck(const simulation_stuck&) noexcept;
    simulation_stuck& operator=(const simulation_stuck&) = delete;
    ~simulation_stuck() override;
};

}}  // namespace coro::v0

template <>
struct std::is_error_code_enum<coro::errc> : std::true_type {};
