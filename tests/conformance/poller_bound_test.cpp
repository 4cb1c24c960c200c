// What one request moves at most, in every world: single and vectored, sends and receives.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "poller_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

constexpr std::size_t most = 256 * 1024;
constexpr std::size_t block = 4 * 1024 * 1024;   ///< asked for at once
constexpr std::size_t total = 32 * 1024 * 1024;  ///< moved in each test

class poller_bound_test : public poller_fixture {
protected:
    /// The byte at a place of the stream is that of `bytes_` at the same place modulo its size.
    struct flow {
        flow(opcode what, detail::handle on, std::vector<std::byte>& memory)
            : op(what, on), bytes(memory) {}

        /// Asks for all up to the end of the block; vectored in three unlike parts.
        void prepare() {
            const std::size_t from = moved % block;
            const std::size_t size = block - from;
            if (op.code == opcode::send || op.code == opcode::receive) {
                op.buffer = {bytes.data() + from, size};
                return;
            }
            const std::size_t first = std::min<std::size_t>(size, 3);
            const std::size_t second = std::min<std::size_t>(size - first, 100'000);
            slices = {io_slice{bytes.data() + from, first},
                      io_slice{bytes.data() + from + first, second},
                      io_slice{bytes.data() + from + first + second, size - first - second}};
            before = slices;
            op.slices = {slices.data(), slices.size()};
        }
        /// Takes the answer in.
        void note() {
            busy = false;
            ASSERT_GT(op.result, 0);
            const auto part = static_cast<std::size_t>(op.result);
            EXPECT_LE(part, most) << "one request moved more";
            largest = std::max(largest, part);
            moved += part;
            for (std::size_t i = 0; i < slices.size(); ++i)
                EXPECT_EQ(slices[i].size, before[i].size) << "slice " << i << " was not restored";
        }

        operation op;
        std::vector<std::byte>& bytes;
        std::array<io_slice, 3> slices{};
        std::array<io_slice, 3> before{};
        std::size_t moved = 0;
        std::size_t largest = 0;
        bool busy = false;  ///< submitted, and the answer was not taken in
    };

    connected_pair wide_pair() {
        const connected_pair pair = connect_pair();
        // The kernel widens its buffers by itself; a simulation is told.
        if (!simulated()) return pair;
        EXPECT_EQ(world().set_option(pair.client, socket_option::send_buffer, int{block}), 0);
        EXPECT_EQ(world().set_option(pair.server, socket_option::receive_buffer, int{block}), 0);
        return pair;
    }

    void begin(flow& which) {
        which.prepare();
        which.busy = true;
        static_cast<void>(submit(which.op));
    }
    /// Takes in what has been answered, and asks for more.
    void go_on(flow& which) {
        if (which.busy && which.op.phase == operation_phase::completed) which.note();
        if (!which.busy && which.moved < total) begin(which);
    }
    /// Sends until one send stays pending, so that much waits for the receiver.
    void fill(flow& sender) {
        for (go_on(sender); sender.busy; go_on(sender)) {
            if (sender.op.phase == operation_phase::submitted) settle(2ms);
            if (sender.op.phase == operation_phase::submitted) return;
        }
    }

    void move_all(opcode sending, opcode receiving) {
        const connected_pair pair = wide_pair();
        std::vector<std::byte> source = pattern_bytes(0, block);
        std::vector<std::byte> into(block);
        flow sender(sending, pair.client, source);
        flow receiver(receiving, pair.server, into);
        while (receiver.moved < total) {
            fill(sender);
            // Several in a row: the kernel widens the buffer of who reads much.
            for (int reads = 0; reads < 16 && receiver.moved < total; ++reads) {
                const std::size_t at = receiver.moved % block;
                begin(receiver);
                finish(receiver.op);
                receiver.note();
                ASSERT_GT(receiver.op.result, 0);
                EXPECT_EQ(std::memcmp(into.data() + at, source.data() + at,
                                      static_cast<std::size_t>(receiver.op.result)),
                          0)
                    << "before byte " << receiver.moved;
                go_on(sender);
            }
        }
        go_on(sender);
        EXPECT_EQ(sender.moved, total);
        if (!simulated()) return;
        EXPECT_EQ(sender.largest, most);
        EXPECT_EQ(receiver.largest, most);
    }
};
INSTANTIATE_TEST_SUITE_P(worlds, poller_bound_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_bound_test, one_request_moves_at_most_256_kib) {
    move_all(opcode::send, opcode::receive);
}

TEST_P(poller_bound_test, a_vectored_one_moves_no_more_and_gives_its_slices_back) {
    move_all(opcode::send_vectored, opcode::receive_vectored);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
