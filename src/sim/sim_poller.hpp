// The third world: no kernel, no clock, no threads. Time jumps; all that happens is in one order.
//
// It keeps the contract of runtime/poller.hpp with these particulars:
//  - Time starts at one second and moves only inside wait(), straight to the nearer of the deadline
//    and the next event. Two runs of one program with one seed are the same run.
//  - The network is this poller: sockets of one sim_poller reach each other by TCP over IPv4 and
//    IPv6 and by local names, and nobody else. Whatever crosses it (bytes, ends, resets, connects)
//    goes through the event heap, `latency` later, 0 unless set: nothing that one side submits
//    completes an operation of the other side before the next wait().
//  - A pipe of one direction holds the sender's SO_SNDBUF and the receiver's SO_RCVBUF, each as
//    asked for, 32 KiB unless set (answered doubled, as the kernel does).
//  - A connect whose listener has its backlog full waits for room, and ends with -ETIMEDOUT after
//    the 127 s of six SYN retries (tcp(7), tcp_syn_retries). Room admits at once, first come first.
//  - Where the kernel goes on with a connect that was cancelled, this world gives the attempt up
//    and the socket is as before it.
//  - Slots are reused at once, lowest index first, so that a stale handle meets a live slot.
//  - When memory runs out the program ends: a simulation is a test.
//
// Files: sim_poller.cpp the loop, submit and cancel; sim_transfer.cpp bytes; sim_connect.cpp who
// reaches whom; sim_options.cpp socket options.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "runtime/poller.hpp"
#include "runtime/poller_options.hpp"
#include "sim/event_heap.hpp"
#include "sim/lease_pool.hpp"
#include "sim/port_table.hpp"
#include "sim/random.hpp"
#include "sim/sim_socket.hpp"

namespace coro { inline namespace v0 { namespace detail {

class sim_poller final : public poller {
public:
    explicit sim_poller(const poller_options& options);
    ~sim_poller() override;

    // --- what only a simulation has

    /// Every later crossing of the network takes so long, one way.
    void set_latency(duration one_way) noexcept { latency_ = one_way; }
    /// At most so many sockets are open; beyond, open_stream() and accept answer -EMFILE.
    void limit_sockets(std::size_t most) noexcept { socket_limit_ = most; }

