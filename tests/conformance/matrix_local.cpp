// Drivers of connect and accept of Unix sockets.
#include <unistd.h>

#include <string>

#include <coro/net/local.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

net::local_listener bind_fresh(int backlog) {
    static int count = 0;
    const std::string name =
        "coro-matrix-" + std::to_string(::getpid()) + "-" + std::to_string(++count);
    return net::local_listener::bind(net::local_address::abstract(name), {.backlog = backlog});
}

/// The backlog of the listener is full.
class local_connect_driver final : public driver {
public:
    task<> prepare(ending) override {
        full_ = bind_fresh(0);
        for (bool full = false; !full;) {
            auto one = co_await move_on_after(
                20ms, net::local_stream::connect(full_.local_endpoint()));
            full = !one;
            if (one) clients_.push_back(std::move(*one));
        }
    }
    task<> operate() override {
        made_ = co_await net::local_stream::connect(full_.local_endpoint());
    }
    task<> complete() override { co_await accept_all(); }
    /// The listener goes away.
    task<> reset() override {
        full_.close();
        co_return;
    }
    task<> verify(const outcome& ended) override {
        check(static_cast<bool>(made_) == ended.is(outcome_kind::value), "a connection was lost");
        if (!made_) co_return;
        co_await accept_all();
        check(accepted_ == clients_.size() + 1, "the connection was not accepted");
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

    net::local_listener full_;
    std::vector<net::local_stream> clients_;
    net::local_stream made_;
    std::size_t accepted_ = 0;
};

/// Clients that connected, and what came out of the listener: none may be missing, each must work.
class local_accepting_driver : public driver {
public:
    task<> prepare(ending) override {
        listener_ = bind_fresh(100);
        co_return;
    }
    task<> complete() override {
        clients_.push_back(co_await net::local_stream::connect(listener_.local_endpoint()));
    }
    /// One client comes and goes at once, then another comes and stays.
    task<> reset() override {
        co_await local_accepting_driver::complete();
        clients_.pop_back();
        ++gone_;
        co_await complete();
    }
    task<> verify(const outcome&) override {
        co_await local_accepting_driver::complete();
        while (accepted_.size() < clients_.size() + gone_) {
            auto one = co_await with_timeout(1min, listener_.accept());
            accepted_.push_back(std::move(one));
        }
        const auto more = co_await listener_.accept_if_waiting();
        check(!more.has_value(), "more accepted than connected");
        if (gone_ == 0) co_await check_each();
    }

protected:
    net::local_listener listener_;
    std::vector<net::local_stream> accepted_;

private:
    task<> check_each() {
        for (net::local_stream& each : accepted_) co_await net::write_all(each, as_bytes("k"));
        std::array<std::byte, 1> into{};
        for (net::local_stream& each : clients_) {
            const std::size_t got = co_await each.read_some(mutable_bytes(into));
            check(got == 1, "an accepted one is dead");
        }
    }

    std::vector<net::local_stream> clients_;
    std::size_t gone_ = 0;
};

class local_accept_driver final : public local_accepting_driver {
public:
    task<> operate() override { accepted_.push_back(co_await listener_.accept()); }
};

/// It does not wait for clients: it is asked again and again, and hangs for moments only.
class local_accept_if_waiting_driver final : public local_accepting_driver {
public:
    task<> operate() override {
        while (!told_) {
            auto one = co_await listener_.accept_if_waiting();
            if (one) accepted_.push_back(std::move(*one));
            if (++rounds_ % 8 == 0) co_await sleep_for(1ms);
        }
    }
    task<> complete() override {
        co_await local_accepting_driver::complete();
        told_ = true;
    }

private:
    bool told_ = false;
    unsigned rounds_ = 0;
};

}  // namespace

std::vector<point> local_points() {
    return {
        make_point<local_connect_driver>("coro::net::local_stream::connect", "for room"),
        make_point<local_accept_driver>("coro::net::local_listener::accept", "for a client"),
        make_point<local_accept_if_waiting_driver>("coro::net::local_listener::accept_if_waiting",
                                                "for a moment"),
    };
}

}}}  // namespace coro::v0::detail::conformance
