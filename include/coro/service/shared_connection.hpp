// shared_connection: one connection that many tasks use at once, for protocols whose replies come
// in the order of the requests.
//
//     struct lines {  // a codec
//         using request = std::string;
//         using reply = std::string;
//         static void encode(const request& what, std::string& to) { to += what + "\n"; }
//         static coro::task<reply> read(coro::net::buffered_stream& from) {
//             co_return std::string(co_await from.read_until("\n"));
//         }
//     };
//
//     auto connect = [] { return coro::net::tcp_stream::connect(server); };
//     auto body = [](coro::shared_connection<lines>& server) -> coro::task<> {
//         std::string reply = co_await server.request("PING");
//     };
//     co_await coro::with_shared_connection<lines>(connect, {}, body);
#pragma once

#include <concepts>
#include <optional>
#include <source_location>
#include <string>
#include <type_traits>
#include <utility>

#include <coro/core/detail/callable.hpp>
#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/stream.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/with_cleanup.hpp>
#include <coro/service/detail/shared_link.hpp>
#include <coro/service/shared_options.hpp>

namespace coro { inline namespace v0 {

namespace detail {
template <typename Codec, typename Connector, typename Body>
class shared_life;
}

/// What a protocol is to a shared connection: types, and two functions, which may be static.
/// `encode(const request&, std::string& to)` appends the bytes of a request. `read(from)` returns a
/// task that reads one reply, and no byte more, as the methods of buffered_stream do. An exception
/// of `encode` is that of its caller alone. An exception of `read` ends the connection. One Codec
/// object serves all connections, one call at a time, on the loop of the shared connection.
template <typename Codec>
concept exchange_codec =
    std::default_initializable<Codec> && std::movable<typename Codec::request> &&
    std::movable<typename Codec::reply> &&
    requires(Codec& codec, const typename Codec::request& what, std::string& to,
             net::buffered_stream& from) {
        codec.encode(what, to);
        { codec.read(from) } -> std::same_as<task<typename Codec::reply>>;
    };

/// One connection to a server, shared by the tasks and fibers that ask it something. Made by
/// with_shared_connection. Requests are sent in the order of their calls, without waiting for the
/// replies of those before, and those that are queued together. Replies belong to requests in that
/// order. A reply whose caller has gone is read and dropped, so nobody gets the reply of another
/// one.
///
/// It connects when the first request comes, and after a break when the next one does. Requests
/// that were sent before the break fail with what broke it: nobody knows whether the server has
/// done them. Those that were not sent go to the next connection. Bytes that no request asked for
/// break it as well (std::errc::protocol_error).
template <exchange_codec Codec>
class shared_connection {
public:
    using request_type = typename Codec::request;
    using reply_type = typename Codec::reply;

    shared_connection(const shared_connection&) = delete;
    shared_connection& operator=(const shared_connection&) = delete;

    /// Returns `Codec::reply`: the answer of the server to `what`. A deadline is that of the
    /// caller, as by with_timeout.
    /// Requires: the end of the body has not been reached, or comes while it waits.
    /// Suspends until the reply has come; resumes on the loop of the caller, which may be any of
    /// the run.
    /// Throws: io_error. It has the verb and the peer of what broke the connection, or of the
    /// connect that failed (shared_connection_options::breaker_threshold). errc::limit_exceeded:
    /// max_waiters requests wait. errc::closed: the body has ended. It also throws what the
    /// connector, `encode` and `read` throw; cancelled.
    /// Cancel safety: the request is not sent if the caller ends before its turn to be sent.
    /// Otherwise it is, and its reply is dropped.
    [[nodiscard("co_await it or spawn it")]] task<reply_type> request(request_type what) {
        if (loop_index() != link_.home()) co_return co_await request_from_afar(std::move(what));
        call mine(link_, what);
        mine.enter();
        co_await mine.answered.wait();
        mine.throw_error();
        co_return std::move(*mine.reply);
    }

    /// Its counters. Requires: called on its loop.
    [[nodiscard]] shared_connection_stats stats() const noexcept { return link_.stats(); }

private:
    template <typename, typename, typename>
    friend class detail::shared_life;

