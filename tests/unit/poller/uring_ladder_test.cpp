// Each rung of io_uring's set-up, taken away by itself: kernels without a flag, a feature or an
// operation, and every call of the set-up refused. The poller goes without, or says why there is
// none and leaves nothing behind. The kernel's part is played by tests/support/supervised_thread.
#include <gtest/gtest.h>

#include <dirent.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
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
using coro_test::watched_call;

constexpr std::uint32_t every_feature = (uring_wait_argument << 1) - 1;
constexpr std::uint32_t ring_map_flags = MAP_SHARED | MAP_POPULATE;
constexpr int probed_operations = 256;

std::size_t open_descriptors() {
    DIR* const all = ::opendir("/proc/self/fd");
    std::size_t count = 0;
    while (::readdir(all) != nullptr) ++count;
    ::closedir(all);
    return count;
}

/// What became of a poller that was made under supervision.
struct made_under {
    bool made = false;
    std::uint32_t features = 0;
    std::string why_not;
    std::string echoed;
    int asked = 0;  ///< watched calls
};

/// Sends through `of` and receives on the other end, and back.
std::string echo_through(poller& of) {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) return "no pair";
    detail::handle ours;
    if (of.adopt(ends[0], ours) != 0) return "not adopted";
    std::string text = "through";
    std::array<char, 16> into{};
    operation sending(opcode::send, ours);
    sending.buffer.data = text.data();
    sending.buffer.size = text.size();
    operation receiving(opcode::receive, ours);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    const auto finish = [&of](operation& op) {
        while (op.phase == operation_phase::submitted) {
            operation_list completed;
            of.wait(never, completed);
            while (completed.pop() != nullptr) {}
        }
    };
    [[maybe_unused]] const bool at_once = of.submit(receiving);
    if (!of.submit(sending)) finish(sending);
    std::array<char, 16> theirs{};
    const ssize_t n = ::recv(ends[1], theirs.data(), theirs.size(), 0);
    if (n > 0) [[maybe_unused]] const ssize_t back = ::send(ends[1], theirs.data(), text.size(), 0);
    finish(receiving);
    of.close(ours);
    ::close(ends[1]);
    return receiving.result > 0
               ? std::string(into.data(), static_cast<std::size_t>(receiving.result))
               : "<" + std::to_string(receiving.result) + ">";
}

class uring_ladder : public testing::Test {
protected:
    using judge = std::function<verdict(const asked_call&)>;

    /// Makes a poller, uses it, and takes it down; nothing may be left. Skips where the machine
    /// allows no supervision.
    made_under make(const std::vector<watched_call>& watched, const judge& by,
                    const poller_options& options = {}) {
        made_under seen;
        const std::size_t before = open_descriptors();
        const auto counting = [&](const asked_call& call) {
            ++seen.asked;
            return by(call);
        };
        const std::string refused = run_supervised(watched, counting, [&] {
            std::unique_ptr<poller> made = make_uring_poller(options, seen.why_not);
            seen.made = made != nullptr;
            if (made == nullptr) return;
            seen.features = static_cast<uring_poller&>(*made).features();
            seen.echoed = echo_through(*made);
        });
        if (!refused.empty()) std::printf("not supervised: %s\n", refused.c_str());
        supervised_ = refused.empty();
        EXPECT_EQ(open_descriptors(), before) << "descriptors leaked";
        return seen;
    }

    /// `without` is all that may be missing; the rest works.
    void expect_works(const made_under& seen, std::uint32_t without, const std::string& what) {
        if (!supervised_) return;
        EXPECT_TRUE(seen.made) << what << ": " << seen.why_not;
        EXPECT_EQ(every_feature & ~seen.features & ~not_of_this_kernel(), without) << what;
        EXPECT_EQ(seen.echoed, "through") << what;
    }
    void expect_refused(const made_under& seen, const std::string& sentence) {
        if (!supervised_) return;
        EXPECT_FALSE(seen.made) << sentence;
        EXPECT_NE(seen.why_not.find(sentence), std::string::npos) << seen.why_not;
        EXPECT_GT(seen.asked, 0) << sentence << ": the call was never made";
    }

    /// What the kernel that runs the tests lacks itself.
    static std::uint32_t not_of_this_kernel() {
        static const std::uint32_t lacks = [] {
            std::string why_not;
            const std::unique_ptr<poller> made = make_uring_poller({}, why_not);
            return made == nullptr ? 0u
                                   : every_feature & ~static_cast<uring_poller&>(*made).features();
        }();
        return lacks;
    }

    bool supervised_ = false;
};

#define CORO_SKIP_UNLESS_SUPERVISED() \
    if (!supervised_) GTEST_SKIP() << "this machine allows no seccomp filter with a listener"

