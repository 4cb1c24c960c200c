// serve: the acceptor, the strand of a connection with its idle guard, and the drain.
#include <coro/service/server.hpp>

#include <string>

#include <coro/base/report.hpp>
#include <coro/runtime/timeout.hpp>

#include "runtime/group_child.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"

namespace coro::inline v0::detail {
namespace {

class connection;

/// Waits until a server has few enough connections.
class size_wait final : public library_wait<size_wait> {
public:
    size_wait(std::size_t& alive, size_wait*& registered, std::size_t at_most) noexcept
        : alive_(alive), registered_(registered), at_most_(at_most) {}

    bool try_now() noexcept {
        if (alive_ > at_most_) return false;
        set_outcome(wait_outcome::done);
        return true;
    }
    bool start() noexcept {
        registered_ = this;
        return true;
    }
    void finish() const noexcept {}
    void look() noexcept {
        if (alive_ > at_most_) return;
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
    std::size_t& alive_;
    size_wait*& registered_;
    std::size_t at_most_;
};

/// A connection as its idle_guard sees it.
struct idle_entry : list_node<idle_entry> {
    socket_handle watched;
    time_point look_at{};  ///< when its activity is to be looked at next
};

/// Shuts down connections on which no byte has moved for the idle span. One timer for all: the
/// span is the same for everybody, so the next look of a connection is always later than those of
/// all that were put into the list before it. A connection that was active is put to the end
/// again, hence it is found idle after one span at least and two at most; 24 bytes each instead of
/// a timer's 72.
class idle_guard {
public:
    idle_guard(loop_core& loop, duration span) noexcept : loop_(loop), span_(span), timer_(*this) {}
    idle_guard(const idle_guard&) = delete;
    idle_guard& operator=(const idle_guard&) = delete;
    ~idle_guard() { loop_.disarm_timer(timer_); }

    void add(idle_entry& entry, socket_handle socket) noexcept {
        if (span_ == duration::max()) return;
        entry.watched = socket;
        put_last(entry);
        if (!timer_.armed()) arm_for_first();
    }

private:
    /// How many connections are looked at in one go; the others follow in the next turn.
    static constexpr unsigned looks_per_turn = 256;

    void put_last(idle_entry& entry) noexcept {
        entry.look_at = saturating_add(loop_.turn_time, span_);
        entries_.push_back(entry);
    }
    void arm_for_first() noexcept {
        if (const idle_entry* first = entries_.front()) loop_.arm_timer(timer_, first->look_at);
    }
    void look() noexcept {
        for (unsigned looked = 0; looked < looks_per_turn; ++looked) {
            idle_entry* first = entries_.front();
            if (first == nullptr || first->look_at > loop_.turn_time) break;
            first->unlink();
            if (end_if_idle(*first)) continue;
            put_last(*first);
        }
        arm_for_first();
    }
    /// True when there is nothing more to guard. Both directions are shut down and the handler
    /// reads the end of the stream, as it does for any peer: no cancellation, no scope per
    /// connection.
    bool end_if_idle(idle_entry& entry) noexcept {
        socket_activity seen;
        poller& world = scheduler_of(loop_).world();
        if (world.activity(entry.watched, seen) < 0) return true;  // the handler has closed it
        if (saturating_add(seen.last, span_) > loop_.turn_time) return false;
        static_cast<void>(world.shutdown(entry.watched, shutdown_how::both));  // ENOTCONN: as good
        return true;
    }

    struct look_timer : timer_node {
        explicit look_timer(idle_guard& of) noexcept
            : timer_node([](timer_node& fired) noexcept {
                  static_cast<look_timer&>(fired).self.look();
              }),
              self(of) {}
        idle_guard& self;
    };

    loop_core& loop_;
    duration span_;
    intrusive_list<idle_entry> entries_;
    look_timer timer_;
};

/// One serve().
class server_run {
public:
    server_run(net::tcp_listener& listener, const serve_limits& limits, handler_call call,
               void* handler) noexcept
        : listener_(listener),
          limits_(limits),
          call_(call),
          handler_(handler),
          guard_(this_loop(), limits.idle) {}

    task<> run(task_group& group);

    [[nodiscard]] idle_guard& guard() noexcept { return guard_; }
    void connection_ended() noexcept {
        --alive_;
        if (waiting_ != nullptr) waiting_->look();
    }

private:
    task<> accept_until_stopped(task_group& group);
    void start(task_group& group, net::tcp_stream&& stream);
    size_wait at_most(std::size_t connections) noexcept { return {alive_, waiting_, connections}; }

