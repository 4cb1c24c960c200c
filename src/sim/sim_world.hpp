// The third world: no kernel, no clock, no threads. Time jumps; all that happens is in one order.
//
// It keeps the contract of runtime/poller.hpp with these particulars:
//  - Time starts at one second and moves only inside of a wait(), straight to the nearer of the
//    deadline and the next event. Two runs of one program with one seed are the same run.
//  - The loops of a run turn on one thread. They wait for each other: a wait() does not move the
//    clock while an operation of another loop has completed and that loop does not know it yet.
//  - The network is this world: sockets of its pollers reach each other by TCP and UDP over IPv4
//    and IPv6, streams also by local names, and nobody else. Whatever crosses it (bytes, messages,
//    ends, resets, connects) goes through the event heap and takes `latency`, 0 unless set: nothing
//    that one side submits completes an operation of the other side before the next wait(). What is
//    on its way to one stream arrives in the order in which it was sent. Messages keep the order of
//    their sender.
//  - Without a seed (0) nothing is random. With one it decides: how long each crossing takes
//    between the two bounds, how many bytes a transfer moves, which of several loops turns next,
//    and which strand of those that are ready is resumed (loop_team.cpp).
//  - A pipe of one direction holds the sender's SO_SNDBUF and the receiver's SO_RCVBUF, each as
//    asked for, 32 KiB unless set (answered doubled, as the kernel does).
//  - A datagram is lost in two ways only: nobody is bound where it arrives, or the queue there is
//    full: SO_RCVBUF as asked for, headers counted; an empty queue takes one of any size. A sender
//    waits while what is on its way from it fills its SO_SNDBUF. What one socket sends stays in
//    order. A connected sender is told of nobody (ECONNREFUSED) one crossing later.
//  - A connect whose listener has its backlog full waits for room, and ends with -ETIMEDOUT after
//    the 127 s of six SYN retries (tcp(7), tcp_syn_retries); one to a local name waits without end.
//    Room admits at once, first come first.
//  - Where the kernel goes on with a connect that was cancelled, this world gives the attempt up
//    and the socket is as before it.
//  - Slots are reused at once, lowest index first, so that a stale handle meets a live slot.
//  - When memory runs out the program ends: a simulation is a test.
//
// Files: sim_world.cpp clock, events and chance; sim_poller.cpp slots, submit, cancel and wait;
// sim_transfer.cpp bytes; sim_datagram.cpp messages; sim_connect.cpp the way of a connection;
// sim_options.cpp socket options.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <coro/sim/simulation.hpp>

#include "runtime/world.hpp"
#include "sim/event_heap.hpp"
#include "sim/port_table.hpp"
#include "sim/random.hpp"
#include "sim/sim_socket.hpp"

namespace coro { inline namespace v0 { namespace detail {

class sim_poller;

class sim_world final : public world, public detached::closer {
public:
    /// `seed` 0: nothing is random but what random() fills. `reason` is that of its pollers.
    sim_world(std::uint64_t seed, const sim::options& options, std::string reason);
    ~sim_world() override;

    [[nodiscard]] time_point now() noexcept override { return now_; }
    void random(void* into, std::size_t size) noexcept override { random_.fill(into, size); }
    [[nodiscard]] std::size_t choose(std::size_t among) noexcept override;
    thread start_thread(const char* name, std::function<void()> body) override;

    // --- what only a simulation has

    /// Every later crossing of the network takes so long, one way.
    void set_latency(duration one_way) noexcept { latency_ = latency_most_ = one_way; }
    /// At most so many sockets are open; beyond, open_stream() and accept answer -EMFILE.
    void limit_sockets(std::size_t most) noexcept { socket_limit_ = most; }

    void close_detached(detached& gone) noexcept override;

private:
    friend class sim_poller;

    /// What an attempt answers: a result, or nothing when it has to wait.
    using outcome = std::optional<std::int32_t>;
    using socket_pointer = std::shared_ptr<sim_socket>;

    made_poller new_poller(unsigned index, const poller_terms& terms) override;

