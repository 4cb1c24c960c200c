// What one loop has of the simulated world: its slots, its leases, and the operations of its own
// that have completed. All else is the world's; see sim_world.hpp.
#pragma once

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <string_view>
#include <vector>

#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"
#include "sim/lease_pool.hpp"
#include "sim/sim_socket.hpp"
#include "sim/sim_world.hpp"

namespace coro { inline namespace v0 { namespace detail {

class sim_poller : public poller {
public:
    /// Completions that one wait() hands out at most, as a kernel's queue would bound them.
    static constexpr std::size_t batch = 256;

    sim_poller(sim_world& of, const poller_options& options);
    ~sim_poller() override;

    [[nodiscard]] sim_world& simulation() noexcept { return all_; }

    // --- the contract
    [[nodiscard]] std::string_view name() const noexcept override { return "simulation"; }
    [[nodiscard]] bool submit(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void wait(time_point deadline, operation_list& completed) noexcept override;
    [[nodiscard]] bool has_more() const noexcept override {
        return !ready_.empty() || all_.has_due_events();
    }
    void wake() noexcept override;
    [[nodiscard]] time_point now() noexcept override { return all_.now_; }
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override;
    std::size_t lend(operation& op) noexcept override;

    int open_stream(address_family family, detail::handle& out) noexcept override;
    int open_datagram(address_family family, detail::handle& out) noexcept override;
    int bind(detail::handle socket, const socket_address& where) noexcept override;
    int listen(detail::handle socket, int backlog) noexcept override;
    int set_option(detail::handle socket, socket_option which, int value) noexcept override;
    int get_option(detail::handle socket, socket_option which, int& value) noexcept override;
    int set_congestion(detail::handle socket, const congestion_name& name) noexcept override;
    int get_congestion(detail::handle socket, congestion_name& name) noexcept override;
    int local_address(detail::handle socket, socket_address& out) noexcept override;
    int remote_address(detail::handle socket, socket_address& out) noexcept override;
    int shutdown(detail::handle socket, shutdown_how how) noexcept override;
    void close(detail::handle socket) noexcept override;
    int close_if_idle(detail::handle listener) noexcept override;
    int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept override;
    int has_input(detail::handle socket, bool& out) noexcept override;
    int has_peer_ended(detail::handle socket, bool& out) noexcept override;
    int tcp_facts(detail::handle socket, net::tcp_info& out) noexcept override;
    int waiting_clients(detail::handle listener, net::accept_queue& out) noexcept override;
    detail::handle next_socket(std::uint32_t from, std::uint32_t& task) noexcept override;
    socket_notes* notes(detail::handle socket) noexcept override;
    int shed_connection(detail::handle listener) noexcept override;
    int detach(detail::handle socket, detached& out) noexcept override;
    int attach(detached&& what, detail::handle& out) noexcept override;
    int adopt(int /*descriptor*/, detail::handle& /*out*/) noexcept override { return -EOPNOTSUPP; }
    int release(detail::handle /*socket*/, int& /*descriptor*/) noexcept override {
        return -EOPNOTSUPP;  // there is no operating system here
    }
    int check_stream(int /*descriptor*/, address_family /*family*/) noexcept override {
        return -EOPNOTSUPP;
    }
    int watch(int /*descriptor*/, detail::handle& /*out*/) noexcept override { return -EOPNOTSUPP; }
    int listen_local(detail::handle socket, const socket_address& where, const local_file& options,
                     file_mark& out) noexcept override;
    /// A name vanishes with its socket here.
    void remove_file(const socket_address& /*where*/, const file_mark& /*mark*/) noexcept override {
    }
    [[nodiscard]] poller_census census() const noexcept override;

private:
    friend class sim_world;
    using socket_pointer = sim_world::socket_pointer;

    struct slot {
        socket_pointer socket;          ///< null: the slot is free
        std::uint32_t generation = 0;
        bool closing = false;
    };

    [[nodiscard]] slot* slot_of(detail::handle handle) noexcept;  ///< closing ones too
    [[nodiscard]] sim_socket* find(detail::handle handle) noexcept;
    /// The world counts the socket already.
    detail::handle make_slot(socket_pointer socket);
    int open_socket(socket_pointer socket, detail::handle& out);
    /// Vacates the slot; its socket lives on and is nobody's.
    socket_pointer vacate_slot(std::uint32_t index);
    /// Closes the socket and vacates its slot. Requires: nothing is pending on it.
    void free_slot(std::uint32_t index);
    static void set_default_options(sim_socket& socket) noexcept;  ///< sim_options.cpp
    [[nodiscard]] static std::uint64_t acknowledged(const sim_socket& socket) noexcept;

    void finish(operation& op, std::int32_t result) noexcept;  ///< phase, counters
    /// A pending operation has ended: the next wait() hands it out.
    void complete(operation& op, std::int32_t result) noexcept;

    sim_world& all_;
    operation_list ready_;  ///< completed, and not handed out yet

    std::deque<slot> slots_;
    std::vector<std::uint32_t> free_;  ///< a heap, lowest index on top
    std::size_t open_sockets_ = 0;
    std::uint64_t pending_operations_ = 0;  ///< those in `ready_` too
    lease_pool leases_;
    /// Set by wake() in any thread or signal handler; taken by wait().
    std::atomic<bool> woken_{false};
};

}}}  // namespace coro::v0::detail
