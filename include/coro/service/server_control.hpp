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
    std::uint64_t refused = 0;       ///< clients that came at the cap, and were told so
    std::uint64_t over_address = 0;  ///< clients that came at the cap of their address
    /// Connections that the guardian has ended, for each net::end_cause.
    std::array<std::uint64_t, net::end_causes> ended{};

    [[nodiscard]] std::uint64_t ended_by(net::end_cause why) const noexcept {
        return ended[static_cast<std::size_t>(why)];
    }
};

/// The controls of one serve(), by serve_options::control. Must outlive it. For one server at a
/// time; the counts begin anew with each.
class server_control {
public:
    /// Throws: std::bad_alloc.
    CORO_EXPORT server_control();
    server_control(const server_control&) = delete;
    server_control& operator=(const server_control&) = delete;
    CORO_EXPORT ~server_control();

    /// No more connections are accepted, from soon on: clients wait in the kernel's queue. Those
    /// that have been accepted go on. Has an effect on servers that begin later too. Idempotent.
    /// Thread-safe within the run: any of its loops may call it.
    CORO_EXPORT void pause_accepting() noexcept;
    /// Accepts again. Idempotent. Thread-safe within the run.
    CORO_EXPORT void resume_accepting() noexcept;
    /// Thread-safe.
    [[nodiscard]] CORO_EXPORT bool is_paused() const noexcept;
    /// Thread-safe; the counts are of nearly the same moment.
    [[nodiscard]] CORO_EXPORT server_stats stats() const noexcept;

private:
    friend struct detail::server_access;
    std::unique_ptr<detail::server_board> board_;
};

}}  // namespace coro::v0
