// has_input(): whether a receive would complete at once, asked without receiving anything.
#include <string>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_input_test : public poller_fixture {
protected:
    bool has_input(detail::handle socket) {
        bool found = false;
        EXPECT_EQ(world().has_input(socket, found), 0);
        return found;
    }
    /// What was sent to `socket` is on its way, and nobody is told when it has come.
    bool comes(detail::handle socket) {
        for (int looks = 0; looks < 60'000 && !has_input(socket); ++looks)
            collect(world().now() + 1ms);
        return has_input(socket);
    }
    connected_pair local_pair() {
        socket_address name;
        const std::string text = std::string(1, '\0') + "coro-input-" + std::to_string(::getpid());
        const sa_family_t family = AF_UNIX;
        std::memcpy(name.bytes.data(), &family, sizeof family);
        std::memcpy(name.bytes.data() + sizeof family, text.data(), text.size());
        name.size = static_cast<std::uint32_t>(sizeof family + text.size());
        const listener_socket listener{open(address_family::local), name};
        file_mark mark;
        EXPECT_EQ(world().listen_local(listener.handle, name, {16, -1}, mark), 0);
        return connect_pair(listener, address_family::local);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_input_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_input_test, says_that_bytes_wait_and_takes_none) {
    for (const bool local : {false, true}) {
        const connected_pair pair = local ? local_pair() : connect_pair();
        EXPECT_FALSE(has_input(pair.server));
        send_all(pair.client, "abc");
        EXPECT_TRUE(comes(pair.server));
        EXPECT_FALSE(has_input(pair.client)) << "what was sent is the other side's";
        EXPECT_EQ(receive_exactly(pair.server, 1), "a");
        EXPECT_TRUE(has_input(pair.server)) << "two bytes are left";
        EXPECT_EQ(receive_exactly(pair.server, 2), "bc");
        EXPECT_FALSE(has_input(pair.server));
    }
}

TEST_P(poller_input_test, says_that_the_end_has_come) {
    for (const bool local : {false, true}) {
        const connected_pair pair = local ? local_pair() : connect_pair();
        EXPECT_EQ(world().shutdown(pair.client, shutdown_how::send), 0);
        EXPECT_FALSE(has_input(pair.client)) << "it may still receive";
        EXPECT_TRUE(comes(pair.server));
        EXPECT_EQ(receive(pair.server), "<0>");
        EXPECT_TRUE(has_input(pair.server)) << "an end stays one";
        world().close(pair.server);
        EXPECT_TRUE(comes(pair.client));
    }
}

TEST_P(poller_input_test, says_that_a_reset_has_come_and_leaves_the_error) {
    const connected_pair pair = connect_pair();
    EXPECT_EQ(world().set_option(pair.client, socket_option::linger, 0), 0);
    world().close(pair.client);
    EXPECT_TRUE(comes(pair.server));
    EXPECT_EQ(receive(pair.server), answer(-ECONNRESET));
    EXPECT_TRUE(has_input(pair.server)) << "a receive would not wait now either";
}

TEST_P(poller_input_test, a_pending_receive_is_an_answer_of_its_own) {
    const connected_pair pair = connect_pair();
    std::array<char, 8> into{};
    operation receiving(opcode::receive, pair.server);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    ASSERT_FALSE(submit(receiving));
    EXPECT_TRUE(has_input(pair.server)) << "a second one would be busy at once";
    world().cancel(receiving);
    finish(receiving);
    EXPECT_EQ(receiving.result, -ECANCELED);
    EXPECT_FALSE(has_input(pair.server));
    EXPECT_EQ(receive_after(pair, "later"), "later");
}

TEST_P(poller_input_test, a_listener_has_none) {
    bool found = false;
    EXPECT_EQ(world().has_input(listen().handle, found), -EOPNOTSUPP);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
