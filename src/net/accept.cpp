// Accept that survives every errno of a connection, and waits when descriptors run out.
#include <coro/net/detail/accept.hpp>

#include <cerrno>

#include <coro/base/report.hpp>
#include <coro/net/local.hpp>
#include <coro/net/tcp.hpp>

#include "net/io_failure.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// How long accept pauses when descriptors or memory have run out. Service resumes within 100 ms
/// after they have come back; 20 attempts a second cost nothing.
constexpr duration exhausted_pause = std::chrono::milliseconds(50);
/// Dead connections that accept skips in a row before it lets others run.
constexpr unsigned most_skipped = 64;

/// After something made room: its handlers end in this turn or the next one.
constexpr duration room_pause = std::chrono::milliseconds(5);

/// Asks one after the other until one has made room.
std::size_t make_room(detail::loop& home) noexcept {
    auto& makers = scheduler_of(home).room_makers;
    for (room_maker* each = makers.front(); each != nullptr; each = makers.next(*each))
        if (const std::size_t made = each->make_room(); made != 0) return made;
    return 0;
}

void report_room(int error) noexcept {
    report({.level = severity::warning, .verb = "accept", .endpoint = {}, .error = error_of(error),
            .text = "asked those that can make room, before a client is turned away", .task = {}});
}

void report_exhausted(int error, int shed) noexcept {
    report({.level = severity::warning, .verb = "accept", .endpoint = {}, .error = error_of(error),
            .text = shed == 0 ? "turned one client away; raise the limit of open files "
                                "(ulimit -n) or lower server_limits.connections"
                              : "waiting for descriptors or memory to come back",
            .task = {}});
}

}  // namespace

template <typename Stream>
bool accept_awaiter<Stream>::ask() noexcept {
    return submit_io(*this, this->strand());
}

template <typename Stream>
bool accept_awaiter<Stream>::start() noexcept {
    this->set_outcome(wait_outcome::done);
    return ask() || !go_on();
}

template <typename Stream>
bool accept_awaiter<Stream>::was_cancelled() const noexcept {
    return scope_access::cancelled(*this->strand().scope);
}

template <typename Stream>
void accept_awaiter<Stream>::pause(duration span) noexcept {
    detail::loop& loop = this->loop();
    loop.arm_timer(pause_, saturating_add(loop.read_clock(), span));
}

/// After a completion: true when the wait has ended, false when it goes on.
template <typename Stream>
bool accept_awaiter<Stream>::go_on() noexcept {
    while (operation::result < 0) {
        switch (classify_accept(-operation::result)) {
            case accept_problem::fatal: return true;
            case accept_problem::dead_connection:
                if (was_cancelled()) {
                    operation::result = -ECANCELED;
                    return true;
                }
                if (++skipped_ >= most_skipped) {
                    if (only_now_) {
                        operation::result = -EAGAIN;
                        return true;
                    }
                    pause(exhausted_pause);
                    return false;
                }
                if (ask()) return false;
                break;
            case accept_problem::exhausted: {
                if (was_cancelled()) {  // clients stay in the queue
                    operation::result = -ECANCELED;
                    return true;
                }
                if (!only_now_ && make_room(this->loop()) != 0) {
                    report_room(operation::result);
                    pause(room_pause);
                    return false;
                }
                detail::poller& poller = scheduler_of(this->loop()).poller();
                const int shed = poller.shed_connection(this->target);
                // An accept that does not wait misses nobody where nobody is there.
                if (shed != -EAGAIN || !only_now_) report_exhausted(operation::result, shed);
                if (only_now_ || was_cancelled()) {
                    operation::result = was_cancelled() ? -ECANCELED : -EAGAIN;
                    return true;
                }
                pause(exhausted_pause);
                return false;
            }
        }
    }
    return true;
}

template <typename Stream>
void accept_awaiter<Stream>::after_pause() noexcept {
    skipped_ = 0;
    if (ask()) return;
    if (go_on()) grant(this->strand());
}

template <typename Stream>
void accept_awaiter<Stream>::cancel_wait() noexcept {
    if (pause_.armed()) {
        this->loop().disarm_timer(pause_);
        operation::result = -ECANCELED;
        grant(this->strand());
    } else {
        cancel_io(*this, this->loop());
    }
}

template <typename Stream>
Stream accept_awaiter<Stream>::finish() {
    if (operation::result >= 0) return Stream(socket_ref{&this->loop(), this->accepted});
    if (only_now_ && operation::result == -EAGAIN) return {};
    throw_io(operation::result, this->verb(), this->own_socket());
}

template class accept_awaiter<net::tcp_stream>;
template class accept_awaiter<net::local_stream>;

}}}  // namespace coro::v0::detail
