// Long transfers and many connections: every byte arrives once, in order, at the right place.
#include <deque>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

constexpr std::size_t megabyte = 1 << 20;

/// One direction of a transfer that goes on by short sends and short receives.
struct transfer {
    transfer(detail::handle from, detail::handle to, bool in_slices, std::size_t chunk_bytes)
        : vectored(in_slices),
          chunk(chunk_bytes),
          source(pattern_bytes(0, megabyte)),
          sending(in_slices ? opcode::send_vectored : opcode::send, from),
          receiving(in_slices ? opcode::receive_vectored : opcode::receive, to) {
        target.resize(chunk);
    }

    bool vectored;
    std::size_t chunk;
    std::vector<std::byte> source;
    std::vector<std::byte> target;
    std::array<io_slice, 3> out{};
    std::array<io_slice, 3> in{};
    operation sending;
    operation receiving;
    std::size_t sent = 0;
    std::size_t received = 0;
};

class poller_stream_test : public poller_fixture {
protected:
    /// Cuts a buffer into three uneven slices.
    static void slice(std::array<io_slice, 3>& slices, std::byte* data, std::size_t size) {
        const std::size_t third = size / 3;
        const std::size_t tenth = size / 10;
        slices = {{{data, tenth}, {data + tenth, third}, {data + tenth + third,
                                                          size - tenth - third}}};
    }

    static void aim(const transfer& run, operation& op, std::array<io_slice, 3>& slices,
                    std::byte* data, std::size_t size) {
        slice(slices, data, size);
        if (run.vectored) op.slices = {slices.data(), slices.size()};
        else op.buffer = {data, size};
    }

    /// Takes the result of what has completed and submits what comes next, as long as there is
    /// something to do at once.
    void push(transfer& run) {
        while (run.sent < megabyte && run.sending.phase != operation_phase::submitted) {
            if (run.sending.phase == operation_phase::completed) {
                ASSERT_GT(run.sending.result, 0);
                run.sent += static_cast<std::size_t>(run.sending.result);
                run.sending.phase = operation_phase::idle;
                continue;
            }
            const std::size_t size = std::min(run.chunk * 4, megabyte - run.sent);
            aim(run, run.sending, run.out, run.source.data() + run.sent, size);
            submit(run.sending);
        }
        while (run.received < megabyte && run.receiving.phase != operation_phase::submitted) {
            if (run.receiving.phase == operation_phase::completed) {
                ASSERT_GT(run.receiving.result, 0);
                const auto part = static_cast<std::size_t>(run.receiving.result);
                ASSERT_EQ(first_difference(run.target.data(), part, run.received), part);
                run.received += part;
                run.receiving.phase = operation_phase::idle;
                continue;
            }
            aim(run, run.receiving, run.in, run.target.data(), run.target.size());
            submit(run.receiving);
        }
    }

