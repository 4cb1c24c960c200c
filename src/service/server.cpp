// serve: the acceptor, the strand of a connection with its idle guard, and the drain.
#include <coro/service/server.hpp>

#include <algorithm>
#include <atomic>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <coro/base/report.hpp>
#include <coro/core/as_result.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/event.hpp>
#include <coro/runtime/timeout.hpp>

#include "base/report_exception.hpp"
#include "net/idle_watch.hpp"
#include "net/stream_access.hpp"
#include "runtime/group_child.hpp"
#include "runtime/loop_team.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

class connection;

/// Waits until a server has few enough connections of those that `counted` counts.
class size_awaiter final : public library_awaiter<size_awaiter> {
public:
    size_awaiter(const std::size_t& counted, size_awaiter*& registered,
                 std::size_t at_most) noexcept
        : counted_(counted), registered_(registered), at_most_(at_most) {}

    bool try_now() noexcept {
        if (counted_ > at_most_) return false;
        set_outcome(wait_outcome::done);
        return true;
    }
    bool start() noexcept {
        registered_ = this;
        return true;
    }
    void finish() const noexcept {}
    void look() noexcept {
        if (counted_ > at_most_) return;
        registered_ = nullptr;
        end_granted();
    }
    void cancel_wait() noexcept override {
        registered_ = nullptr;
        end_cancelled();
    }
    void describe(text_sink& out) const noexcept override {
        out.write(at_most_ == 0 ? "drain of connections" : "room for a connection");
    }

private:
    const std::size_t& counted_;
    size_awaiter*& registered_;
    std::size_t at_most_;
};

/// A connection as its idle_guard sees it.
struct idle_entry : list_node<idle_entry> {
    idle_look looked{{}};
    time_point look_at{};  ///< when it is to be looked at next; one step after the last look
};

/// Shuts down connections on which no byte has moved for the idle span. One timer for all: the
/// time between two looks is the same for everybody, so whoever is put to the end of the list is
/// looked at after all before it. Both that come and that were looked at are put there by the
/// clock, which never goes back.
class idle_guard {
public:
    idle_guard(detail::loop& loop, duration span) noexcept
        : loop_(loop), span_(span), step_(idle_look::step_of(span)), timer_(*this) {}
    idle_guard(const idle_guard&) = delete;
    idle_guard& operator=(const idle_guard&) = delete;
    ~idle_guard() { loop_.disarm_timer(timer_); }

    void add(idle_entry& entry, detail::handle socket) noexcept {
        if (span_ == duration::max()) return;
        entry.looked.socket = socket;
        if (socket_notes* notes = poller().notes(socket)) notes->idle = span_;
        put_last(entry, loop_.read_clock());
        if (!timer_.armed()) arm_for_first();
    }
    [[nodiscard]] duration span() const noexcept { return span_; }

private:
    /// How many connections are looked at in one go; the others follow in the next turn.
    static constexpr unsigned looks_per_turn = 256;

    [[nodiscard]] detail::poller& poller() const noexcept { return scheduler_of(loop_).poller(); }
    void put_last(idle_entry& entry, time_point looked_at) noexcept {
        entry.look_at = saturating_add(looked_at, step_);
        entries_.push_back(entry);
    }
    void arm_for_first() noexcept {
        const idle_entry* first = entries_.front();
        if (first == nullptr) return;
        // Never for this turn: what is armed there in the past fires at once.
        const time_point next_turn = saturating_add(loop_.turn_time, duration(1));
        due_ = std::max(first->look_at, next_turn);
        loop_.arm_timer(timer_, due_);
    }
    void look() noexcept {
        if (idle_look::stood_still(loop_.turn_time - due_, span_)) stood_until_ = loop_.turn_time;
        for (unsigned looked = 0; looked < looks_per_turn; ++looked) {
            idle_entry* first = entries_.front();
            if (first == nullptr || first->look_at > loop_.turn_time) break;
            first->unlink();
            look_at(*first);
        }
        arm_for_first();
    }
    /// An idle connection is shut down in both directions and its handler reads the end of the
    /// stream, as it does for any peer: no cancellation, no scope per connection. One that is gone
    /// was closed by its handler, or has moved and is watched over where it is.
    void look_at(idle_entry& entry) noexcept {
        const bool afresh = entry.look_at - step_ < stood_until_;
        switch (entry.looked.look(poller(), afresh)) {
            case idle_look::finding::gone: return;
            // Not the turn's time: the kernel's count was read now, and what it counts came before.
            case idle_look::finding::alive: return put_last(entry, loop_.read_clock());
            case idle_look::finding::idle: break;
        }
        const int failed = poller().shutdown(entry.looked.socket, shutdown_how::both);
        static_cast<void>(failed);  // ENOTCONN: as good
    }

