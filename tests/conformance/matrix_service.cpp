// Drivers of connect, accept and serve.
#include <sys/resource.h>
#include <unistd.h>

#include <coro/core/with_cancel_scope.hpp>

#include "kernel_queues.hpp"
#include "matrix_support.hpp"
#include "runtime/scheduler.hpp"
#include "sim/sim_poller.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Connects until no more connections find room in the queue of `listener`.
task<> fill_queue(const net::tcp_listener& listener, std::vector<net::tcp_stream>& clients) {
    for (bool full = false; !full;) {
        auto one = co_await move_on_after(
            20ms, net::tcp_stream::connect(listener.local_endpoint()));
        full = is_full(listener, !one);
        if (one) clients.push_back(std::move(*one));
    }
}

/// The handshake hangs because the queue of the listener is full. On a real network the kernel
/// tries again after a second.
class connect_driver final : public driver {
public:
    task<> prepare(ending) override {
        net::listen_options options;
        options.backlog = 1;
        full_ = net::tcp_listener::bind(net::endpoint::loopback(0), options);
        co_await fill_queue(full_, clients_);
    }
    task<> operate() override {
        made_ = co_await net::tcp_stream::connect(full_.local_endpoint());
    }
    task<> complete() override { co_await accept_all(); }
    /// The listener goes away: the next attempt of the handshake is refused.
    task<> reset() override {
        full_.close();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(static_cast<bool>(made_) == ended.is(outcome_kind::value), "a connection was lost");
        if (made_) {
            co_await accept_all();
            check(accepted_ == clients_.size() + 1, "the connection was not accepted");
        }
        stream_pair another;
        co_await another.open();
    }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (kind.how == ending::peer_reset)
            return ended.is(outcome_kind::error) && ended.error == std::errc::connection_refused;
        return driver::documented(kind, ended);
    }

private:
    task<> accept_all() {
        while (const auto one = co_await full_.accept_if_waiting()) accepted_ += one ? 1 : 0;
    }

    net::tcp_listener full_;
    std::vector<net::tcp_stream> clients_;
    net::tcp_stream made_;
    std::size_t accepted_ = 0;
};

/// Clients that connected, and what came out of the listener: none may be missing, each must work.
class accepting_driver : public driver {
public:
    task<> prepare(ending) override {
        listener_ = net::tcp_listener::bind(net::endpoint::loopback(0));
        co_return;
    }
    task<> complete() override {
        clients_.push_back(co_await net::tcp_stream::connect(listener_.local_endpoint()));
    }
    /// One client comes and resets at once, then another comes and stays.
    task<> reset() override {
        co_await complete();
        net::stream_options abortive;
        abortive.linger = std::chrono::seconds(0);
        clients_.back().set_options(abortive);
        clients_.pop_back();
        ++gone_;
        co_await complete();
    }
    task<> verify(const outcome&) override {
        co_await complete();
        while (accepted_.size() < clients_.size()) {
            auto one = co_await with_timeout(1min, listener_.accept());
            accepted_.push_back(std::move(one));
        }
        while (auto one = co_await listener_.accept_if_waiting())
            accepted_.push_back(std::move(*one));
        check(accepted_.size() <= clients_.size() + gone_, "more accepted than connected");
        if (gone_ == 0) co_await check_each();
    }

protected:
    net::tcp_listener listener_;
    std::vector<net::tcp_stream> accepted_;

private:
    /// Each client gets its own byte from the other side.
    task<> check_each() {
        for (net::tcp_stream& each : accepted_) co_await net::write_all(each, as_bytes("k"));
        std::array<std::byte, 1> into{};
        for (net::tcp_stream& each : clients_)
            check(co_await each.read_some(mutable_bytes(into)) == 1, "an accepted one is dead");
    }

    std::vector<net::tcp_stream> clients_;
    std::size_t gone_ = 0;
};

class accept_driver final : public accepting_driver {
public:
    task<> operate() override { accepted_.push_back(co_await listener_.accept()); }
};

/// accept() pauses because no descriptor is left.
class paused_accept_driver final : public accepting_driver {
public:
    ~paused_accept_driver() override { give_back(); }

    task<> prepare(ending how) override {
        co_await accepting_driver::prepare(how);
        co_await accepting_driver::complete();
        const auto count = [](const report_event&, void* user) noexcept {
            ++*static_cast<int*>(user);
        };
        set_report_hook(count, &reports_);
        poller& world = scheduler_of(*current).poller();
        if (world.name() == "simulation") {
            sim_ = static_cast<sim_poller*>(&world);
            sim_->simulation().limit_sockets(world.census().sockets);
        } else {
            getrlimit(RLIMIT_NOFILE, &limit_);
            rlimit small = limit_;
            small.rlim_cur = open_descriptors_limit();
            setrlimit(RLIMIT_NOFILE, &small);
            limited_ = true;
        }
    }
    task<> operate() override { accepted_.push_back(co_await listener_.accept()); }
    bool at_point(bool waits) override { return waits && reports_ > 0; }
    task<> complete() override {
        give_back();
        co_await accepting_driver::complete();
    }
    task<> reset() override { co_await complete(); }
    task<> verify(const outcome&) override {
        give_back();
        auto one = co_await as_result(net::tcp_stream::connect(listener_.local_endpoint()));
        check(one.has_value(), "no connection after the descriptors have come back");
        if (accepted_.empty()) accepted_.push_back(co_await listener_.accept());
        check(static_cast<bool>(accepted_.front()), "accept answered no connection");
    }

private:
    /// The lowest limit that lets live what is open: new descriptors are above it.
    static rlim_t open_descriptors_limit() {
        const int lowest_free = ::dup(0);
        ::close(lowest_free);
        return static_cast<rlim_t>(lowest_free);
    }
    void give_back() {
        if (sim_ != nullptr) sim_->simulation().limit_sockets(SIZE_MAX);
        if (limited_) setrlimit(RLIMIT_NOFILE, &limit_);
        sim_ = nullptr;
        limited_ = false;
        set_report_hook(nullptr, nullptr);
    }

