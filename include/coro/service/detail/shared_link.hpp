// The part of a shared connection that does not know its codec: who waits, in which order, and the
// connection of the moment.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <list>
#include <source_location>
#include <string>

#include <coro/base/detail/export.hpp>
#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/service/shared_options.hpp>

namespace coro { inline namespace v0 { namespace detail {

class shared_link;

/// One request and its caller. It stands in the frame of the caller, and takes itself out of the
/// queue when that frame unwinds.
class CORO_EXPORT exchange {
public:
    exchange(const exchange&) = delete;
    exchange& operator=(const exchange&) = delete;

    /// Appends the bytes of the request. Called once, when it is its turn.
    virtual void encode(std::string& to) = 0;

    /// Enters the queue. Throws: io_error; what keeps the connection from being made.
    void enter();
    /// Set when there is a reply or an error.
    event answered;
    void throw_error() const {
        if (error_) std::rethrow_exception(error_);
    }

protected:
    explicit exchange(shared_link& of) noexcept : of_(of) {}
    virtual ~exchange();

private:
    friend class shared_link;
    enum class stage : std::uint8_t { outside, queued, written, ended };

    shared_link& of_;
    stage stage_ = stage::outside;
    std::list<exchange*>::iterator place_{};
    std::exception_ptr error_;
};

class CORO_EXPORT shared_link {
public:
    shared_link(const shared_link&) = delete;
    shared_link& operator=(const shared_link&) = delete;

    /// Connects when somebody asks, serves the connection until it breaks, and begins anew; until
    /// it is cancelled.
    [[nodiscard]] task<> keep_connected();
    /// Takes no more requests, lets those under way finish, fails the rest, and cancels `of`, in
    /// which keep_connected() runs. Returns when no caller is inside any more.
    [[nodiscard]] task<> finish(task_group& of);

    [[nodiscard]] unsigned home() const noexcept { return home_; }
    /// A caller on another loop has begun, or its child on this one has ended. Any loop says so.
    void one_from_afar() noexcept { from_afar_.fetch_add(1); }
    void none_from_afar() noexcept {
        if (from_afar_.fetch_sub(1) == 1) empty_.set();
    }
    [[nodiscard]] shared_connection_stats stats() const noexcept;

protected:
    /// Throws: std::invalid_argument.
    shared_link(const shared_connection_options& options, std::source_location made_at);
    virtual ~shared_link();

    virtual task<net::stream> connect() = 0;
    /// Reads one reply, and hands it to the caller whose turn it is: next_answered(), then
    /// end_answered().
    virtual task<> read_one(net::buffered_stream& from) = 0;

    /// The exchange to which the next reply belongs; nullptr if its caller has gone.
    [[nodiscard]] exchange* next_answered() const noexcept { return written_.front(); }
    void end_answered() noexcept;

private:
    friend class exchange;
    class keeper;
    using queue = std::list<exchange*>;

    task<> use_connection();
    task<> pause_after_failure();
    task<> read_replies(net::buffered_stream& from, const std::string& peer);
    task<> write_requests(net::stream& to);
    task<> watch_silence(const std::string& peer);
    bool take_batch(std::string& into);
    static void fail(queue& whom, const std::exception_ptr& error) noexcept;
    static void end_with_error(exchange& which, const std::exception_ptr& error) noexcept;
    [[nodiscard]] bool has_callers() const noexcept {
        return callers_ != 0 || from_afar_.load() != 0;
    }
    void fail_all_closed() noexcept;

    const shared_connection_options options_;
    const std::source_location made_at_;
    const unsigned home_;
    const std::exception_ptr closed_;  ///< made ahead: what is needed at the end must not fail

    queue queued_;   ///< their bytes are not made yet
    queue written_;  ///< replies are due, in this order; nullptr: the caller has gone
    std::size_t callers_ = 0;
    /// Callers on other loops whose children here have not ended: they may not have begun yet.
    std::atomic<std::size_t> from_afar_{0};
    bool closing_ = false;
    event wanted_;    ///< a request is queued
    event writable_;  ///< the writer may have something to do
    event owed_;      ///< a reply is due
    event empty_;     ///< the last caller has gone

    std::size_t failures_ = 0;  ///< connections in a row that brought no reply
    std::exception_ptr cause_;  ///< of the last of them
    bool refusing_ = false;     ///< callers get it at once
    bool connected_ = false;
    shared_connection_stats counts_;
};

}}}  // namespace coro::v0::detail