    struct look_timer : timer_node {
        explicit look_timer(idle_guard& of) noexcept
            : timer_node([](timer_node& fired) noexcept {
                  static_cast<look_timer&>(fired).self.look();
              }),
              self(of) {}
        idle_guard& self;
    };

    detail::loop& loop_;
    duration span_;
    duration step_;              ///< between two looks at one connection
    time_point due_{};           ///< what the timer was armed for
    time_point stood_until_{};   ///< until then the loop stood still
    intrusive_list<idle_entry> entries_;
    look_timer timer_;
};

/// Connections taken after a stop was requested: net.core.somaxconn bounds the queue of a listener,
/// 4096 since Linux 5.4 (listen(2)).
constexpr unsigned most_waiting = 4096;

class server_run;

/// What one loop has of a server. Members above the line belong to the acceptor's loop, those below
/// to this one.
struct server_share {
    server_share(server_run& of, detail::loop& on) noexcept : server(of), loop(on) {}

    server_run& server;
    detail::loop& loop;
    std::size_t alive = 0;  ///< connections, those on their way there included
    // ---
    idle_guard* guard = nullptr;
    task_group* group = nullptr;    ///< nullptr before it has begun
    std::exception_ptr not_begun;   ///< why it could not; written before all are counted
};

/// A connection on its way to another loop, and, at its end, the news of that on its way back.
struct handed_over : posted {
    handed_over(server_share& branch, int of, net::endpoint from) noexcept
        : to(branch), descriptor(of), peer(from) {}
    server_share& to;
    detail::loop* home = nullptr;
    int descriptor;
    net::endpoint peer;
};

/// One serve().
class server_run {
public:
    server_run(net::tcp_listener& listener, const serve_options& limits, handler_call call,
               void* handler)
        : listener_(listener),
          limits_(limits),
          call_(call),
          handler_(handler),
          guard_(this_loop(), limits.idle) {
        loop_team& team = *this_loop().team;
        const unsigned first = this_loop().index;
        const unsigned count = limits.spread ? team.size() : 1;
        branches_.reserve(count);
        for (unsigned i = 0; i < count; ++i) {
            detail::loop& loop = team.at((first + i) % team.size());
            branches_.push_back(std::make_unique<server_share>(*this, loop));
        }
    }

    task<> run(task_group& group);

    /// On the loop of `branch`: makes the task of a connection. Throws: what the handler throws
    /// before its first await, std::bad_alloc.
    static void start_on(server_share& branch, net::tcp_stream&& stream, net::endpoint peer,
                         handed_over* ticket);
    /// On the acceptor's loop.
    void connection_ended(server_share& of) noexcept {
        --of.alive;
        --owed_;
        --alive_;
        if (waiting_ != nullptr) waiting_->look();
    }

private:
    static task<> serve_branch(server_share& branch);
    task<> accept_until_stopped(task_group& group);
    void start(task_group& group, net::tcp_stream&& stream) noexcept;
    void refuse(task_group& group, net::tcp_stream&& stream) noexcept;
    /// The bytes are out: the end of the server waits for this one no more.
    void refusal_told() noexcept {
        --owed_;
        if (waiting_ != nullptr) waiting_->look();
    }
    void refusal_ended(bool told) noexcept {
        if (!told) --owed_;
        --refused_;
        --alive_;
        if (waiting_ != nullptr) waiting_->look();
    }
    static task<> refuse_one(server_run& server, net::tcp_stream peer);
    /// Connections that have a handler.
    [[nodiscard]] std::size_t served() const noexcept { return alive_ - refused_; }
    bool hand_over(server_share& to, net::tcp_stream& stream, net::endpoint peer) noexcept;
    static void arrived(handed_over& ticket) noexcept;
    server_share& least_loaded() noexcept;
    /// Until there is room for one more, be it to serve it or to refuse it.
    size_awaiter room() noexcept;
    /// Until all handlers have ended and all refusals are told.
    size_awaiter drained() noexcept { return {owed_, waiting_, 0}; }

