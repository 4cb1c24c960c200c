// shared_connection: the queue of its callers, and the tasks that connect, write, read and watch.
// It uses public headers only: users could have written it.
#include <coro/service/shared_connection.hpp>

#include <algorithm>
#include <new>
#include <stdexcept>
#include <system_error>

#include <coro/base/error.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// A batch ends with the request that reaches this size: replies to the first ones shall not wait
/// for the bytes of all.
constexpr std::size_t batch_bytes = 64 * 1024;
/// A buffer that one large request has made larger than this is given back.
constexpr std::size_t kept_bytes = 4 * batch_bytes;
/// How often the silence of the server is looked at within its limit.
constexpr int looks = 8;

void check(bool good, const char* otherwise) {
    if (!good) throw std::invalid_argument(std::string("shared_connection: ") + otherwise);
}

}  // namespace

void exchange::enter() {
    if (of_.closing_) std::rethrow_exception(of_.closed_);
    if (of_.refusing_) std::rethrow_exception(of_.cause_);
    if (of_.queued_.size() >= of_.options_.max_waiters)
        throw io_error(errc::limit_exceeded, "request", "shared connection");
    place_ = of_.queued_.insert(of_.queued_.end(), this);
    stage_ = stage::queued;
    ++of_.callers_;
    of_.wanted_.set();
    of_.writable_.set();
}

exchange::~exchange() {
    if (stage_ == stage::outside) return;
    if (stage_ == stage::queued) of_.queued_.erase(place_);
    if (stage_ == stage::written) *place_ = nullptr;
    if (--of_.callers_ == 0) of_.empty_.set();
}

shared_link::shared_link(const shared_connection_options& options, std::source_location made_at)
    : options_(options), made_at_(made_at), home_(loop_index()),
      closed_(std::make_exception_ptr(io_error(errc::closed, "request", "shared connection"))) {
    check(options.max_pipelined > 0, "max_pipelined is 0: no request could be sent");
    check(options.max_waiters > 0, "max_waiters is 0: no request could be queued");
    check(options.breaker_threshold > 0,
          "breaker_threshold is 0: the server would count as down before the first connect");
    check(options.read_limit > 0, "read_limit is 0: no reply could be read");
    check(options.retry_first > duration::zero(),
          "retry_first is not above 0: a server that is down would be asked all the time");
    check(options.retry_most >= options.retry_first, "retry_most is below retry_first");
}

shared_link::~shared_link() = default;

shared_connection_stats shared_link::stats() const noexcept {
    shared_connection_stats now = counts_;
    now.waiting = queued_.size();
    now.pipelined = written_.size();
    now.connected = connected_;
    return now;
}

void shared_link::end_answered() noexcept {
    exchange* const to = written_.front();
    written_.pop_front();
    ++counts_.replies;
    if (to == nullptr) {
        ++counts_.dropped;
    } else {
        to->stage_ = exchange::stage::ended;
        to->answered.set();
    }
    if (!queued_.empty()) writable_.set();
}

void shared_link::fail(queue& whom, const std::exception_ptr& error) noexcept {
    for (exchange* const each : whom) {
        if (each != nullptr) end_with_error(*each, error);
    }
    whom.clear();
}

/// The places stay: the reader may be in the midst of a reply, which belongs to the first of them.
void shared_link::fail_all_closed() noexcept {
    for (exchange*& each : written_) {
        if (each == nullptr) continue;
        end_with_error(*each, closed_);
        each = nullptr;
    }
    fail(queued_, closed_);
}

void shared_link::end_with_error(exchange& which, const std::exception_ptr& error) noexcept {
    which.stage_ = exchange::stage::ended;
    which.error_ = error;
    which.answered.set();
}

/// However keep_connected() ends, nobody is left who waits for it.
class shared_link::keeper {
public:
    explicit keeper(shared_link& of) noexcept : of_(of) {}
    keeper(const keeper&) = delete;
    keeper& operator=(const keeper&) = delete;
    ~keeper() {
        of_.closing_ = true;
        of_.connected_ = false;
        of_.fail_all_closed();
        of_.written_.clear();  // the reader has ended
    }

private:
    shared_link& of_;
};

task<> shared_link::keep_connected() {
    const keeper at_the_end(*this);
    for (;;) {
        while (queued_.empty()) {
            wanted_.reset();
            co_await wanted_.wait();
        }
        const time_point began = now();
        const shared_connection_stats before = counts_;
        try {
            co_await use_connection();
        } catch (const cancelled&) {
            if (is_cancelled()) throw;
            // Of the user's own doing. Callers that are not cancelled must not meet it.
            cause_ = std::make_exception_ptr(io_error(errc::broken, "request"));
        } catch (...) {
            cause_ = std::current_exception();
        }
        connected_ = false;
        fail(written_, cause_);
        // One on which nothing was sent has shown nothing but that there is a server.
        const bool was_idle = counts_.connections != before.connections &&
                              counts_.requests == before.requests;
        if (was_idle || counts_.replies != before.replies) {
            if (!was_idle) failures_ = 0;
            co_await sleep_until(saturating_add(began, options_.retry_first));
        } else {
            co_await pause_after_failure();
        }
    }
}

