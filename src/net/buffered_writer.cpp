// Writes of one turn in one send; see writer_state.hpp for the rules.
#include "net/writer_state.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <new>
#include <span>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/report.hpp>
#include <coro/net/detail/stream_access.hpp>

#include "net/io_failure.hpp"
#include "net/transport_table.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

// --- send_buffer

void send_buffer::reserve(std::size_t more, std::size_t limit) {
    constexpr std::size_t smallest = 1024;
    if (end_ + more <= capacity_) return;
    const std::size_t used = size();
    const std::size_t grown = std::min(std::max(smallest, 2 * capacity_), limit);
    const std::size_t capacity = std::max(used + more, grown);
    auto* larger = static_cast<std::byte*>(allocate_block(capacity));
    if (used != 0) std::memcpy(larger, data(), used);
    clear();
    block_ = larger;
    capacity_ = capacity;
    end_ = used;
}

void send_buffer::append(const_bytes from) noexcept {
    if (from.empty()) return;
    std::memcpy(block_ + end_, from.data(), from.size());
    end_ += from.size();
}

void send_buffer::drop_front(std::size_t count) noexcept {
    begin_ += count;
    if (begin_ == end_) clear();
}

void send_buffer::clear() noexcept {
    if (block_ != nullptr) free_block(block_, capacity_);
    block_ = nullptr;
    capacity_ = begin_ = end_ = 0;
}

void send_buffer::swap(send_buffer& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(capacity_, other.capacity_);
    std::swap(begin_, other.begin_);
    std::swap(end_, other.end_);
}

// --- accepting

writer_state::writer_state(socket_ref socket, std::size_t limit) noexcept
    : turn_end([](turn_end& work) noexcept {
          auto& self = static_cast<writer_state&>(work);
          self.pump();
          self.wake();
      }),
      socket_(socket),
      limit_(limit),
      send_(*this, socket.handle) {
    check_home(socket);
    CORO_ASSERT(limit != 0, "a buffered_writer with a limit of 0 bytes can hold nothing");
    if (!socket.handle) failure_ = errc::closed;
    send_.advance = [](operation& op) noexcept {
        static_cast<send_operation&>(op).self.completed();
        return false;  // nobody owns it
    };
}

void writer_state::throw_error(std::error_code error, const char* verb) const {
    std::array<char, name_capacity> buffer;
    throw io_error(error, verb, peer_text(socket_, buffer));
}

bool writer_state::take_error(std::error_code& error) noexcept {
    if (failure_) error = failure_;
    else if (std::exchange(busy_, false)) error = errc::busy;
    return static_cast<bool>(error);
}

/// Takes the request over if there is room: its bytes, or, when it is large, the line for it.
bool writer_state::accept(const write_request& request) {
    if (is_large(request)) {
        if (buffered() != 0 || held_) return false;
        held_ = true;
    } else {
        if (request.size() > limit_ - buffered()) return false;
        queued_.reserve(request.size(), limit_);
        queued_.append(const_bytes(request.prefix).first(request.prefix_size));
        queued_.append(request.payload);
        schedule();
    }
    written_ += request.size();
    return true;
}

bool writer_state::accept_or_fail(send_turn_awaiter& wait) noexcept {
    try {
        return accept(wait.request_);
    } catch (const std::bad_alloc&) {
        wait.error_ = std::make_error_code(std::errc::not_enough_memory);
        return true;
    }
}

bool writer_state::write_now(const write_request& request) {
    if (request.payload.size() > request.payload_limit)
        throw_error(errc::limit_exceeded, request.verb);
    std::error_code error;
    if (take_error(error)) throw_error(error, request.verb);
    return !is_large(request) && waiting_.empty() && accept(request);
}

bool writer_state::take_turn_now(send_turn_awaiter& wait) noexcept {
    pump();
    wake();
    return take_error(wait.error_) || (waiting_.empty() && accept_or_fail(wait));
}