    net::tcp_listener& listener_;
    serve_options limits_;
    handler_call call_;
    void* handler_;
    std::size_t alive_ = 0;    ///< those that are being refused included
    std::size_t refused_ = 0;  ///< those alone
    std::size_t owed_ = 0;     ///< of all, those whose handler or whose refusal is to be finished
    size_awaiter* waiting_ = nullptr;
    std::vector<std::unique_ptr<server_share>> branches_;  ///< the acceptor's loop first
    idle_guard guard_;  ///< of the acceptor's loop
    std::atomic<std::size_t> not_begun_{0};
    event all_begun_;
};

/// A ticket goes home at the end of its connection and is freed where it was made.
void send_home(handed_over& ticket) noexcept {
    ticket.run = [](posted& self) noexcept {
        auto* mine = static_cast<handed_over*>(&self);
        mine->to.server.connection_ended(mine->to);
        mine->~handed_over();
        free_block(mine, sizeof(handed_over));
    };
    ticket.home->post(ticket);
}

/// Whether it is an error of the connection to `peer`, and not of another one (a proxy's target).
bool is_about(const io_error& error, const net::endpoint& peer) noexcept {
    std::array<char, net::endpoint::text_capacity> buffer;
    return error.endpoint() == peer.to_text(buffer);
}
bool is_about(const std::exception_ptr& error, const net::endpoint& peer) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        return is_about(problem, peer);
    } catch (...) {
        return false;
    }
}

/// A peer that leaves, or vanishes, is no fault of the program or its machine. Where another
/// connection broke (to a proxy's target), its far end is the operator's choice and no peer.
severity level_of(const std::exception_ptr& error, const net::endpoint& peer) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        if (!problem.endpoint().empty() && !is_about(problem, peer)) return severity::error;
        for (const std::errc each : {std::errc::connection_reset, std::errc::broken_pipe,
                                     std::errc::connection_aborted, std::errc::timed_out})
            if (problem == each) return severity::notice;
        return problem == errc::end_of_stream ? severity::notice : severity::error;
    } catch (...) {
        return severity::error;
    }
}

void report_problem(const std::exception_ptr& error, const net::endpoint& peer) noexcept {
    if (is_cancelled_exception(error)) return;
    std::array<char, net::endpoint::text_capacity> buffer;
    report_exception({.level = level_of(error, peer), .verb = "serve",
                      .endpoint = peer.to_text(buffer), .error = {}, .text = {}, .task = {}},
                     error);
}

/// The strand of one connection; the handler's frame comes on top.
class connection final : public group_child, public idle_entry {
public:
    static void start(server_share& branch, detail::handle socket, net::endpoint peer,
                      handed_over* ticket, task<>&& child) {
        void* memory = allocate_block(sizeof(connection));
        (::new (memory) connection(branch, socket, peer, ticket, std::move(child)))->begin();
    }

private:
    connection(server_share& branch, detail::handle socket, net::endpoint peer,
               handed_over* ticket, task<>&& child) noexcept
        : group_child(*branch.group, nullptr, std::move(child)),
          branch_(branch),
          ticket_(ticket),
          peer_(peer) {
        static constexpr strand_kind as_connection{
            .resume = &resume_coroutine, .finished = &ended, .granted = nullptr};
        kind = &as_connection;
        branch.guard->add(*this, socket);
    }
    ~connection() = default;

    static void ended(detail::strand& strand) noexcept {
        auto* self = static_cast<connection*>(&strand);
        task_group& of = self->group();
        server_share& branch = self->branch_;
        handed_over* ticket = self->ticket_;
        tell_hooks_of_end(*self);
        if (self->error()) [[unlikely]] self->report_error();
        self->~connection();  // ends the stream, if the handler still had it
        free_block(self, sizeof(connection));
        if (ticket != nullptr) send_home(*ticket);
        else branch.server.connection_ended(branch);
        leave_group(of);
    }

    void report_error() noexcept {
        // What a handler meets after the guard has shut its connection down is the guard's doing.
        if (!looked.found_idle() || !is_about(error(), peer_))
            return report_problem(error(), peer_);
        std::array<char, net::endpoint::text_capacity> buffer;
        report_idle(branch_.guard->span(), peer_.to_text(buffer));
    }

    server_share& branch_;
    handed_over* ticket_;  ///< nullptr on the acceptor's loop
    net::endpoint peer_;
};