    /// What the link knows of a caller and of the codec.
    class link;
    class call final : public detail::exchange {
    public:
        call(link& of, const request_type& what) noexcept
            : exchange(of), codec_(of.codec), what_(what) {}
        void encode(std::string& to) override { codec_.encode(what_, to); }

        std::optional<reply_type> reply;

    private:
        Codec& codec_;
        const request_type& what_;
    };

    class link : public detail::shared_link {
    public:
        using detail::shared_link::shared_link;
        Codec codec{};

    protected:
        ~link() override = default;
        task<> read_one(net::buffered_stream& from) override {
            reply_type got = co_await codec.read(from);
            if (detail::exchange* const to = next_answered(); to != nullptr)
                static_cast<call*>(to)->reply.emplace(std::move(got));
            end_answered();
        }
    };

    explicit shared_connection(link& of) noexcept : link_(of) {}

    /// A child on the loop of the connection asks in the place of the caller.
    task<reply_type> request_from_afar(request_type what) {
        std::optional<reply_type> reply;
        const auto inside = [&](task_group& group) -> task<> {
            link_.one_from_afar();
            try {
                group.spawn({.loop = link_.home()}, &shared_connection::request_for, this,
                            std::ref(what), std::ref(reply));
            } catch (...) {
                link_.none_from_afar();
                throw;
            }
            co_return;
        };
        co_await with_task_group(inside);
        if (!reply) throw cancelled();
        co_return std::move(*reply);
    }
    task<> request_for(request_type& what, std::optional<reply_type>& into) {
        const struct leaving {
            ~leaving() { of.none_from_afar(); }
            link& of;
        } at_the_end{link_};
        into.emplace(co_await request(std::move(what)));
    }

    link& link_;
};

namespace detail {

/// The life of a shared connection: with_shared_connection.
template <typename Codec, typename Connector, typename Body>
class shared_life {
    using lent = shared_connection<Codec>;
    using result = std::invoke_result_t<std::unwrap_reference_t<Body>&, lent&>;

    class link final : public lent::link {
    public:
        link(Connector by, const shared_connection_options& options, std::source_location made_at)
            : lent::link(options, made_at), connector_(std::move(by)) {}

    private:
        task<net::stream> connect() override {
            co_return net::stream(
                co_await static_cast<std::unwrap_reference_t<Connector>&>(connector_)());
        }
        Connector connector_;
    };

public:
    static result run(Connector connector, shared_connection_options options, Body body,
                      std::source_location made_at) {
        link made(std::move(connector), options, made_at);
        lent shared(made);
        const auto inside = [&](task_group& group) -> result {
            group.spawn({.name = "shared connection"}, made.keep_connected());
            return with_cleanup(
                [&] { return static_cast<std::unwrap_reference_t<Body>&>(body)(shared); },
                [&] { return made.finish(group); }, duration::max(), made_at);
        };
        co_return co_await with_task_group(inside);
    }
};

}  // namespace detail

/// Returns what the body returns: calls `body(connection)` with a shared_connection<Codec>, and
/// awaits the task it returns. `connector()` returns a task of a net::stream, or of a class derived
/// from it (tcp_stream), or an operation that does. The end of the body closes the connection:
/// requests of other tasks that are under way may finish for options.drain; the rest fails with
/// errc::closed. A cancellation from outside ends them at once. `connector` and `body` are kept to
/// the end and may capture.
/// Suspends until the body and all requests have ended; resumes on this loop.
/// Throws: what the body throws; std::invalid_argument (an option that cannot be);
/// std::bad_alloc; cancelled.
/// Cancel safety: that of the body.
template <exchange_codec Codec, typename Connector, typename Body>
    requires std::invocable<std::unwrap_reference_t<std::decay_t<Connector>>&> &&
             std::invocable<std::unwrap_reference_t<std::decay_t<Body>>&, shared_connection<Codec>&>
[[nodiscard("co_await it or spawn it")]] auto with_shared_connection(
    Connector&& connector, const shared_connection_options& options, Body&& body,
    std::source_location where = std::source_location::current()) {
    detail::check_body_callable<Connector>();
    detail::check_body_callable<Body>();
    return detail::shared_life<Codec, std::decay_t<Connector>, std::decay_t<Body>>::run(
        std::forward<Connector>(connector), options, std::forward<Body>(body), where);
}

}}  // namespace coro::v0