    // --- events and chance: sim_world.cpp
    [[nodiscard]] bool may_open() const noexcept { return open_sockets_ < socket_limit_; }
    [[nodiscard]] duration draw_latency() noexcept;
    [[nodiscard]] duration mean_round_trip() const noexcept {
        return is_seeded() ? latency_ + latency_most_ : 2 * latency_;
    }
    /// How many of `size` bytes a transfer moves.
    [[nodiscard]] std::size_t draw_chunk(std::size_t size) noexcept;
    void after(duration delay, sim_event_kind kind, sim_socket& socket, std::uint32_t amount = 0);
    /// Sends something over the network to `socket`, behind all that is on its way there.
    void cross(sim_event_kind kind, sim_socket& socket, std::uint32_t amount = 0);
    [[nodiscard]] bool has_due_events() const noexcept { return events_.next_time() <= now_; }
    /// At most one batch of completions; the others stay due.
    void process_due_events();
    void process(const sim_event& event);
    void process_connect(const sim_event& event);

    // --- operations: sim_world.cpp
    outcome attempt(sim_socket& socket, operation& op);
    void complete_receiver(sim_socket& socket, std::int32_t result) noexcept;
    void complete_sender(sim_socket& socket, std::int32_t result) noexcept;
    void retry_receiver(sim_socket& socket);
    void retry_sender(sim_socket& socket);

    // --- bytes: sim_transfer.cpp
    outcome attempt_receive(sim_socket& socket, operation& op);
    static outcome nothing_to_receive(sim_socket& socket) noexcept;
    std::int32_t take_bytes(sim_socket& socket, operation& op);
    outcome attempt_send(sim_socket& socket, operation& op);
    void put_bytes(sim_socket& peer, const operation& op, std::size_t size);
    void bytes_arrive(sim_socket& socket, std::size_t size);
    void reset_arrives(sim_socket& socket);
    int shut_down(sim_socket& socket, shutdown_how how);
    [[nodiscard]] static std::size_t room_at(const sim_socket& sender, const sim_socket& peer);

    // --- messages: sim_datagram.cpp
    outcome attempt_receive_from(sim_socket& socket, datagram_request& into);
    outcome attempt_send_to(sim_socket& socket, const datagram_request& from);
    int find_way(sim_socket& socket, const datagram_request& from, sim_datagram& out);
    void datagram_arrives(sim_socket& sender);
    void refusal_arrives(sim_socket& sender, std::uint32_t connects);
    int connect_datagram(sim_socket& socket, const sim_address& peer);

    // --- the way of a connection: sim_connect.cpp
    outcome attempt_accept(sim_socket& listener, operation& op);
    outcome attempt_connect(sim_socket& client, operation& op);
    static int place_of_peer(const sim_socket& client, const socket_address& where,
                             sim_address& out);
    int begin_to_listen(sim_socket& socket, int backlog);
    int shed(sim_socket& listener);
    void connect_arrives(sim_socket& client);
    void establish(sim_socket& listener, sim_socket& client);
    void connect_fails(sim_socket& client, std::int32_t result);
    void admit_waiting(sim_socket& listener);
    void abandon_connect(sim_socket& client);
    void stop_listening(sim_socket& listener);
    /// The descriptor is gone: tells the peer, gives back the port. `hard`: by a reset.
    void close_socket(sim_socket& socket, bool hard);
    void close_socket(sim_socket& socket) {
        // unix(7) sockets take the option and make nothing of it.
        const bool by_reset = socket.family != address_family::local &&
                              socket.option(socket_option::linger) == 0;
        close_socket(socket, by_reset);
    }

    const std::string reason_;
    time_point now_;
    event_heap events_;
    std::size_t completed_ = 0;  ///< operations completed, in all
    std::size_t unread_ = 0;     ///< of them, those that their poller has not handed out yet

    duration latency_;
    duration latency_most_;
    std::size_t chunk_most_;
    std::size_t socket_limit_;
    std::size_t open_sockets_ = 0;  ///< of all pollers, and those that are detached

    [[nodiscard]] port_table& ports_of(const sim_socket& socket) noexcept {
        return socket.datagram ? datagram_ports_ : ports_;
    }

    port_table ports_;           ///< of streams; local names are here
    port_table datagram_ports_;  ///< UDP has ports of its own
    sim_random random_;
    std::map<std::uint64_t, socket_pointer> detached_;  ///< by token
    std::uint64_t next_token_ = 1;
};

}}}  // namespace coro::v0::detail