void server_run::start_on(server_share& branch, net::tcp_stream&& stream, net::endpoint peer,
                          handed_over* ticket) {
    const detail::handle socket = stream.ref().handle;  // the handler may move the stream away
    server_run& server = branch.server;
    if (socket_notes* notes = scheduler_of(branch.loop).poller().notes(socket))
        notes->reset_failed = server.limits_.reset_failed;
    task<> child = server.call_(server.handler_, std::move(stream));
    check_startable(child, "a handler of serve returned a task that was moved from",
                    "a handler of serve returned a task that had been started before");
    connection::start(branch, socket, peer, ticket, std::move(child));
}

server_share& server_run::least_loaded() noexcept {
    server_share* least = branches_.front().get();
    for (const auto& branch : branches_)
        if (branch->alive < least->alive) least = branch.get();
    return *least;
}

/// The connection goes to the loop that has the fewest. Whatever goes wrong with it is reported
/// with its peer, and the server goes on.
void server_run::start(task_group& group, net::tcp_stream&& stream) noexcept {
    net::endpoint peer;
    try {
        peer = stream.remote_endpoint();
    } catch (const io_error&) {
        return;  // gone already
    }
    server_share& branch = least_loaded();
    server_share& here = *branches_.front();
    // A group that was cancelled has told its other loops: nothing may follow that.
    if (&branch != &here && !group.is_cancelled() && hand_over(branch, stream, peer)) return;
    try {
        start_on(here, std::move(stream), peer, nullptr);
        ++here.alive;
        ++owed_;
        ++alive_;
    } catch (...) {
        report_problem(std::current_exception(), peer);
    }
}

/// False: it stays here.
bool server_run::hand_over(server_share& to, net::tcp_stream& stream,
                           net::endpoint peer) noexcept {
    int descriptor = -1;
    const socket_ref socket = stream.ref();
    void* memory = nullptr;
    try {
        memory = allocate_block(sizeof(handed_over));
    } catch (const std::bad_alloc&) {
        return false;
    }
    if (scheduler_of(*current).poller().release(socket.handle, descriptor) != 0) {
        free_block(memory, sizeof(handed_over));
        return false;
    }
    auto* ticket = ::new (memory) handed_over(to, descriptor, peer);
    ticket->home = current;
    ticket->run = [](posted& self) noexcept { arrived(static_cast<handed_over&>(self)); };
    ++to.alive;
    ++owed_;
    ++alive_;
    to.loop.post(*ticket);
    return true;
}

/// On the other loop. Its group is there: it began before the first accept, and what ends it was
/// posted after this.
void server_run::arrived(handed_over& ticket) noexcept {
    try {
        start_on(ticket.to, stream_access::adopt(ticket.descriptor), ticket.peer, &ticket);
    } catch (...) {
        report_problem(std::current_exception(), ticket.peer);
        send_home(ticket);
    }
}

/// How long a client that is refused may take to read that and to close its end.
constexpr duration refusal_span = std::chrono::seconds(2);

/// The bytes, the end of the stream behind them, and what the client still sends is read and
/// dropped: a close before that would be a reset, which destroys bytes on their way. What the
/// client does meanwhile is no error of the server.
task<> server_run::refuse_one(server_run& server, net::tcp_stream peer) {
    struct place {
        ~place() { of.refusal_ended(told); }
        server_run& of;
        bool told = false;
    };
    place counted{server};
    const time_point deadline = saturating_add(now(), refusal_span);
    const const_bytes text = as_bytes(server.limits_.refusal);
    const result<void> told =
        co_await as_result(with_deadline(deadline, net::write_all(peer, text)));
    if (!told.has_value()) co_return;
    // The end of the stream is sent before this task gives way. Who then keeps its own end open
    // must not hold that of the server.
    counted.told = true;
    server.refusal_told();
    co_await peer.close_gracefully(deadline - now());
}

void server_run::refuse(task_group& group, net::tcp_stream&& stream) noexcept {
    ++refused_;
    ++owed_;
    ++alive_;
    try {
        group.spawn({.name = "refuse"}, refuse_one, std::ref(*this), std::move(stream));
    } catch (...) {
        refusal_ended(false);
        report_problem(std::current_exception(), {});
    }
}

/// What runs on each other loop for the life of the server.
task<> server_run::serve_branch(server_share& branch) {
    idle_guard guard(this_loop(), branch.server.limits_.idle);
    branch.guard = &guard;
    const auto tell = [&branch] {
        if (branch.server.not_begun_.fetch_sub(1) == 1) branch.server.all_begun_.set();
    };
    const auto body = [&](task_group& group) -> task<> {
        branch.group = &group;
        tell();
        event never_set;
        co_await never_set.wait();
    };
    try {
        co_await with_task_group(body, {.policy = on_error::report_and_go_on});
    } catch (...) {
        // The acceptor waits for all branches to begin, and throws what kept one from it.
        if (branch.group != nullptr) throw;
        branch.not_begun = std::current_exception();
    }
    if (branch.not_begun) tell();
}

