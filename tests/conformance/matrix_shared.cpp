// Drivers of shared_connection: a request that waits for its reply, and the end that waits for one.
#include <coro/service/shared_connection.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

struct line_codec {
    using request = std::string;
    using reply = std::string;
    static void encode(const request& what, std::string& to) { to += what + "\n"; }
    static task<reply> read(net::buffered_stream& from) {
        co_return std::string(co_await from.read_until("\n"));
    }
};
using shared_lines = shared_connection<line_codec>;

enum class shared_stage : std::uint8_t { reply, draining };

/// The server is the listener alone until the event comes: then it replies.
class shared_driver final : public driver {
public:
    explicit shared_driver(shared_stage where) : where_(where) {}

    task<> prepare(ending) override {
        listener_ = net::tcp_listener::bind(net::endpoint::loopback(0));
        where_to_ = listener_.local_endpoint();
        co_return;
    }
    task<> operate() override {
        const auto around = [this](task_group& group) -> task<> {
            const auto connect = [this] { return net::tcp_stream::connect(where_to_); };
            const auto body = [&](shared_lines& shared) -> task<> {
                const known_connection known(*this, shared);
                if (where_ == shared_stage::reply) {
                    co_await ask(*this, shared);
                    co_return;
                }
                group.spawn(ask, std::ref(*this), std::ref(shared));
                while (shared.stats().pipelined == 0) co_await yield();
            };
            co_await with_shared_connection<line_codec>(connect, {.drain = 1h}, body);
        };
        co_await with_task_group(around);
    }
    bool at_point(bool waits) override {
        if (!waits) return false;
        if (where_ == shared_stage::draining) return body_ended_;
        return shared_ != nullptr && shared_->stats().pipelined == 1;
    }
    task<> complete() override {
        co_await accept();
        if (!peer_) co_return;
        try {
            co_await net::write_all(peer_, as_bytes("reply\n"));
        } catch (const io_error&) {
            // The client has been cancelled: its connection is no more.
        }
    }
    task<> reset() override {
        co_await accept();
        net::stream_options abortive;
        abortive.linger = std::chrono::seconds(0);
        if (peer_) peer_.set_options(abortive);
        peer_ = {};
    }
    task<> verify(const outcome& ended) override {
        // The event may come first, and the end while the connection is being closed.
        const bool replied = reply_ == "reply\n";
        check(replied || (reply_.empty() && !ended.is(outcome_kind::value)),
              "the reply is missing, or is another one");
        check(shared_ == nullptr, "the body has not ended");
        peer_ = {};
        const auto again = [this](task_group& group) -> task<> {
            group.spawn(reply_to_all, std::ref(*this));
            const auto connect = [this] { return net::tcp_stream::connect(where_to_); };
            const auto body = [this](shared_lines& shared) -> task<> {
                const std::string reply = co_await with_timeout(1min, shared.request("again"));
                check(reply == "again\n", "the next one gets another reply");
            };
            co_await with_shared_connection<line_codec>(connect, {}, body);
            group.cancel();
        };
        co_await with_task_group(again);
        listener_.close();
    }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        if (kind.how == ending::peer_reset)
            return ended.is(outcome_kind::error) && ended.error == std::errc::connection_reset;
        return driver::documented(kind, ended);
    }

private:
    class known_connection {
    public:
        known_connection(shared_driver& of, shared_lines& shared) : of_(of) {
            of_.shared_ = &shared;
        }
        ~known_connection() {
            of_.shared_ = nullptr;
            of_.body_ended_ = true;
        }
        known_connection(const known_connection&) = delete;
        known_connection& operator=(const known_connection&) = delete;

    private:
        shared_driver& of_;
    };

    static task<> ask(shared_driver& self, shared_lines& shared) {
        self.reply_ = co_await shared.request("request");
    }
    task<> accept() {
        if (auto one = co_await listener_.accept_if_waiting()) peer_ = std::move(*one);
    }
    /// Those of earlier clients are at their end.
    static task<> reply_to_all(shared_driver& self) {
        for (;;) {
            net::tcp_stream one = co_await self.listener_.accept();
            net::buffered_stream in(one);
            for (;;) {
                const auto line = co_await as_result(in.read_line());
                if (!line || !*line) break;
                const std::string reply = std::string(**line) + "\n";
                const auto sent = co_await as_result(net::write_all(one, as_bytes(reply)));
                if (!sent) break;
            }
        }
    }

    shared_stage where_;
    net::tcp_listener listener_;
    net::endpoint where_to_;
    net::tcp_stream peer_;
    shared_lines* shared_ = nullptr;
    bool body_ended_ = false;
    std::string reply_;
};

}  // namespace

std::vector<point> shared_points() {
    return {
        make_point<shared_driver, shared_stage::reply>("coro::shared_connection::request",
                                                       "for the reply"),
        make_point<shared_driver, shared_stage::reply>("coro::with_shared_connection",
                                                       "in the body"),
        make_point<shared_driver, shared_stage::draining>("coro::with_shared_connection",
                                                          "draining"),
    };
}

}}}  // namespace coro::v0::detail::conformance
