// server_control: pauses a server that runs, and shows its counts.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include <coro/base/detail/export.hpp>
#include <coro/net/guardian.hpp>

namespace coro { inline namespace v0 { namespace detail {
class server_board;
struct server_access;
}}}

namespace coro { inline namespace v0 {

/// Counts of a server since it began, of one moment.
struct server_stats {
    std::uint64_t accepted = 0;      ///< connections that got a handler
    std::uint64_t active = 0;        ///< of these, those that have not ended
    std::uint64_t failed = 0;        ///< handlers that ended with an exception
    std::uint64_t refused = 0;       ///< clients that got serve_options::refusal
    std::uint64_t over_address = 0;  ///< clients that came at the cap of their address
    /// Connections that the guardian has ended, for each net::end_cause.
    std::array<std::uint64_t, net::end_causes> ended{};

    [[nodiscard]] std::uint64_t ended_by(net::end_cause why) const noexcept {
        return ended[static_cast<std::size_t>(why)];
    }
};

/// The controls of one serve(), by serve_options::control. Must outlive it. For one server at a
/// time (another one aborts); the counts begin anew with each.
class server_control {
public:
    /// Throws: std::bad_alloc.
    CORO_EXPORT server_control();
    server_control(const server_control&) = delete;
    server_control& operator=(const server_control&) = delete;
    CORO_EXPORT ~server_control();

    /// No more connections are accepted, from soon on: clients wait in the kernel's queue, and a
    /// stop leaves them there. Those that have been accepted go on. Has an effect on servers that
    /// begin later too. Idempotent; thread-safe. Throws: std::bad_alloc, and nothing has changed.
    CORO_EXPORT void pause_accepting();
    /// Accepts again. Idempotent; thread-safe. Throws as pause_accepting().
    CORO_EXPORT void resume_accepting();
    /// Thread-safe.
    [[nodiscard]] CORO_EXPORT bool is_paused() const noexcept;
    /// Thread-safe; the counts are of nearly the same moment.
    [[nodiscard]] CORO_EXPORT server_stats stats() const noexcept;

private:
    friend struct detail::server_access;
    std::shared_ptr<detail::server_board> board_;
};

}}  // namespace coro::v0
