// A simulated socket: what a kernel would keep behind one descriptor.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "runtime/poller.hpp"
#include "sim/byte_pipe.hpp"
#include "sim/sim_address.hpp"

namespace coro { inline namespace v0 { namespace detail {

enum class sim_state : std::uint8_t {
    fresh,       ///< opened, perhaps bound; also after a connect that failed or was cancelled
    listening,
    connecting,  ///< a connect is pending
    connected,   ///< also half-closed
    reset,       ///< a reset came in; what had arrived before can still be read
};

inline constexpr std::size_t socket_option_count =
    static_cast<std::size_t>(socket_option::maximum_segment) + 1;

class sim_poller;

/// One message, on its way or in the queue of the socket that it has come to.
struct sim_datagram {
    std::vector<std::byte> bytes;
    sim_address from;
    sim_address to;

    /// What it takes of a buffer: the headers of IP and UDP too, so that empty ones are bounded.
    [[nodiscard]] std::size_t weight() const noexcept { return weight_of(bytes.size()); }
    [[nodiscard]] static constexpr std::size_t weight_of(std::size_t size) noexcept {
        return size + 28;
    }
};

struct sim_socket : std::enable_shared_from_this<sim_socket> {
    using options_array = std::array<int, socket_option_count>;

    /// A connect that found the queue of its listener full. `attempt` tells a cancelled connect
    /// from a later one on the same socket.
    struct waiting_client {
        std::shared_ptr<sim_socket> socket;
        std::uint32_t attempt = 0;
    };

    explicit sim_socket(address_family of, bool for_datagrams = false)
        : family(of),
          datagram(for_datagrams),
          local(sim_address::any(of)),
          remote(sim_address::any(of)) {}

    [[nodiscard]] int option(socket_option which) const noexcept {
        return options[static_cast<std::size_t>(which)];
    }

    /// Sets back what an accepted socket does not inherit: sim_options.cpp.
    void forget_own_options() noexcept;

    sim_poller* owner = nullptr;  ///< nobody's: it waits to be accepted, is detached, or closed
    address_family family;
    const bool datagram;          ///< UDP: fresh or connected, and never another state
    sim_state state = sim_state::fresh;
    bool closed = false;          ///< the descriptor is gone; late bytes are answered by a reset
    bool bound = false;           ///< `local` is meant
    bool in_port_table = false;   ///< `local` is registered and must be given back
    bool end_arrived = false;     ///< the peer's end of stream came, after all its bytes
    bool shut_sending = false;
    bool shut_receiving = false;
    int error = 0;                ///< reported once, to whichever call comes first (SO_ERROR)
    sim_address local;
    sim_address remote;           ///< meant once connecting
    options_array options{};
    congestion_name congestion{"reno"};
    time_point last_arrival{};    ///< of what is on its way here (a datagram socket: from here);
                                  ///< nothing overtakes it
    time_point data_came{};       ///< the last bytes; or when it was connected
    time_point data_went{};
    time_point end_came{};        ///< meant once end_arrived
    std::size_t lost = 0;         ///< bytes sent to a peer that is gone
    std::uint64_t arrived = 0;    ///< bytes that have come here, read or not
    std::uint64_t sent = 0;       ///< bytes that were taken from here, on their way or there
    socket_notes notes;           ///< for the layers above

    // The pending operation of each direction; accept counts as receiving, connect as sending. The
    // tickets count the operations that were ever pending: they tell a late cancel from its target.
    operation* receiver = nullptr;
    operation* sender = nullptr;
    std::uint32_t receive_ticket = 0;
    std::uint32_t send_ticket = 0;

    byte_pipe inbound;
    /// Not owning: a peer that was closed is gone, and what is sent to it is answered by a reset.
    std::weak_ptr<sim_socket> peer;

    // Datagram sockets only.
    std::deque<sim_datagram> received;  ///< they have come, in order
    std::size_t received_weight = 0;
    std::deque<sim_datagram> on_way;    ///< sent from here, not there yet, in order
    std::size_t on_way_weight = 0;
    std::uint32_t connects = 0;         ///< tells a refusal of an older peer from one of this

    // Listening only.
    std::size_t backlog = 0;
    std::deque<std::shared_ptr<sim_socket>> accept_queue;
    std::deque<waiting_client> waiting;
};

}}}  // namespace coro::v0::detail