bool writer_state::flush_now(flush_awaiter& wait) noexcept {
    if (take_error(wait.error_)) return true;
    pump();
    wake();
    wait.position_ = written_;
    return take_error(wait.error_) || sent_ == written_;
}

// --- sending

void writer_state::schedule() noexcept {
    check_home(socket_);
    if (!in_flight_ && !held_) current->at_turn_end(*this);
}

void writer_state::pump() noexcept {
    check_home(socket_);
    while (!in_flight_ && !held_ && !failure_ && !busy_ && buffered() != 0) {
        if (sending_.size() == 0) sending_.swap(queued_);
        send_.buffer = {sending_.data(), sending_.size()};
        if (!submit_unowned(send_, scheduler_of(*current))) settle();
        else in_flight_ = true;
    }
}

/// Takes the answer of the operation in.
void writer_state::settle() noexcept {
    if (send_.result >= 0) {
        const auto moved = static_cast<std::size_t>(send_.result);
        sending_.drop_front(moved);
        sent_ += moved;
    } else if (send_.result == result_busy) {
        busy_ = true;
    } else {
        fail(error_of(send_.result, socket_), send_.result != result_closed);
    }
}

void writer_state::fail(std::error_code error, bool by_kernel) noexcept {
    failure_ = error;
    kernel_failed_ = by_kernel;
    lost_ += buffered();
    sending_.clear();
    queued_.clear();
    unlink();
}

void writer_state::completed() noexcept {
    in_flight_ = false;
    settle();
    pump();
    if (!orphaned_) return wake();
    if (in_flight_) return;
    lost_ += buffered();  // the answer was busy
    report_lost();
    delete this;
}

/// Ends the waits whose time has come.
void writer_state::wake() noexcept {
    std::error_code error;
    if (!(flushing_.empty() && waiting_.empty()) && take_error(error)) {
        while (flush_awaiter* flush = flushing_.pop_front()) flush->end(error);
        while (send_turn_awaiter* write = waiting_.pop_front()) write->end(error);
        return;
    }
    while (flushing_.front() != nullptr && flushing_.front()->position_ <= sent_)
        flushing_.pop_front()->end({});
    while (waiting_.front() != nullptr && accept_or_fail(*waiting_.front())) {
        send_turn_awaiter* write = waiting_.pop_front();
        write->end(write->error_);
    }
}

// --- large writes

/// The line belongs to one large write until this ends.
class writer_state::held_turn {
public:
    held_turn(writer_state& state, std::size_t size) noexcept : state_(state), left_(size) {}
    held_turn(const held_turn&) = delete;
    held_turn& operator=(const held_turn&) = delete;
    ~held_turn() {
        state_.held_ = false;
        state_.sent_ += left_;  // what was not sent is no longer to be sent
        state_.pump();
        state_.wake();
    }
    void moved(std::size_t count) noexcept {
        left_ -= count;
        state_.sent_ += count;
    }
    [[nodiscard]] std::size_t left() const noexcept { return left_; }

private:
    writer_state& state_;
    std::size_t left_;
};

task<> writer_state::write_later(const write_request& request) {
    send_turn_awaiter turn(*this, request);
    co_await turn;
    if (!is_large(request)) co_return;
    const std::size_t size = request.size();
    held_turn line(*this, size);
    while (line.left() != 0) {
        const std::size_t moved = size - line.left();
        const const_bytes prefix = const_bytes(request.prefix).first(request.prefix_size);
        const std::size_t of_prefix = std::min(moved, prefix.size());
        const std::array<const_bytes, 2> parts{prefix.subspan(of_prefix),
                                               request.payload.subspan(moved - of_prefix)};
        const auto rest = std::span<const const_bytes>(parts).subspan(parts[0].empty() ? 1 : 0);
        vectored_awaiter send(opcode::send_vectored, socket_, rest);
        try {
            const std::size_t count = co_await send;
            line.moved(count);
        } catch (const cancelled& found) {
            if (moved != 0) break_off(errc::broken, false);
            throw cancelled(moved, found.endpoint());
        } catch (const io_error&) {
            if (send.result != result_busy)
                break_off(error_of(send.result, socket_), send.result != result_closed);
            else if (moved != 0) break_off(errc::broken, false);
            throw_io(send.result, request.verb, socket_, moved);
        }
    }
}

