// What the conformance tests of datagrams share: operations with all that they name, and sockets.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <utility>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {

/// One receive_from or send_to with all that it names. Stays where it is.
struct message_operation {
    message_operation(opcode code, detail::handle on, std::string text)
        : bytes(std::move(text)), op(code, on) {
        message.bytes = {bytes.data(), bytes.size()};
        op.datagram = &message;
    }
    /// The result, the bytes that a receive has got, and whether it was cut.
    [[nodiscard]] std::string outcome() const {
        if (op.result < 0) return "<" + std::to_string(op.result) + ">";
        const std::string got = bytes.substr(0, static_cast<std::size_t>(op.result));
        return got + (message.truncated ? "|cut" : "|");
    }

    std::string bytes;
    datagram_request message;
    operation op;
};

struct receiving : message_operation {
    explicit receiving(detail::handle on, std::size_t room = 2048)
        : message_operation(opcode::receive_from, on, std::string(room, '?')) {}
};

struct sending : message_operation {
    sending(detail::handle on, std::string text, std::optional<socket_address> to = {})
        : message_operation(opcode::send_to, on, std::move(text)) {
        if (to) message.peer = *to;
    }
};

class poller_datagram_test : public poller_fixture {
protected:
    struct endpoint {
        detail::handle handle;
        socket_address address;
    };

    detail::handle open_datagram(address_family family = address_family::ipv4) {
        detail::handle made;
        EXPECT_EQ(world().open_datagram(family, made), 0);
        keep(made);
        return made;
    }

    endpoint bound(address_family family = address_family::ipv4, std::uint16_t port = 0) {
        endpoint made{open_datagram(family), {}};
        EXPECT_EQ(world().bind(made.handle, loopback(family, port)), 0);
        EXPECT_EQ(world().local_address(made.handle, made.address), 0);
        return made;
    }

    /// An address that refuses all. Its socket is connected to itself and hears nobody else; a
    /// closed one would leave the port to other programs.
    socket_address nobody() {
        const endpoint deaf = bound();
        EXPECT_EQ(connect(deaf.handle, deaf.address), 0);
        return deaf.address;
    }

    /// Three sockets in one place, which `option` allows.
    std::array<detail::handle, 3> bound_together(socket_option option, socket_address& where) {
        std::array<detail::handle, 3> made;
        where = loopback(address_family::ipv4);
        for (detail::handle& one : made) {
            one = open_datagram();
            EXPECT_EQ(world().set_option(one, option, 1), 0);
            EXPECT_EQ(world().bind(one, where), 0);
            EXPECT_EQ(world().local_address(one, where), 0);
        }
        return made;
    }

    /// `client` is connected to `server`, and works.
    void expect_connected(detail::handle client, const endpoint& server) {
        EXPECT_EQ(send_to(client, "hello"), 5);
        EXPECT_EQ(receive_from(server.handle), "hello|");
        socket_address peer;
        ASSERT_EQ(world().remote_address(client, peer), 0);
        EXPECT_EQ(text_of(peer), text_of(server.address));
    }

    std::int32_t send_to(detail::handle from, std::string text,
                         std::optional<socket_address> to = {}) {
        sending sent(from, std::move(text), to);
        return run(sent.op);
    }

    std::string receive_from(detail::handle on, std::size_t room = 2048) {
        receiving got(on, room);
        run(got.op);
        return got.outcome();
    }

    /// A socket that is known not to be readable refuses all the same.
    void expect_refused_when_not_ready(detail::handle stream) {
        char into = 0;
        operation waits(opcode::receive, stream);
        waits.buffer = {&into, 1};
        ASSERT_FALSE(submit(waits));
        settle();
        world().cancel(waits);
        finish(waits);
        EXPECT_EQ(receive_from(stream), answer(-EOPNOTSUPP));
    }

    /// That nothing is there to be received.
    void expect_nothing(detail::handle on) {
        receiving got(on);
        ASSERT_FALSE(submit(got.op));
        settle();
        ASSERT_EQ(got.op.phase, operation_phase::submitted) << got.outcome();
        world().cancel(got.op);
        finish(got.op);
        EXPECT_EQ(got.op.result, -ECANCELED);
    }
};

}}}  // namespace coro::v0::detail::conformance
