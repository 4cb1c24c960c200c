// One connection of the load generator: what it has sent, what must come back, and when.
#pragma once

#include "load/pattern.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace load {

/// How a receive ended.
enum class arrival { bytes, nothing, end_of_stream, error };

/// What a connection is there for. Only the polite ones' latency is measured.
enum class part : std::uint8_t {
    polite,    ///< answers messages with messages, or sends them on a schedule
    idle,      ///< one exchange, then silence
    greedy,    ///< like a polite one in a closed loop, but many messages deep
    slow,      ///< sends all that the socket takes, and reads a trickle
    firehose,  ///< large blocks, flat out
};

class connection {
public:
    connection(std::uint32_t number, std::size_t message_bytes, std::size_t depth, part role)
        : plays(role),
          number_(number),
          pattern_(number),
          message_bytes_(message_bytes),
          depth_(depth),
          started_at_(std::bit_ceil(depth)) {}

    int fd = -1;
    part plays;
    bool wants_space = false;   ///< registered for writability as well
    bool deaf = false;          ///< slow: not registered for readability
    std::uint32_t turn = 0;     ///< polite: its place among the polite ones
    std::uint64_t due = 0;      ///< paced: messages whose time has come, not yet started
    std::uint64_t paced = 0;    ///< paced: messages started so far
    std::uint64_t counted = 0;  ///< messages completed in the window

    std::uint32_t number() const { return number_; }

    /// Begins a new stream, whose bytes are those of no other: `stream` must not repeat.
    void restart(std::uint64_t stream) {
        pattern_ = pattern(stream);
        started_ = completed_ = sent_bytes_ = received_bytes_ = 0;
    }

    std::size_t message_bytes() const { return message_bytes_; }
    std::uint64_t completed() const { return completed_; }
    std::uint64_t received() const { return received_bytes_; }
    std::uint64_t in_flight() const { return started_ - completed_; }
    bool has_room() const { return in_flight() < depth_; }
    bool has_unsent() const { return sent_bytes_ < started_ * message_bytes_; }

    /// Allows one more message to be sent; its latency counts from `at`.
    void start_message(std::int64_t at) { slot(started_++) = at; }

    /// When the oldest message in flight was started; the next call speaks of the one after it.
    std::int64_t complete_message() { return slot(completed_++); }

    /// Sends what is allowed and not yet sent. Returns 0, or the errno that stopped it (EAGAIN:
    /// the socket is full).
    int send_unsent(std::span<std::byte> scratch);

    /// Receives once and checks every byte; a wrong one ends the program with status 1.
    arrival receive(std::span<std::byte> scratch, int& error);

    /// Messages whose last byte has arrived but which are not completed yet.
    std::uint64_t arrived() const { return received_bytes_ / message_bytes_ - completed_; }

private:
    /// A power of two of slots, because a division per message shows at depth 16.
    std::int64_t& slot(std::uint64_t message) {
        return started_at_[message & (started_at_.size() - 1)];
    }
    void check(std::span<const std::byte> bytes) const;

    std::uint32_t number_;
    pattern pattern_;
    std::size_t message_bytes_;
    std::size_t depth_;
    std::uint64_t started_ = 0;
    std::uint64_t completed_ = 0;
    std::uint64_t sent_bytes_ = 0;
    std::uint64_t received_bytes_ = 0;
    std::vector<std::int64_t> started_at_;  // of the messages in flight
};

}  // namespace load
