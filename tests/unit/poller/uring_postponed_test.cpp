// Requests that wait for an entry of the submission queue: what happens to them while the kernel
// takes nothing. The kernel's part is played by tests/support/supervised_thread.
#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "poller/uring_poller.hpp"
#include "support/supervised_thread.hpp"

namespace coro::detail {
namespace {

using coro_test::asked_call;
using coro_test::run_supervised;
using coro_test::verdict;

/// An operation on one end of a pair of sockets.
struct pending {
    std::array<int, 2> ends{-1, -1};
    detail::handle ours;
    std::array<char, 4> into{};
    std::optional<operation> op;

    void open(poller& on) {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
        if (on.adopt(ends[0], ours) != 0) std::abort();
    }
    void begin(poller& on, opcode code = opcode::receive) {
        op.emplace(code, ours);
        if (code == opcode::receive) {
            op->buffer.data = into.data();
            op->buffer.size = into.size();
        }
        if (on.submit(*op)) std::abort();
    }
    void answer() const {
        if (::send(ends[1], "x", 1, 0) != 1) std::abort();
    }
    void close(poller& on) const {
        on.close(ours);
        ::close(ends[1]);
    }
};

/// The judge sees each io_uring_enter(2): what it submits, and for how many completions it waits.
class uring_postponed : public testing::Test {
protected:
    static std::uint64_t submits(const asked_call& call) { return call.arguments[1]; }
    static std::uint64_t waits_for(const asked_call& call) { return call.arguments[2]; }

    /// False: this machine allows no supervision.
    bool supervised(const std::function<verdict(const asked_call&)>& judge,
                    const poller_options& options,
                    const std::function<void(poller&)>& body) {
        std::string why_not;
        const std::string refused = run_supervised({{SYS_io_uring_enter}}, judge, [&] {
            const std::unique_ptr<poller> made = make_uring_poller(options, why_not);
            if (made != nullptr) body(*made);
        });
        EXPECT_EQ(why_not, "");
        if (!refused.empty()) std::printf("not supervised: %s\n", refused.c_str());
        return refused.empty();
    }
    static void turn(poller& of, time_point deadline = time_point::min()) {
        operation_list completed;
        of.turn_time = of.now();
        of.wait(deadline, completed);
        while (completed.pop() != nullptr) {}
    }
};

/// Two cancels find no room. While the first one is tried again, the completion of the second
/// operation is read. Its cancel must go with it, or it would meet what is at that address next.
TEST_F(uring_postponed, a_cancel_that_waits_goes_when_its_operation_ends) {
    std::atomic<bool> refusing{false};
    poller_options small;
    small.ring_entries = 4;
    std::int32_t first_result = 0, cancelled_result = 0;
    std::uint64_t receives = 0, left = 1;
    const auto judge = [&](const asked_call& call) {
        return refusing.load() && submits(call) != 0 ? verdict::answer(-EBUSY) : verdict::kernel();
    };
    const bool ran = supervised(judge, small, [&](poller& of) {
        std::array<pending, 2> in_kernel;
        std::array<pending, 4> filling;
        for (pending& one : in_kernel) one.open(of);
        for (pending& one : filling) one.open(of);
        for (pending& one : in_kernel) one.begin(of);
        turn(of);
        refusing.store(true);
        for (pending& one : filling) one.begin(of);
        of.cancel(*in_kernel[0].op);
        of.cancel(*in_kernel[1].op);
        in_kernel[1].answer();
        turn(of);  // reads that completion, and has no room for any cancel
        first_result = in_kernel[1].op->result;
        const std::uint64_t before = of.counters.receives;
        refusing.store(false);
        in_kernel[1].op.reset();
        in_kernel[1].begin(of);  // at the same address
        in_kernel[1].answer();
        for (int i = 0; i < 100 && in_kernel[0].op->phase != operation_phase::completed; ++i)
            turn(of);
        for (int i = 0; i < 100 && in_kernel[1].op->phase != operation_phase::completed; ++i)
            turn(of);
        cancelled_result = in_kernel[0].op->result;
        receives = of.counters.receives - before;
        for (pending& one : filling) of.cancel(*one.op);
        for (int i = 0; i < 100 && of.census().operations != 0; ++i) turn(of);
        left = of.census().operations;
        for (const pending& one : in_kernel) one.close(of);
        for (const pending& one : filling) one.close(of);
        turn(of);
    });
    if (!ran) GTEST_SKIP() << "this machine allows no seccomp filter with a listener";
    EXPECT_EQ(first_result, 1);
    EXPECT_EQ(cancelled_result, -ECANCELED);
    EXPECT_EQ(receives, 1u) << "what was postponed for the first one was done for the second";
    EXPECT_EQ(left, 0u);
}

/// A receive lost its buffer to another one and must be made again. The kernel takes nothing just
/// then, so that the poller learns of it in the midst of the call that would have slept.
TEST_F(uring_postponed, nobody_sleeps_while_a_request_waits_to_be_made) {
    std::atomic<int> refusals{0};
    std::atomic<unsigned> sleeps{0};
    poller_options one_buffer;
    one_buffer.lease_buffers = one_buffer.lease_buffers_most = 1;
    one_buffer.leases_on_heap = 4;
    std::uint64_t no_buffers = 0, left = 1;
    std::int32_t result = 0;
    unsigned slept = 0;
    const auto judge = [&](const asked_call& call) {
        if (submits(call) != 0 && refusals.load() > 0) {
            --refusals;
            return verdict::answer(-EBUSY);
        }
        if (waits_for(call) != 0) ++sleeps;
        return verdict::kernel();
    };
    const bool ran = supervised(judge, one_buffer, [&](poller& of) {
        std::array<pending, 3> all;
        for (pending& one : all) one.open(of);
        all[0].begin(of, opcode::receive_leased);
        all[1].begin(of, opcode::receive_leased);
        turn(of);  // both wait in the kernel; none has a buffer
        all[0].answer();
        while (all[0].op->phase != operation_phase::completed) turn(of);  // has the only one
        all[1].answer();
        all[2].begin(of);  // something to submit
        refusals.store(1);
        sleeps.store(0);
        turn(of, saturating_add(of.now(), std::chrono::seconds(2)));
        slept = sleeps.load();
        no_buffers = of.counters.no_buffers;
        for (int i = 0; i < 100 && all[1].op->phase != operation_phase::completed; ++i) turn(of);
        result = all[1].op->result;
        of.cancel(*all[1].op);
        of.cancel(*all[2].op);
        for (int i = 0; i < 100 && of.census().operations != 0; ++i) turn(of);
        left = of.census().operations;
        for (const int i : {0, 1}) {
            const operation& op = *all[static_cast<std::size_t>(i)].op;
            if (op.result > 0) of.return_lease(op.lease_id, op.lease_data, op.lease_from_heap);
        }
        for (const pending& one : all) one.close(of);
        turn(of);
    });
    if (!ran) GTEST_SKIP() << "this machine allows no seccomp filter with a listener";
    EXPECT_EQ(refusals.load(), 0) << "the kernel was not asked";
    EXPECT_EQ(no_buffers, 1u) << "the receive was not refused";
    EXPECT_EQ(slept, 0u) << "it slept over a receive whose bytes are there";
    EXPECT_EQ(result, 1);
    EXPECT_EQ(left, 0u);
}

}  // namespace
}  // namespace coro::detail