task<> shared_link::pause_after_failure() {
    duration pause = options_.retry_first;
    for (std::size_t i = 0; i < failures_ && pause < options_.retry_most; ++i)
        pause = pause > duration::max() / 2 ? duration::max() : pause * 2;
    pause = std::min<duration>(pause, options_.retry_most);
    if (++failures_ >= options_.breaker_threshold) {
        refusing_ = true;
        fail(queued_, cause_);
    }
    co_await sleep_for(pause);
    refusing_ = false;
}

/// Returns by an exception only.
task<> shared_link::use_connection() {
    ++counts_.attempts;
    net::stream stream =
        co_await with_timeout(options_.connect_timeout, connect(), made_at_);
    // Nothing is sent then, so that nobody fails who would rather wait.
    if (!stream) throw io_error(errc::closed, "connect");
    ++counts_.connections;
    connected_ = true;
    const std::string peer = stream.describe();
    net::buffered_stream from(stream, {.limit = options_.read_limit});
    group_errors further;  // the second half of a connection fails because the first one did
    const auto inside = [&](task_group& group) -> task<> {
        group.spawn({.name = "shared connection: reader"}, read_replies(from, peer));
        group.spawn({.name = "shared connection: writer"}, write_requests(stream));
        if (options_.reply_timeout != duration::max())
            group.spawn({.name = "shared connection: watch"}, watch_silence(peer));
        co_return;
    };
    co_await with_task_group(inside, {.further = &further});
}

/// Takes what is queued, as far as there is room. False: nothing.
bool shared_link::take_batch(std::string& into) {
    into.clear();
    bool any = false;
    while (!queued_.empty() && written_.size() < options_.max_pipelined &&
           into.size() < batch_bytes) {
        exchange& next = *queued_.front();
        const std::size_t before = into.size();
        try {
            next.encode(into);
        } catch (...) {
            into.resize(before);
            queue refused;
            refused.splice(refused.end(), queued_, queued_.begin());
            fail(refused, std::current_exception());
            continue;
        }
        written_.splice(written_.end(), queued_, queued_.begin());
        next.stage_ = exchange::stage::written;
        ++counts_.requests;
        any = true;
    }
    return any;
}

task<> shared_link::write_requests(net::stream& to) {
    std::string batch;
    for (;;) {
        // Of a connection that is over nothing is taken: it would fail as if it had been sent.
        while (!is_cancelled() && take_batch(batch)) {
            owed_.set();
            if (batch.empty()) continue;
            ++counts_.writes;
            co_await net::write_all(to, as_bytes(batch));
        }
        if (batch.capacity() > kept_bytes) batch = {};
        writable_.reset();
        co_await writable_.wait();
    }
}

task<> shared_link::read_replies(net::buffered_stream& from, const std::string& peer) {
    for (;;) {
        if (from.buffered() == 0) {
            const const_bytes next = co_await from.peek(1);
            if (next.empty()) throw io_error(errc::end_of_stream, "recv", peer);
        }
        if (written_.empty())
            throw io_error(std::make_error_code(std::errc::protocol_error), "recv", peer);
        try {
            co_await read_one(from);
        } catch (const cancelled&) {
            if (is_cancelled()) throw;
            throw io_error(errc::broken, "recv", peer);  // of the codec's own doing
        }
    }
}

/// Ends the connection when a reply is due and none comes for too long. It costs a timer now and
/// then, and nothing for a reply.
task<> shared_link::watch_silence(const std::string& peer) {
    for (;;) {
        while (written_.empty()) {
            owed_.reset();
            co_await owed_.wait();
        }
        const std::uint64_t seen = counts_.replies;
        int quiet = 0;
        while (quiet < looks && !written_.empty() && counts_.replies == seen) {
            co_await sleep_for(options_.reply_timeout / looks);
            ++quiet;
        }
        if (!written_.empty() && counts_.replies == seen)
            throw io_error(errc::deadline_exceeded, "recv", peer);
    }
}

task<> shared_link::finish(task_group& of) {
    closing_ = true;
    const time_point last = saturating_add(now(), options_.drain);
    try {
        while (has_callers() && now() < last) {
            empty_.reset();
            if (!co_await move_on_after(last - now(), empty_.wait())) break;
        }
    } catch (const std::bad_alloc&) {  // then they fail at once
    }
    fail_all_closed();
    of.cancel();
    while (has_callers()) {
        empty_.reset();
        co_await empty_.wait();
    }
}

}}}  // namespace coro::v0::detail
