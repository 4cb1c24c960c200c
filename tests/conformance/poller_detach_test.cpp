// A socket moves from one poller of a world to another one, by way of a `detached` that belongs to
// neither.
#include <memory>
#include <string>
#include <utility>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Two pollers of one world, turned by one thread: the fixture's, and `other`.
class poller_detach_test : public poller_fixture {
protected:
    void SetUp() override {
        poller_fixture::SetUp();
        made_ = shared_world().make_poller(
            1, {.strict = insists(GetParam()), .epoll_only = false, .options = {}});
        ASSERT_NE(made_.instance, nullptr) << made_.reason;
    }
    void TearDown() override {
        if (made_.instance != nullptr) {
            for (int turn = 0; turn < 2000 && other().census().sockets > 0; ++turn) look(1ms);
            EXPECT_EQ(other().census().operations, 0u);
            EXPECT_EQ(other().census().sockets, 0u);
            EXPECT_EQ(other().counters.submitted, other().counters.completed);
        }
        made_.instance.reset();
        poller_fixture::TearDown();
    }

    [[nodiscard]] poller& other() { return *made_.instance; }

    /// One wait() of the other poller.
    void look(duration span) {
        operation_list completed;
        other().wait(other().now() + span, completed);
        while (completed.pop() != nullptr) {
        }
    }
    std::int32_t run_there(operation& op) {
        if (!other().submit(op))
            while (op.phase == operation_phase::submitted) look(1ms);
        // What has completed may not have been handed out yet, in a world of one clock.
        while (other().census().operations != 0) look(duration::zero());
        return op.result;
    }
    std::string receive_there(detail::handle from, std::size_t size) {
        std::string all;
        while (all.size() < size) {
            std::array<char, 64> into{};
            operation op(opcode::receive, from);
            op.buffer.data = into.data();
            op.buffer.size = std::min(into.size(), size - all.size());
            const std::int32_t result = run_there(op);
            if (result <= 0) return all + answer(result);
            all.append(into.data(), static_cast<std::size_t>(result));
        }
        return all;
    }
    std::int32_t send_there(detail::handle to, std::string_view text) {
        operation op(opcode::send, to);
        op.buffer.data = const_cast<char*>(text.data());
        op.buffer.size = text.size();
        return run_there(op);
    }

private:
    made_poller made_;
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_detach_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_detach_test, the_pollers_of_a_world_have_its_clock) {
    const time_point before = world().now();
    const time_point of_world = shared_world().now();
    EXPECT_GE(of_world, before);
    EXPECT_GE(other().now(), of_world);
    // A look may return early; it is the time that must pass.
    while (world().now() < of_world + 5ms) look(5ms);
    EXPECT_GE(shared_world().now(), of_world + 5ms);
    EXPECT_EQ(shared_world().is_virtual(), simulated());
    EXPECT_EQ(shared_world().choose(7), 0u) << "nobody has given a seed";
}

TEST_P(poller_detach_test, bytes_from_before_and_after_arrive_at_the_other_poller) {
    const connected_pair pair = connect_pair();
    send_all(pair.client, "before, ");
    detached moving;
    EXPECT_FALSE(moving);
    ASSERT_EQ(world().detach(pair.server, moving), 0);
    EXPECT_TRUE(moving);
    send_all(pair.client, "meanwhile, ");
    detail::handle there;
    ASSERT_EQ(other().attach(std::move(moving), there), 0);
    EXPECT_FALSE(moving) << "the poller owns it now";
    send_all(pair.client, "after");
    EXPECT_EQ(receive_there(there, 24), "before, meanwhile, after");
    EXPECT_EQ(send_there(there, "and back"), 8);
    EXPECT_EQ(receive_exactly(pair.client, 8), "and back");
    other().close(there);
    EXPECT_EQ(receive(pair.client), "<0>");
}

TEST_P(poller_detach_test, the_peer_of_one_that_is_dropped_reads_the_end) {
    const connected_pair pair = connect_pair();
    {
        detached moving;
        ASSERT_EQ(world().detach(pair.server, moving), 0);
        detached moved = std::move(moving);
        EXPECT_FALSE(moving);
        EXPECT_TRUE(moved);
        moving = std::move(moved);
    }
    EXPECT_EQ(receive(pair.client), "<0>");
    // Replacing one is dropping it.
    const connected_pair second = connect_pair();
    const connected_pair third = connect_pair();
    detached kept;
    ASSERT_EQ(world().detach(second.server, kept), 0);
    detached next;
    ASSERT_EQ(world().detach(third.server, next), 0);
    kept = std::move(next);
    EXPECT_EQ(receive(second.client), "<0>");
    kept.drop();
    EXPECT_EQ(receive(third.client), "<0>");
    kept.drop();
}