/// A large write ended before its end: nothing that makes sense can follow it.
void writer_state::break_off(std::error_code error, bool by_kernel) noexcept {
    mark_broken(socket_, direction::sending);
    fail(error, by_kernel);
}

// --- the end

void writer_state::release() noexcept {
    CORO_ASSERT(flushing_.empty() && waiting_.empty() && !held_,
                "a buffered_writer was destroyed while a task waits in its write or flush");
    unlink();
    lost_ += queued_.size();
    queued_.clear();
    if (in_flight_) {
        orphaned_ = true;
        return;
    }
    lost_ += sending_.size();
    report_lost();
    delete this;
}

void writer_state::report_lost() const noexcept {
    if (lost_ == 0 || kernel_failed_) return;
    std::array<char, name_capacity> peer;
    std::array<char, 96> text;
    const int size = std::snprintf(text.data(), text.size(),
                                   "%zu bytes were written and never sent: "
                                   "co_await flush() before the writer ends", lost_);
    report({.level = severity::warning, .verb = "write", .endpoint = peer_text(socket_, peer),
            .error = failure_, .text = {text.data(), static_cast<std::size_t>(size)}, .task = {}});
}

void writer_release::operator()(writer_state* state) const noexcept {
    CORO_ASSERT(!state->own_socket().loop || is_here(state->own_socket().loop),
                "a buffered_writer was destroyed outside of its loop");
    state->release();
}

// --- the awaiters

bool buffered_write::try_now() { return state_.write_now(request_); }
task<> buffered_write::wait() { return state_.write_later(request_); }
void buffered_write::throw_cancelled() const {
    throw_io(-ECANCELED, request_.verb, state_.own_socket());
}

bool flush_awaiter::try_now() noexcept { return state_.flush_now(*this); }

bool send_turn_awaiter::try_now() noexcept { return state_.take_turn_now(*this); }
void send_turn_awaiter::cancel_wait() noexcept {
    writer_awaiter::cancel_wait();
    state_.left_line();
}

template <typename Derived>
bool writer_awaiter<Derived>::start() noexcept {
    state_.wait_in_list(static_cast<Derived&>(*this));
    return true;
}
template <typename Derived>
void writer_awaiter<Derived>::finish() const {
    if (error_) state_.throw_error(error_, self().verb());
}
template <typename Derived>
void writer_awaiter<Derived>::throw_cancelled() const {
    throw_io(-ECANCELED, self().verb(), state_.own_socket());
}
template <typename Derived>
void writer_awaiter<Derived>::cancel_wait() noexcept {
    this->unlink();
    this->end_cancelled();
}
template <typename Derived>
void writer_awaiter<Derived>::describe(text_sink& out) const noexcept {
    describe_io(out, self().verb(), state_.own_socket());
}
template <typename Derived>
void writer_awaiter<Derived>::end(std::error_code error) noexcept {
    error_ = error;
    this->end_granted();
}
template class writer_awaiter<flush_awaiter>;
template class writer_awaiter<send_turn_awaiter>;

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 { namespace net {

buffered_writer::buffered_writer(const net::stream& stream, buffered_writer_options options)
    : state_(new detail::writer_state(detail::stream_access::ref(stream), options.limit)) {}

std::size_t buffered_writer::unsent() const noexcept {
    return state_ != nullptr ? state_->unsent() : 0;
}

std::size_t buffered_writer::limit() const noexcept {
    return state_ != nullptr ? state_->limit() : 0;
}

bool buffered_writer::is_idle() const noexcept { return state_ != nullptr && state_->is_idle(); }

}}}  // namespace coro::v0::net