    void run_all(std::initializer_list<transfer*> transfers) {
        const auto done = [&] {
            bool all = true;
            for (transfer* run : transfers) {
                push(*run);
                all = all && run->received == megabyte && run->sent == megabyte;
            }
            return all || HasFatalFailure();
        };
        until("a megabyte has passed", done);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_stream_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_stream_test, megabyte_through_small_buffers) {
    const connected_pair pair = narrow_pair();
    transfer run(pair.client, pair.server, false, 4096);
    run_all({&run});
}

TEST_P(poller_stream_test, megabyte_in_slices_through_small_buffers) {
    const connected_pair pair = narrow_pair();
    transfer run(pair.client, pair.server, true, 5000);
    run_all({&run});
}

TEST_P(poller_stream_test, megabyte_both_ways_at_once) {
    const connected_pair pair = connect_pair();
    transfer there(pair.client, pair.server, false, 20000);
    transfer back(pair.server, pair.client, true, 3000);
    run_all({&there, &back});
}

TEST_P(poller_stream_test, byte_by_byte) {
    const connected_pair pair = connect_pair();
    for (std::size_t i = 0; i < 500; ++i) {
        const auto letter = static_cast<char>('a' + i % 26);
        send_all(pair.client, {&letter, 1});
        ASSERT_EQ(receive(pair.server, 1), std::string(1, letter));
    }
}

TEST_P(poller_stream_test, sends_and_receives_of_uneven_sizes_interleave) {
    const connected_pair pair = connect_pair();
    std::size_t sent = 0;
    std::size_t received = 0;
    for (std::size_t i = 0; i < 60; ++i) {
        std::vector<std::byte> out = pattern_bytes(sent, 300 + i * i * 3);
        operation sending(opcode::send, pair.client);
        sending.buffer.data = out.data();
        sending.buffer.size = out.size();
        ASSERT_GT(run(sending), 0);
        sent += static_cast<std::size_t>(sending.result);
        // Always less than there is, so that old and new bytes are in the socket together.
        while (sent - received > 1000) {
            std::vector<std::byte> into(std::min<std::size_t>(sent - received - 500, 7000));
            operation receiving(opcode::receive, pair.server);
            receiving.buffer.data = into.data();
            receiving.buffer.size = into.size();
            ASSERT_GT(run(receiving), 0);
            const auto part = static_cast<std::size_t>(receiving.result);
            ASSERT_EQ(first_difference(into.data(), part, received), part);
            received += part;
        }
    }
    while (received < sent) received = drain_more(pair.server, received);
}

TEST_P(poller_stream_test, pending_send_goes_on_when_the_peer_reads) {
    const connected_pair pair = narrow_pair();
    std::vector<std::byte> buffer;
    operation sending(opcode::send, pair.client);
    const std::size_t before = fill(sending, buffer);
    std::size_t got = 0;
    while (sending.phase == operation_phase::submitted) {
        got = drain_more(pair.server, got);
        collect_now();
    }
    ASSERT_GT(sending.result, 0);
    const std::size_t sent = before + static_cast<std::size_t>(sending.result);
    while (got < sent) got = drain_more(pair.server, got);
    EXPECT_EQ(got, sent);
}

/// Each connection carries its own number in every byte: a byte at the wrong place shows.
TEST_P(poller_stream_test, two_hundred_connections_at_once) {
    constexpr std::size_t many = 200;
    const listener_socket listener = listen();
    std::deque<operation> connecting;
    std::vector<detail::handle> servers;
    socket_address where = listener.address;
    for (std::size_t i = 0; i < many; ++i) {
        operation& op = connecting.emplace_back(opcode::connect, open());
        op.where = &where;
        submit(op);
    }
    while (servers.size() < many) servers.push_back(accept(listener));
    for (operation& op : connecting) {
        finish(op);
        ASSERT_EQ(op.result, 0);
    }

    std::deque<operation> receiving;
    std::vector<std::array<char, 64>> into(many);
    for (std::size_t i = 0; i < many; ++i) {
        operation& op = receiving.emplace_back(opcode::receive, servers[i]);
        op.buffer.data = into[i].data();
        op.buffer.size = into[i].size();
        submit(op);
    }
    for (std::size_t i = 0; i < many; ++i) {
        socket_address own;
        ASSERT_EQ(world().local_address(connecting[i].target, own), 0);
        send_all(connecting[i].target, std::string(8, static_cast<char>(port_of(own) & 0x7f)));
    }
    for (std::size_t i = 0; i < many; ++i) {
        finish(receiving[i]);
        ASSERT_EQ(receiving[i].result, 8);
        socket_address peer;
        ASSERT_EQ(world().remote_address(servers[i], peer), 0);
        const auto expected = static_cast<char>(port_of(peer) & 0x7f);
        EXPECT_EQ(std::string(into[i].data(), 8), std::string(8, expected));
    }
}

TEST_P(poller_stream_test, one_firehose_does_not_stop_the_others) {
    const listener_socket listener = listen();
    const connected_pair loud = connect_pair(listener);
    const connected_pair quiet = connect_pair(listener);
    transfer run(loud.client, loud.server, false, 65536);
    for (int i = 0; i < 50; ++i) {
        push(run);
        EXPECT_EQ(receive_after(quiet, "ping"), "ping");
    }
    run_all({&run});
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