    int reports_ = 0;
    sim_poller* sim_ = nullptr;
    bool limited_ = false;
    rlimit limit_{};
};

/// It does not wait for clients: it is asked again and again, and hangs for moments only.
class accept_if_waiting_driver final : public accepting_driver {
public:
    task<> operate() override {
        while (!told_) {
            auto one = co_await listener_.accept_if_waiting();
            if (one) accepted_.push_back(std::move(*one));
            if (++rounds_ % 8 == 0) co_await sleep_for(1ms);
        }
    }
    task<> complete() override {
        co_await accepting_driver::complete();
        told_ = true;
    }

private:
    bool told_ = false;
    unsigned rounds_ = 0;
};

enum class serve_stage : std::uint8_t { accepting, full, draining };

class serve_driver final : public driver {
public:
    explicit serve_driver(serve_stage where) : where_(where) {}

    task<> prepare(ending) override {
        listener_ = net::tcp_listener::bind(net::endpoint::loopback(0));
        where_to_ = listener_.local_endpoint();
        if (where_ != serve_stage::accepting) co_await connect();
        if (where_ == serve_stage::full) co_await connect();
    }
    task<> operate() override {
        const auto body = [this](cancel_scope& scope) -> task<> {
            const known_scope known(scope_, scope);
            const auto handler = [this](net::tcp_stream stream) -> task<> {
                co_await handle(std::move(stream));
            };
            const std::size_t most = where_ == serve_stage::full ? 1 : 100;
            co_await serve(listener_, handler, {.limits = {.connections = most, .drain = 1h}});
        };
        co_await with_cancel_scope(body);
    }
    bool at_point(bool waits) override {
        if (!waits) return false;
        if (where_ == serve_stage::accepting) return true;
        if (handled_ != 1) return false;
        if (where_ == serve_stage::full || stopped_) return true;
        scope_->request_stop();
        stopped_ = true;
        return false;
    }
    task<> complete() override {
        if (scope_ != nullptr) scope_->request_stop();
        for (net::tcp_stream& each : clients_) {
            try {
                each.shutdown_send();
            } catch (const io_error&) {
                continue;  // its handler was cancelled: the connection is no more
            }
        }
        co_return;
    }
    /// A client resets; the server goes on, and ends when it is told to.
    task<> reset() override {
        if (!clients_.empty()) {
            net::stream_options abortive;
            abortive.linger = std::chrono::seconds(0);
            clients_.front().set_options(abortive);
            clients_.front() = {};
            std::erase_if(clients_, [](const net::tcp_stream& each) { return !each; });
        }
        co_await complete();
    }
    task<> verify(const outcome& ended) override {
        check(handled_ == ended_handlers_, "a handler outlived its server");
        if (ended.is(outcome_kind::value)) check(!listener_, "the listener is still open");
        if (listener_) {
            co_await connect();  // what waits in the queue may be of earlier clients
            auto next = co_await with_timeout(1min, listener_.accept());
            check(static_cast<bool>(next), "the listener accepts no more");
            listener_.close();
        }
        std::array<std::byte, 16> into{};
        for (net::tcp_stream& each : clients_) {
            for (;;) {
                const auto n = co_await as_result(
                    with_timeout(1min, each.read_some(mutable_bytes(into))));
                if (n && *n != 0) continue;
                check(n || n.error().code() != errc::deadline_exceeded, "a client hangs");
                break;
            }
        }
        set_report_hook(nullptr, nullptr);
    }
    /// serve ends with a value as soon as a stop was requested and nobody is served.
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (kind.how == ending::shutdown && ended.is(outcome_kind::value)) return true;
        return driver::documented(kind, ended);
    }

private:
    task<> connect() { clients_.push_back(co_await net::tcp_stream::connect(where_to_)); }
    task<> handle(net::tcp_stream stream) {
        ++handled_;
        const counter on_end(ended_handlers_);
        std::array<std::byte, 64> into{};
        for (;;) {
            const auto n = co_await as_result(stream.read_some(mutable_bytes(into)));
            if (!n || *n == 0) co_return;
        }
    }
    struct counter {
        explicit counter(int& of) : ended(of) {}
        ~counter() { ++ended; }
        counter(const counter&) = delete;
        counter& operator=(const counter&) = delete;
        int& ended;
    };

    serve_stage where_;
    net::tcp_listener listener_;
    net::endpoint where_to_;
    std::vector<net::tcp_stream> clients_;
    cancel_scope* scope_ = nullptr;
    bool stopped_ = false;
    int handled_ = 0;
    int ended_handlers_ = 0;
};

}  // namespace

std::vector<point> service_points() {
    constexpr std::string_view accept = "coro::net::tcp_listener::accept";
    constexpr std::string_view accept_if_waiting = "coro::net::tcp_listener::accept_if_waiting";
    return {
        make_point<connect_driver>("coro::net::tcp_stream::connect", "in the handshake"),
        make_point<accept_driver>(accept, "for a client"),
        make_point<paused_accept_driver>(accept, "no descriptor is left"),
        make_point<accept_if_waiting_driver>(accept_if_waiting, "for a moment"),
        make_point<serve_driver, serve_stage::accepting>("coro::serve", "for a client"),
        make_point<serve_driver, serve_stage::full>("coro::serve", "for room"),
        make_point<serve_driver, serve_stage::draining>("coro::serve", "draining"),
    };
}

}}}  // namespace coro::v0::detail::conformance