    net::tcp_listener& listener_;
    serve_limits limits_;
    handler_call call_;
    void* handler_;
    std::size_t alive_ = 0;
    size_wait* waiting_ = nullptr;
    idle_guard guard_;
};

/// The strand of one connection; the handler's frame comes on top.
class connection final : public group_child, public idle_entry {
public:
    static void start(server_run& server, task_group& group, socket_handle socket,
                      net::endpoint peer, task<>&& child) {
        void* memory = allocate_block(sizeof(connection));
        (::new (memory) connection(server, group, socket, peer, std::move(child)))->begin();
    }

private:
    connection(server_run& server, task_group& of, socket_handle socket, net::endpoint peer,
               task<>&& child) noexcept
        : group_child(of, nullptr, std::move(child)),
          server_(server),
          socket_(socket),
          peer_(peer) {
        static constexpr strand_kind as_connection{
            .resume = &resume_coroutine, .finished = &ended, .granted = nullptr};
        kind = &as_connection;
        server.guard().add(*this, socket);
    }
    ~connection() = default;

    static void ended(context& strand) noexcept {
        auto* self = static_cast<connection*>(&strand);
        task_group& of = self->group();
        server_run& server = self->server_;
        self->tell_hooks_of_end();
        if (self->error()) [[unlikely]] self->report_error();
        self->~connection();  // closes the stream, if the handler still had it
        free_block(self, sizeof(connection));
        server.connection_ended();
        leave_group(of);
    }

    void report_error() noexcept {
        if (is_cancelled_exception(error())) return;
        std::array<char, net::endpoint::text_capacity> buffer;
        report_event event;
        event.level = severity::error;
        event.endpoint = peer_.to_text(buffer);
        event.verb = "serve";
        try {
            std::rethrow_exception(error());
        } catch (const io_error& problem) {
            event.verb = problem.operation();
            event.error = problem.code();
            report(event);
        } catch (const std::exception& problem) {
            event.text = problem.what();
            report(event);
        } catch (...) {
            event.text = "the handler threw something that is no std::exception";
            report(event);
        }
    }

    server_run& server_;
    socket_handle socket_;
    net::endpoint peer_;
};

void server_run::start(task_group& group, net::tcp_stream&& stream) {
    net::endpoint peer;
    try {
        peer = stream.remote_endpoint();
    } catch (const io_error&) {
        return;  // gone already
    }
    const socket_handle socket = stream.ref().handle;  // the handler may move the stream away
    task<> child = call_(handler_, std::move(stream));
    ++alive_;
    connection::start(*this, group, socket, peer, std::move(child));
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
    context& strand_;
    scope_access::owned scope_;
};

task<> server_run::accept_until_stopped(task_group& group) {
    const accept_region region;
    try {
        for (;;) {
            co_await at_most(limits_.connections - 1);
            start(group, co_await listener_.accept());
        }
    } catch (const cancelled&) {
        if (!region.stopped()) throw;
    }
}

task<> server_run::run(task_group& group) {
    co_await accept_until_stopped(group);
    while (alive_ < limits_.connections) {
        std::optional<net::tcp_stream> waiting = co_await listener_.accept_waiting();
        // In a tiny ring (sq=4, cq=8) an overflow may have ended the multishot accept, and one that
        // is cancelled at once may not have looked again: ask a few times more.
        for (int asked = 0; !waiting && asked < 3; ++asked)
            waiting = co_await listener_.accept_waiting();
        if (!waiting) break;
        start(group, std::move(*waiting));
    }
    listener_.close();
    co_await move_on_after(limits_.drain, at_most(0));
    group.cancel();
}

void warn_of_cap(const serve_limits& limits) {
    const std::size_t descriptors = descriptor_limit();
    if (limits.connections == 0 || limits.connections <= descriptors / 2) return;
    report({.level = severity::warning, .verb = "serve", .endpoint = {}, .error = {},
            .text = "connections = " + std::to_string(limits.connections) +
                    " is above half of the limit of open files, " + std::to_string(descriptors) +
                    ": lower it, or raise the limit (ulimit -n, LimitNOFILE=)",
            .task = {}});
}

}  // namespace

task<> serve_connections(net::tcp_listener& listener, serve_limits limits, handler_call call,
                         void* handler) {
    CORO_ASSERT(limits.connections > 0, "serve_limits.connections must be at least 1");
    warn_of_cap(limits);
    server_run server(listener, limits, call, handler);
    const auto body = [&server](task_group& group) -> task<> { co_await server.run(group); };
    co_await with_task_group(body, {.policy = on_error::report_and_go_on});
}

}  // namespace coro::inline v0::detail