    // --- the contract
    [[nodiscard]] std::string_view name() const noexcept override { return "simulation"; }
    [[nodiscard]] bool submit(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void wait(time_point deadline, operation_list& completed) noexcept override;
    [[nodiscard]] bool has_more() const noexcept override { return events_.next_time() <= now_; }
    void wake() noexcept override;
    [[nodiscard]] time_point now() noexcept override { return now_; }
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override;
    std::size_t lend(operation& op) noexcept override;

    int open_stream(address_family family, detail::handle& out) noexcept override;
    int bind(detail::handle socket, const socket_address& where) noexcept override;
    int listen(detail::handle socket, int backlog) noexcept override;
    int set_option(detail::handle socket, socket_option which, int value) noexcept override;
    int get_option(detail::handle socket, socket_option which, int& value) noexcept override;
    int local_address(detail::handle socket, socket_address& out) noexcept override;
    int remote_address(detail::handle socket, socket_address& out) noexcept override;
    int shutdown(detail::handle socket, shutdown_how how) noexcept override;
    void close(detail::handle socket) noexcept override;
    int close_if_idle(detail::handle listener) noexcept override;
    int moved_bytes(detail::handle socket, std::uint64_t& out) noexcept override;
    socket_notes* notes(detail::handle socket) noexcept override;
    int shed_connection(detail::handle listener) noexcept override;
    int adopt(int descriptor, detail::handle& out) noexcept override;
    int release(detail::handle socket, int& descriptor) noexcept override;
    void discard(int /*descriptor*/) noexcept override {}  // release() gives none
    int check_stream(int /*descriptor*/, address_family /*family*/) noexcept override {
        return -EOPNOTSUPP;
    }
    int watch(int /*descriptor*/, detail::handle& /*out*/) noexcept override { return -EOPNOTSUPP; }
    int listen_local(detail::handle socket, const socket_address& where, const local_file& options,
                     file_mark& out) noexcept override;
    /// A name vanishes with its socket here.
    void remove_file(const socket_address& /*where*/, const file_mark& /*mark*/) noexcept override {
    }
    void random(void* into, std::size_t size) noexcept override;
    [[nodiscard]] poller_census census() const noexcept override;

private:
    /// What an attempt answers: a result, or nothing when it has to wait.
    using outcome = std::optional<std::int32_t>;
    using socket_pointer = std::shared_ptr<sim_socket>;

    struct slot {
        socket_pointer socket;          ///< null: the slot is free
        std::uint32_t generation = 0;
        bool closing = false;
    };

    // --- slots: sim_poller.cpp
    [[nodiscard]] slot* slot_of(detail::handle handle) noexcept;  ///< closing ones too
    [[nodiscard]] sim_socket* find(detail::handle handle) noexcept;
    [[nodiscard]] bool may_open() const noexcept { return open_sockets_ < socket_limit_; }
    detail::handle make_slot(socket_pointer socket);
    void free_slot(std::uint32_t index);
    static void set_default_options(sim_socket& socket) noexcept;  ///< sim_options.cpp

    // --- operations and events: sim_poller.cpp
    outcome attempt(sim_socket& socket, operation& op);
    static bool is_sending(const operation& op) noexcept;
    void finish(operation& op, std::int32_t result) noexcept;  ///< phase, counters
    void complete_receiver(sim_socket& socket, std::int32_t result) noexcept;
    void complete_sender(sim_socket& socket, std::int32_t result) noexcept;
    void retry_receiver(sim_socket& socket);
    void retry_sender(sim_socket& socket);
    void after(duration delay, sim_event_kind kind, sim_socket& socket, std::uint32_t amount = 0);
    void process_due_events();
    void process(const sim_event& event);
    void process_connect(const sim_event& event);
    void finish_close(std::uint32_t index);

    // --- bytes: sim_transfer.cpp
    outcome attempt_receive(sim_socket& socket, operation& op);
    outcome nothing_to_receive(sim_socket& socket) noexcept;
    std::int32_t take_bytes(sim_socket& socket, operation& op);
    outcome attempt_send(sim_socket& socket, operation& op);
    void put_bytes(sim_socket& peer, const operation& op, std::size_t size);
    void bytes_arrive(sim_socket& socket, std::size_t size);
    void reset_arrives(sim_socket& socket);
    [[nodiscard]] static std::size_t room_at(const sim_socket& sender, const sim_socket& peer);

    // --- who reaches whom: sim_connect.cpp
    outcome attempt_accept(sim_socket& listener, operation& op);
    outcome attempt_connect(sim_socket& client, operation& op);
    void connect_arrives(sim_socket& client);
    void establish(sim_socket& listener, sim_socket& client);
    void connect_fails(sim_socket& client, std::int32_t result);
    void admit_waiting(sim_socket& listener);
    void abandon_connect(sim_socket& client);
    void stop_listening(sim_socket& listener);
    /// The descriptor is gone: tells the peer, gives back the port. `hard`: by a reset.
    void close_socket(sim_socket& socket, bool hard);

    time_point now_;
    duration latency_{0};
    event_heap events_;
    operation_list* completed_ = nullptr;  ///< the list of the wait() under way
    std::size_t collected_ = 0;            ///< operations completed in the wait() under way

    std::deque<slot> slots_;
    std::vector<std::uint32_t> free_;      ///< a heap, lowest index on top
    std::size_t open_sockets_ = 0;
    std::size_t socket_limit_ = SIZE_MAX;
    std::uint64_t pending_operations_ = 0;

    port_table ports_;
    lease_pool leases_;
    sim_random random_;
    /// Set by wake() in any thread or signal handler; taken by wait().
    std::atomic<bool> woken_{false};
};

/// A simulated world of its own; options.seed decides all that is random in it.
std::unique_ptr<poller> make_sim_poller(const poller_options& options);

}}}  // namespace coro::v0::detail