io_uring_params& params_of(const asked_call& setup) {
    return *reinterpret_cast<io_uring_params*>(setup.arguments[1]);
}

// --- io_uring_setup: flags

/// A kernel that answers EINVAL to any flag of `unknown`.
__attribute__((no_sanitize("thread"))) verdict without_flags(const asked_call& setup,
                                                             std::uint32_t unknown) {
    return (params_of(setup).flags & unknown) != 0 ? verdict::answer(-EINVAL) : verdict::kernel();
}

struct flag_row {
    const char* kernel;
    std::uint32_t unknown;   ///< flags of io_uring_setup(2)
    std::uint32_t without;   ///< features that the poller then goes without
};

TEST_F(uring_ladder, flags_that_a_kernel_does_not_know_are_taken_away_the_youngest_first) {
    constexpr std::uint32_t no_sqarray = 1u << 16;
    constexpr std::uint32_t any = no_sqarray | IORING_SETUP_DEFER_TASKRUN |
                                  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN |
                                  IORING_SETUP_TASKRUN_FLAG | IORING_SETUP_SUBMIT_ALL;
    constexpr std::uint32_t to_defer = uring_no_sqarray | uring_defer_taskrun;
    constexpr std::uint32_t to_issuer = to_defer | uring_single_issuer;
    constexpr std::uint32_t to_coop = to_issuer | uring_coop_taskrun;
    constexpr std::array rows{
        flag_row{"all flags known", 0, 0},
        flag_row{"before 6.6", no_sqarray, uring_no_sqarray},
        flag_row{"before 6.1", no_sqarray | IORING_SETUP_DEFER_TASKRUN, to_defer},
        flag_row{"before 6.0", any & ~(IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG |
                                       IORING_SETUP_SUBMIT_ALL), to_issuer},
        flag_row{"before 5.19", any & ~IORING_SETUP_SUBMIT_ALL, to_coop},
        flag_row{"before 5.18", any, to_coop | uring_submit_all},
    };
    for (const flag_row& row : rows) {
        const made_under seen = make({{SYS_io_uring_setup}}, [&](const asked_call& call) {
            return without_flags(call, row.unknown);
        });
        expect_works(seen, row.without, row.kernel);
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

TEST_F(uring_ladder, an_invalid_argument_at_the_last_rung_is_the_reason) {
    const made_under seen = make({{SYS_io_uring_setup}},
                                 [](const asked_call&) { return verdict::answer(-EINVAL); });
    expect_refused(seen, "io_uring_setup(2) answered Invalid argument");
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_EQ(seen.asked, 6) << "each of the five flags is taken away once";
}

TEST_F(uring_ladder, any_other_errno_is_the_reason) {
    for (const int error : {EPERM, ENOSYS, EOPNOTSUPP, ENOMEM, EMFILE, ENFILE, EACCES, EBUSY}) {
        const made_under seen =
            make({{SYS_io_uring_setup}},
                 [&](const asked_call&) { return verdict::answer(-error); });
        expect_refused(seen, std::string("io_uring_setup(2) answered ") + std::strerror(error));
        if (!supervised_) continue;
        // Memory of rings is waited for, and then smaller ones are tried: 512 down to 32.
        EXPECT_EQ(seen.asked, error == ENOMEM ? 1 + 7 + 4 : 1);
        EXPECT_EQ(seen.why_not.find("ulimit -l") != std::string::npos, error == ENOMEM);
        EXPECT_EQ(seen.why_not.find("seccomp") != std::string::npos,
                  error == EPERM || error == ENOSYS || error == EOPNOTSUPP);
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

// --- io_uring_setup: what the kernel says that it can

/// Makes the ring in the subject's place, with features taken away. SINGLE_ISSUER must be off, or
/// the ring would belong to this thread.
__attribute__((no_sanitize("thread"))) verdict set_up_without(const asked_call& setup,
                                                              std::uint32_t features) {
    const long ring = ::syscall(SYS_io_uring_setup, setup.arguments[0], setup.arguments[1]);
    if (ring < 0) return verdict::answer(-errno);
    params_of(setup).features &= ~features;
    return verdict::answer(ring);
}

poller_options not_of_one_issuer() {
    poller_options options;
    options.disabled_features = uring_single_issuer;
    return options;
}
constexpr std::uint32_t of_one_issuer = uring_single_issuer | uring_defer_taskrun;

TEST_F(uring_ladder, a_kernel_without_what_is_needed_is_called_too_old) {
    for (const std::uint32_t needed : {IORING_FEAT_SINGLE_MMAP, IORING_FEAT_NODROP,
                                       IORING_FEAT_SUBMIT_STABLE, IORING_FEAT_FAST_POLL}) {
        const made_under seen =
            make({{SYS_io_uring_setup}},
                 [&](const asked_call& call) { return set_up_without(call, needed); },
                 not_of_one_issuer());
        expect_refused(seen, "older than Linux 5.7");
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

TEST_F(uring_ladder, features_that_can_be_missed_are_missed) {
    constexpr std::uint32_t no_iowait = 1u << 17;
    for (const auto& [missing, without] :
         {std::pair<std::uint32_t, std::uint32_t>{IORING_FEAT_EXT_ARG, uring_wait_argument},
          std::pair<std::uint32_t, std::uint32_t>{no_iowait, uring_no_iowait}}) {
        const made_under seen =
            make({{SYS_io_uring_setup}},
                 [&, gone = missing](const asked_call& call) {
                     return set_up_without(call, gone);
                 },
                 not_of_one_issuer());
        expect_works(seen, (without & ~not_of_this_kernel()) | of_one_issuer,
                     "feature " + std::to_string(missing));
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

// --- memory and descriptors

TEST_F(uring_ladder, memory_that_cannot_be_mapped_is_the_reason) {
    struct refused_call {
        watched_call call;
        const char* what;
    };
    const std::array<refused_call, 3> maps{
        // The queues: the first of two with these flags.
        refused_call{{SYS_mmap, 3, ring_map_flags}, "mapping the io_uring"},
        refused_call{{SYS_mmap, 5, static_cast<std::uint32_t>(IORING_OFF_SQES)},
                     "mapping the io_uring"},
        refused_call{{SYS_madvise, 2, MADV_WIPEONFORK}, "marking a page for fork(2)"},
    };
    for (const refused_call& each : maps) {
        const made_under seen =
            make({each.call}, [](const asked_call&) { return verdict::answer(-ENOMEM); });
        expect_refused(seen, std::string(each.what) + " answered Cannot allocate memory");
        EXPECT_EQ(seen.asked, supervised_ ? 1 : 0);
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

TEST_F(uring_ladder, without_a_descriptor_for_the_wake_up_there_is_a_reason) {
    const made_under seen =
        make({{SYS_eventfd2}}, [](const asked_call&) { return verdict::answer(-EMFILE); });
    expect_refused(seen, "eventfd(2) gave no descriptor");
    CORO_SKIP_UNLESS_SUPERVISED();
}

// --- io_uring_register

/// io_uring_register(2) with this opcode.
watched_call registering(std::uint32_t what) { return {SYS_io_uring_register, 1, what}; }

TEST_F(uring_ladder, without_a_list_of_operations_there_is_a_reason) {
    for (const int error : {EINVAL, EPERM, ENOMEM}) {
        const made_under seen = make({registering(IORING_REGISTER_PROBE)},
                                     [&](const asked_call&) { return verdict::answer(-error); });
        expect_refused(seen, "answered no list of its operations");
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

/// The kernel's list of operations, without `missing`.
__attribute__((no_sanitize("thread"))) verdict probe_without(const asked_call& call,
                                                             unsigned missing) {
    const long answer = ::syscall(SYS_io_uring_register, call.arguments[0], call.arguments[1],
                                  call.arguments[2], call.arguments[3]);
    if (answer < 0) return verdict::answer(-errno);
    auto* const ops = reinterpret_cast<io_uring_probe_op*>(call.arguments[2] +
                                                           sizeof(io_uring_probe));
    static_assert(IORING_OP_LAST < probed_operations);
    ops[missing].flags = 0;
    return verdict::answer(answer);
}

TEST_F(uring_ladder, an_operation_that_is_missing_is_the_reason_or_is_missed) {
    for (const unsigned needed : {IORING_OP_NOP, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_RECVMSG,
                                  IORING_OP_SENDMSG, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                                  IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD, IORING_OP_TIMEOUT,
                                  IORING_OP_TIMEOUT_REMOVE}) {
        const made_under seen =
            make({registering(IORING_REGISTER_PROBE)},
                 [&](const asked_call& call) { return probe_without(call, needed); },
                 not_of_one_issuer());
        expect_refused(seen, "lacks an operation");
    }
    const made_under seen = make(
        {registering(IORING_REGISTER_PROBE)},
        [](const asked_call& call) { return probe_without(call, IORING_OP_SOCKET); },
        not_of_one_issuer());
    expect_works(seen, uring_buffer_ring | of_one_issuer,
                 "before 5.19, by IORING_OP_SOCKET");
    CORO_SKIP_UNLESS_SUPERVISED();
}

TEST_F(uring_ladder, refused_registrations_are_missed) {
    for (const int error : {EINVAL, ENOMEM, EPERM, EBUSY}) {
        const verdict no = verdict::answer(-error);
        expect_works(make({registering(IORING_REGISTER_RING_FDS)},
                          [&](const asked_call&) { return no; }),
                     uring_registered_ring, "ring descriptor");
        expect_works(make({registering(IORING_REGISTER_PBUF_RING)},
                          [&](const asked_call&) { return no; }),
                     uring_buffer_ring, "buffer ring");
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

// --- io_uring_enter

TEST_F(uring_ladder, a_first_request_that_does_not_come_back_is_the_reason) {
    for (const int error : {EPERM, ENOSYS, EINVAL, EBADF, EINTR}) {
        const made_under seen = make({{SYS_io_uring_enter}}, [&](const asked_call&) {
            return verdict::answer(-error);
        });
        expect_refused(seen, "the first request did not come back");
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

TEST_F(uring_ladder, interruptions_of_the_first_request_are_outlived) {
    int interruptions = 3;
    const made_under seen = make({{SYS_io_uring_enter}}, [&](const asked_call&) {
        return interruptions-- > 0 ? verdict::answer(-EINTR) : verdict::kernel();
    });
    expect_works(seen, 0, "three interruptions");
    CORO_SKIP_UNLESS_SUPERVISED();
}

/// In use, every third call is answered with what io_uring_enter(2) says may pass.
TEST_F(uring_ladder, a_kernel_that_is_short_of_everything_loses_nothing) {
    for (const int error : {EINTR, EAGAIN, EBUSY, ENOMEM, ETIME}) {
        int calls = 0;
        const made_under seen = make({{SYS_io_uring_enter}}, [&](const asked_call&) {
            ++calls;
            return calls % 3 == 0 ? verdict::answer(-error) : verdict::kernel();
        });
        expect_works(seen, 0, std::strerror(error));
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

/// A receive on one end of a pair of sockets.
struct pending_receive {
    std::array<int, 2> ends{-1, -1};
    detail::handle ours;
    std::array<char, 4> into{};
    std::optional<operation> op;

    void begin(poller& on) {
        if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) std::abort();
        if (on.adopt(ends[0], ours) != 0) std::abort();
        op.emplace(opcode::receive, ours);
        op->buffer.data = into.data();
        op->buffer.size = into.size();
        if (on.submit(*op)) std::abort();
    }
    void answer() const {
        if (::send(ends[1], "x", 1, 0) != 1) std::abort();
    }
};

/// A cancel finds the submission queue full, and the kernel takes nothing: making room for it reads
/// the completions of two others and of the very operation that is cancelled. None may be lost.
TEST_F(uring_ladder, completions_that_are_read_while_room_is_made_are_all_handed_out) {
    for (const int error : {EBUSY, EAGAIN, ENOMEM}) {
        std::atomic<bool> refusing{false};
        std::array<std::int32_t, 3> results{};
        std::size_t left = 1;
        std::string why_not;
        const auto refuse = [&](const asked_call& call) {
            const bool submits = call.arguments[1] != 0;
            return refusing.load() && submits ? verdict::answer(-error) : verdict::kernel();
        };
        const std::string refused = run_supervised({{SYS_io_uring_enter}}, refuse, [&] {
            poller_options small;
            small.ring_entries = 4;
            std::unique_ptr<poller> of = make_uring_poller(small, why_not);
            if (of == nullptr) return;
            const auto turn = [&of] {
                operation_list completed;
                of->turn_time = of->now();
                of->wait(time_point::min(), completed);
                while (completed.pop() != nullptr) {}
            };
            std::array<pending_receive, 3> first;  // which the kernel has
            for (pending_receive& one : first) one.begin(*of);
            turn();
            refusing.store(true);
            std::array<pending_receive, 4> filling;  // which stay in the queue
            for (pending_receive& one : filling) one.begin(*of);
            for (const pending_receive& one : first) one.answer();
            of->cancel(*first[0].op);
            refusing.store(false);
            for (pending_receive& one : filling) of->cancel(*one.op);
            for (int i = 0; i < 100 && of->census().operations != 0; ++i) turn();
            left = of->census().operations;
            for (std::size_t i = 0; i < 3; ++i) results[i] = first[i].op->result;
            for (pending_receive& one : first) of->close(one.ours);
            for (pending_receive& one : filling) of->close(one.ours);
            turn();
            for (const pending_receive& one : first) ::close(one.ends[1]);
            for (const pending_receive& one : filling) ::close(one.ends[1]);
        });
        supervised_ = refused.empty();
        if (!supervised_) break;
        EXPECT_EQ(left, 0u) << std::strerror(error) << why_not << ": a completion was lost";
        EXPECT_EQ(results, (std::array<std::int32_t, 3>{1, 1, 1})) << std::strerror(error);
    }
    CORO_SKIP_UNLESS_SUPERVISED();
}

}  // namespace
}  // namespace coro::detail