TEST_P(poller_detach_test, a_detached_socket_is_counted_by_no_poller) {
    const connected_pair pair = connect_pair();
    const std::uint64_t before = world().census().sockets;
    const std::size_t descriptors = open_descriptors();
    detached moving;
    ASSERT_EQ(world().detach(pair.server, moving), 0);
    EXPECT_EQ(world().census().sockets, before - 1);
    EXPECT_EQ(other().census().sockets, 0u);
    EXPECT_EQ(open_descriptors(), descriptors);
    detail::handle there;
    ASSERT_EQ(other().attach(std::move(moving), there), 0);
    EXPECT_EQ(other().census().sockets, 1u);
    EXPECT_EQ(open_descriptors(), descriptors);
    ASSERT_EQ(other().detach(there, moving), 0);
    moving.drop();
    EXPECT_EQ(other().census().sockets, 0u);
    EXPECT_EQ(open_descriptors(), descriptors - (simulated() ? 0 : 1));
}

TEST_P(poller_detach_test, what_belongs_to_the_connection_goes_along) {
    const connected_pair pair = connect_pair();
    *world().notes(pair.server) = {.broken = 1, .reset_failed = true, .idle = 7s};
    socket_address peer_before;
    ASSERT_EQ(world().remote_address(pair.server, peer_before), 0);
    detached moving;
    ASSERT_EQ(world().detach(pair.server, moving), 0);
    detail::handle there;
    ASSERT_EQ(other().attach(std::move(moving), there), 0);
    socket_address peer_after;
    ASSERT_EQ(other().remote_address(there, peer_after), 0);
    EXPECT_EQ(text_of(peer_after), text_of(peer_before));
    const socket_notes* notes = other().notes(there);
    ASSERT_NE(notes, nullptr);
    EXPECT_EQ(notes->broken, 1u);
    EXPECT_EQ(notes->idle, 7s);
    EXPECT_TRUE(notes->reset_failed);
    other().close(there);
}

TEST_P(poller_detach_test, a_listener_moves_with_its_queue) {
    const listener_socket listener = listen();
    const detail::handle client = open();
    ASSERT_EQ(connect(client, listener.address), 0);
    detached moving;
    ASSERT_EQ(world().detach(listener.handle, moving), 0);
    detail::handle there;
    ASSERT_EQ(other().attach(std::move(moving), there), 0);
    operation accepting(opcode::accept, there);
    ASSERT_EQ(run_there(accepting), 0);
    EXPECT_EQ(send_there(accepting.accepted, "hello"), 5);
    EXPECT_EQ(receive_exactly(client, 5), "hello");
    other().close(accepting.accepted);
    other().close(there);
}

TEST_P(poller_detach_test, one_that_is_waited_on_stays) {
    const connected_pair pair = connect_pair();
    std::array<char, 8> into{};
    operation waiting(opcode::receive, pair.server);
    waiting.buffer.data = into.data();
    waiting.buffer.size = into.size();
    ASSERT_FALSE(submit(waiting));
    detached moving;
    EXPECT_EQ(world().detach(pair.server, moving), -EBUSY);
    EXPECT_FALSE(moving);
    world().cancel(waiting);
    finish(waiting);
    EXPECT_EQ(world().detach(pair.server, moving), 0);
    EXPECT_EQ(world().detach(pair.server, moving), result_closed) << "its handle is stale";
    EXPECT_TRUE(moving);
}

TEST_P(poller_detach_test, a_linger_time_holds_nobody_who_drops) {
    const connected_pair pair = narrow_pair();
    ASSERT_EQ(world().set_option(pair.server, socket_option::linger, 100), 0);
    operation sending(opcode::send, pair.server);
    std::vector<std::byte> buffer;
    fill(sending, buffer);
    world().cancel(sending);
    finish(sending);
    detached moving;
    ASSERT_EQ(world().detach(pair.server, moving), 0);
    detail::handle there;
    ASSERT_EQ(other().attach(std::move(moving), there), 0);
    ASSERT_EQ(other().detach(there, moving), 0);
    // A close that lingers waits for the peer to read, for 100 s: the test would not end.
    moving.drop();
    std::int32_t end = -1;
    drain_pattern(pair.client, 1 << 22, end);
    EXPECT_EQ(end, 0);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