/// The scope in which serve accepts: cancelled when a stop is requested, while handlers go on.
class accept_region : private stop_listener {
public:
    accept_region() noexcept
        : stop_listener([](stop_listener& self) noexcept {
              static_cast<accept_region&>(self).scope_.cancel();
          }),
          strand_(this_strand()) {
        scope_access::open(scope_, strand_);
        scope_access::enter(strand_, scope_);
        scope_access::attach(scope_, *this);
        if (scope_.stop_requested()) scope_.cancel();
    }
    accept_region(const accept_region&) = delete;
    accept_region& operator=(const accept_region&) = delete;
    ~accept_region() {
        unlink();
        scope_access::leave(strand_, scope_);
        scope_access::close(scope_);
    }
    /// The cancellation was the stop, not that of somebody outside.
    [[nodiscard]] bool stopped() const noexcept { return scope_access::swallows(scope_); }

private:
    detail::strand& strand_;
    scope_access::owned scope_;
};

size_awaiter server_run::room() noexcept {
    // Either may be as large as can be said: their sum must not wrap around.
    constexpr std::size_t largest = std::numeric_limits<std::size_t>::max();
    const std::size_t others = limits_.connections - 1;
    const std::size_t refusals = limits_.refusal.empty() ? 0 : limits_.refusals;
    return {alive_, waiting_, others + std::min(refusals, largest - others)};
}

task<> server_run::accept_until_stopped(task_group& group) {
    const accept_region region;
    try {
        for (;;) {
            co_await room();
            net::tcp_stream stream = co_await listener_.accept();
            // The one that was waited for may have come when the last place had gone.
            if (served() < limits_.connections) start(group, std::move(stream));
            else refuse(group, std::move(stream));
        }
    } catch (const cancelled&) {
        if (!region.stopped()) throw;
    }
}

task<> server_run::run(task_group& group) {
    branches_.front()->guard = &guard_;
    branches_.front()->group = &group;
    scope_access::ends_with_stops(group.scope());
    not_begun_ = branches_.size() - 1;
    for (std::size_t i = 1; i < branches_.size(); ++i)
        group.spawn({.name = "serve", .loop = branches_[i]->loop.index}, serve_branch,
                    std::ref(*branches_[i]));
    if (branches_.size() > 1) co_await all_begun_.wait();
    for (const auto& branch : branches_)
        if (branch->not_begun) std::rethrow_exception(branch->not_begun);
    co_await accept_until_stopped(group);
    // Those that wait already, and not those that go on coming: no queue is longer.
    for (unsigned taken = 0; taken < most_waiting && served() < limits_.connections; ++taken) {
        std::optional<net::tcp_stream> waiting = co_await listener_.accept_if_waiting();
        if (waiting) start(group, std::move(*waiting));
        else if (listener_.close_if_idle()) break;
    }
    listener_.close();
    co_await move_on_after(limits_.drain, drained());
    group.cancel();
}

void warn_of_cap(const serve_options& limits) {
    const std::size_t descriptors = descriptor_limit();
    const std::size_t refusals = limits.refusal.empty() ? 0 : limits.refusals;
    if (limits.connections <= descriptors / 2 && refusals <= descriptors / 2 - limits.connections)
        return;
    const std::string also =
        refusals == 0 ? std::string() : " with refusals = " + std::to_string(refusals);
    report({.level = severity::warning, .verb = "serve", .endpoint = {}, .error = {},
            .text = "connections = " + std::to_string(limits.connections) + also +
                    " is above half of the limit of open files, " + std::to_string(descriptors) +
                    ": lower it, or raise the limit (ulimit -n, LimitNOFILE=)",
            .task = {}});
}

}  // namespace

task<> serve_connections(net::tcp_listener& listener, serve_options limits, handler_call call,
                         void* handler) {
    CORO_ASSERT(limits.connections > 0, "serve_options.connections must be at least 1");
    warn_of_cap(limits);
    server_run server(listener, limits, call, handler);
    const auto body = [&server](task_group& group) -> task<> { co_await server.run(group); };
    co_await with_task_group(body, {.policy = on_error::report_and_go_on});
}

}}}  // namespace coro::v0::detail
