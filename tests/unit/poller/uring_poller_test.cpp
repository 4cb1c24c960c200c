// What is special to io_uring: features that are missing, rings that are full, system calls that
// are counted. What all pollers have in common is in tests/conformance.
#include "unit/poller/uring_poller_fixture.hpp"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <thread>

namespace coro::detail::uring_tests {
namespace {

class uring_special : public uring_fixture {};

// --- features, each missing by itself

class uring_without : public uring_fixture, public testing::WithParamInterface<std::uint32_t> {
protected:
    void SetUp() override { make_without(GetParam()); }
};

TEST_P(uring_without, feature_is_not_in_use) {
    EXPECT_EQ(uring().features() & GetParam(), 0u);
}

TEST_P(uring_without, bytes_connections_and_leases_go_through) {
    const listening_end listener = listen();
    for (int round = 0; round < 3; ++round) {
        const int client = client_of(listener);
        ASSERT_EQ(accept(listener), 0);
        const detail::handle server = ours_.back();
        write(client, "question");
        EXPECT_EQ(receive(server), "question");
        EXPECT_EQ(send(server, "answer"), 6);
        EXPECT_EQ(read(client), "answer");

        operation leased(opcode::receive_leased, server);
        leased.most = 100;
        ASSERT_FALSE(poller_->submit(leased));
        turn_now();
        EXPECT_EQ(leased.phase, operation_phase::submitted);
        write(client, "lease");
        complete(leased);
        EXPECT_EQ(text_of(leased), "lease");
        EXPECT_FALSE(leased.lease_from_heap);
        give_back(leased);
    }
}

TEST_P(uring_without, vectored_transfers_go_through) {
    const pair_of_ends ends = local_pair();
    std::string first = "ab";
    std::string second = "cde";
    std::array<io_slice, 2> slices{io_slice{first.data(), 2}, io_slice{second.data(), 3}};
    operation sending(opcode::send_vectored, ends.ours);
    sending.slices.first = slices.data();
    sending.slices.count = slices.size();
    EXPECT_EQ(run(sending), 5);
    EXPECT_EQ(read(ends.theirs), "abcde");
    write(ends.theirs, "12345");
    operation receiving(opcode::receive_vectored, ends.ours);
    receiving.slices.first = slices.data();
    receiving.slices.count = slices.size();
    EXPECT_EQ(run(receiving), 5);
    EXPECT_EQ(first + second, "12345");
}

TEST_P(uring_without, deadlines_are_kept) {
    // Earlier, later and earlier than the one before: a timeout request must be replaced. The far
    // one turns a deadline that is slept over into a hang.
    for (const int span : {4, 2, 6, 1}) {
        poller_->wake();
        turn(poller_->now() + std::chrono::hours(1));
        const time_point deadline = poller_->now() + milliseconds(span);
        while (poller_->now() < deadline) turn(deadline);
    }
    turn(time_point::min());
}

TEST_P(uring_without, wake_ends_a_wait_without_end) {
    for (int round = 0; round < 3; ++round) {
        poller_->wake();
        turn(never);
    }
    std::thread waker([this] { poller_->wake(); });
    turn(never);
    waker.join();
}

TEST_P(uring_without, cancelled_operations_end) {
    const pair_of_ends ends = local_pair();
    char into = 0;
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(poller_->submit(receiving));
    turn_now();
    poller_->cancel(receiving);
    complete(receiving);
    EXPECT_EQ(receiving.result, -ECANCELED);

    const listening_end listener = listen();
    operation accepting(opcode::accept, listener.ours);
    ASSERT_FALSE(poller_->submit(accepting));
    turn_now();
    poller_->cancel(accepting);
    complete(accepting);
    EXPECT_EQ(accepting.result, -ECANCELED);
    client_of(listener);
    EXPECT_EQ(accept(listener), 0);
}

std::string without_name(const testing::TestParamInfo<std::uint32_t>& info) {
    static constexpr std::array names = {
        "single_issuer", "defer_taskrun",   "coop_taskrun", "submit_all",   "buffer_ring",
        "registered_ring", "no_iowait",     "no_sqarray",      "wait_argument"};
    if (info.param == 0) return "nothing";
    if (info.param == not_in_6_1) return "what_6_1_lacks";
    if (info.param == every_feature) return "anything";
    for (std::size_t i = 0; i < names.size(); ++i) {
        if (info.param == 1u << i) return names[i];
    }
    return "several_" + std::to_string(info.param);
}

static_assert(not_in_6_8 == uring_no_iowait, "the mask of 6.8 is one of the single features");
INSTANTIATE_TEST_SUITE_P(
    masks, uring_without,
    testing::Values(0u, uring_single_issuer, uring_defer_taskrun, uring_coop_taskrun,
                    uring_submit_all, uring_buffer_ring, uring_registered_ring,
                    uring_no_iowait, uring_no_sqarray, uring_wait_argument,
                    uring_defer_taskrun | uring_coop_taskrun, not_in_6_1, every_feature),
    without_name);

// --- system calls, counted

TEST_F(uring_special, submitting_makes_no_system_call) {
    const pair_of_ends ends = local_pair();
    std::array<char, 4> into{};
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    const std::uint64_t before = counters().enters;
    ASSERT_FALSE(poller_->submit(receiving));
    poller_->cancel(receiving);
    EXPECT_EQ(counters().enters, before);
    complete(receiving);
}

TEST_F(uring_special, nothing_to_do_makes_no_system_call) {
    turn_now();  // arms the wake-up
    const std::uint64_t before = counters().enters;
    turn_now();
    turn_now();
    EXPECT_EQ(counters().enters, before);
}

/// The poll of the event descriptor stays armed: a wake-up costs no request and no call more.
TEST_F(uring_special, a_wake_up_is_watched_for_without_being_armed_again) {
    turn_now();
    for (int round = 0; round < 5; ++round) {
        poller_->wake();
        const std::uint64_t wakes = counters().wakes;
        turn(never);
        EXPECT_EQ(counters().wakes, wakes + 1);
        const std::uint64_t before = counters().enters;
        for (int i = 0; i < 10; ++i) turn_now();
        EXPECT_EQ(counters().enters, before) << "round " << round;
    }
}

TEST_F(uring_special, sixty_four_echoes_take_four_enters) {
    constexpr std::size_t count = 64;
    std::vector<pair_of_ends> ends;
    std::deque<operation> echoes;
    std::array<std::array<char, 8>, count> buffers{};
    for (std::size_t i = 0; i < count; ++i) {
        ends.push_back(local_pair());
        operation& op = echoes.emplace_back(opcode::receive, ends[i].ours);
        op.buffer.data = buffers[i].data();
        op.buffer.size = buffers[i].size();
        ASSERT_FALSE(poller_->submit(op));
    }
    turn_now();
    for (const pair_of_ends& one : ends) write(one.theirs, "message!");

    const std::uint64_t before = counters().enters;
    std::size_t sent = 0;
    std::vector<std::unique_ptr<operation>> sending;
    while (sent < count) {
        operation_list completed;
        poller_->wait(never, completed);
        while (operation* op = completed.pop()) {
            ASSERT_EQ(op->result, 8);
            if (op->code == opcode::send) {
                ++sent;
                continue;
            }
            sending.push_back(std::make_unique<operation>(opcode::send, op->target));
            sending.back()->buffer = {op->buffer.data, 8};
            ASSERT_FALSE(poller_->submit(*sending.back()));
        }
    }
    EXPECT_LE(counters().enters - before, 4u);
    for (const pair_of_ends& one : ends) EXPECT_EQ(read(one.theirs), "message!");
}

TEST_F(uring_special, readiness_is_seen_from_user_memory) {
    const pair_of_ends ends = local_pair();
    char into = 0;
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(poller_->submit(receiving));
    turn_now();
    const std::uint64_t before = counters().enters;
    turn_now();
    EXPECT_EQ(counters().enters, before) << "nothing has come: the kernel was asked for nothing";
    write(ends.theirs, "x");
    turn_now();
    EXPECT_EQ(counters().enters, before + 1);
    EXPECT_EQ(receiving.phase, operation_phase::completed);
    turn_now();
    EXPECT_EQ(counters().enters, before + 1);
}

// --- cancel

TEST_F(uring_special, cancelled_before_the_kernel_has_seen_it) {
    const pair_of_ends ends = local_pair();
    char into = 0;
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    ASSERT_FALSE(poller_->submit(receiving));
    poller_->cancel(receiving);
    poller_->cancel(receiving);
    EXPECT_EQ(receiving.phase, operation_phase::submitted);
    complete(receiving);
    EXPECT_EQ(receiving.result, -ECANCELED);
    EXPECT_EQ(counters().cancels, 1u);
    write(ends.theirs, "kept");
    EXPECT_EQ(receive(ends.ours), "kept");
}

TEST_F(uring_special, success_wins_over_a_cancel_and_no_byte_is_lost) {
    const pair_of_ends ends = local_pair();
    std::string received;
    std::string sent;
    for (int round = 0; round < 300; ++round) {
        const std::string text = std::to_string(round) + ";";
        std::array<char, 64> into{};
        operation receiving(opcode::receive, ends.ours);
        receiving.buffer.data = into.data();
        receiving.buffer.size = into.size();
        ASSERT_FALSE(poller_->submit(receiving));
        if (round % 3 == 0) turn_now();
        if (receiving.phase == operation_phase::submitted && round % 2 == 0) {
            poller_->cancel(receiving);
        }
        write(ends.theirs, text);
        sent += text;
        if (round % 5 == 0) turn_now();
        poller_->cancel(receiving);
        complete(receiving);
        if (receiving.result > 0) {
            received.append(into.data(), static_cast<std::size_t>(receiving.result));
        } else {
            ASSERT_EQ(receiving.result, -ECANCELED);
        }
    }
    while (received.size() < sent.size()) received += receive(ends.ours);
    EXPECT_EQ(received, sent);
}

TEST_F(uring_special, late_cancel_misses_the_next_operation_at_the_same_address) {
    const pair_of_ends ends = local_pair();
    std::array<char, 1> into{};
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = into.data();
    receiving.buffer.size = into.size();
    for (int round = 0; round < 20; ++round) {
        ASSERT_FALSE(poller_->submit(receiving));
        turn_now();
        write(ends.theirs, "a");
        poller_->cancel(receiving);
        complete(receiving);
        const bool came = receiving.result == 1;
        // The same operation again: its byte must come, the cancel is through.
        ASSERT_FALSE(poller_->submit(receiving));
        if (came) write(ends.theirs, "b");
        complete(receiving);
        EXPECT_EQ(receiving.result, 1);
    }
}

// --- full rings

TEST_F(uring_special, smallest_rings_overflow_and_lose_nothing) {
    poller_options small;
    small.ring_entries = 4;
    small.completion_entries = 8;
    small.lease_buffers = small.lease_buffers_most = 2;
    finish();
    make(small);
    constexpr std::size_t count = 60;
    std::vector<pair_of_ends> ends;
    std::deque<operation> receiving;
    std::array<char, count> into{};
    for (std::size_t i = 0; i < count; ++i) {
        ends.push_back(local_pair());
        operation& op = receiving.emplace_back(opcode::receive, ends[i].ours);
        op.buffer.data = &into[i];
        op.buffer.size = 1;
        ASSERT_FALSE(poller_->submit(op));
    }
    EXPECT_GT(counters().queue_full, 0u);
    turn_now();
    for (const pair_of_ends& one : ends) write(one.theirs, "z");
    for (operation& op : receiving) {
        complete(op);
        EXPECT_EQ(op.result, 1);
    }
    // All cancelled at once: 120 completions for 8 places.
    for (operation& op : receiving) ASSERT_FALSE(poller_->submit(op));
    turn_now();
    for (operation& op : receiving) poller_->cancel(op);
    for (operation& op : receiving) {
        complete(op);
        EXPECT_EQ(op.result, -ECANCELED);
    }
    EXPECT_GT(counters().overflows, 0u);
}

// --- the end of the poller, and misuse

TEST_F(uring_special, closing_an_armed_listener_frees_its_port_at_once) {
    listening_end listener = listen();
    client_of(listener);
    ASSERT_EQ(accept(listener), 0);
    poller_->close(listener.ours);
    EXPECT_EQ(poller_->census().sockets, 1u);
    const listening_end again = listen(8, listener.where.sin_port);
    client_of(again);
    EXPECT_EQ(accept(again), 0);
}

TEST_F(uring_special, destroying_the_poller_frees_an_armed_listeners_port_at_once) {
    const listening_end listener = listen();
    operation accepting(opcode::accept, listener.ours);
    ASSERT_FALSE(poller_->submit(accepting));
    turn_now();
    poller_->cancel(accepting);
    complete(accepting);
    poller_.reset();
    ours_.clear();
    make({});
    listen(8, listener.where.sin_port);
}

using uring_death = uring_special;

TEST_F(uring_death, child_that_submits_after_fork_aborts) {
    const pair_of_ends ends = local_pair();
    char into = 0;
    operation receiving(opcode::receive, ends.ours);
    receiving.buffer.data = &into;
    receiving.buffer.size = 1;
    // A death test of the fast style runs its statement in a child after fork(2).
    testing::FLAGS_gtest_death_test_style = "fast";
    EXPECT_DEATH(static_cast<void>(poller_->submit(receiving)), "after fork");
    EXPECT_DEATH(turn_now(), "after fork");
    EXPECT_EXIT((poller_->wake(), std::_Exit(0)), testing::ExitedWithCode(0), "");
    turn_now();
    turn_now();
    EXPECT_EQ(counters().wakes, 0u) << "the child's wake() must not reach the parent";
    write(ends.theirs, "p");
    EXPECT_EQ(receive(ends.ours), "p");
}

TEST_F(uring_death, use_from_another_thread_aborts) {
    testing::FLAGS_gtest_death_test_style = "threadsafe";
    EXPECT_DEATH(
        {
            std::string why_not;
            auto made = make_uring_poller({}, why_not);
            std::thread([&] {
                operation_list completed;
                made->wait(time_point::min(), completed);
            }).join();
        },
        "another thread");
}

/// In a child: a seccomp(2) filter that refuses `number` with EPERM, as containers do.
void refuse_with_eperm(std::uint32_t number) {
    std::array filter = {
        sock_filter BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        sock_filter BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, number, 0, 1),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        sock_filter BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    ::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

TEST_F(uring_death, refused_system_calls_are_a_reason_and_no_crash) {
    testing::FLAGS_gtest_death_test_style = "fast";
    const auto try_without = [](std::uint32_t number) {
        refuse_with_eperm(number);
        std::string why_not;
        const bool made = make_uring_poller({}, why_not) != nullptr;
        std::fprintf(stderr, "%s\n", why_not.c_str());
        std::_Exit(made ? 1 : 0);
    };
    EXPECT_EXIT(try_without(__NR_io_uring_setup), testing::ExitedWithCode(0), "seccomp filter");
    EXPECT_EXIT(try_without(__NR_io_uring_enter), testing::ExitedWithCode(0), "did not come back");
    EXPECT_EXIT(try_without(__NR_io_uring_register), testing::ExitedWithCode(0), "no list");
}

TEST_F(uring_special, signal_that_wakes_ends_the_wait) {
    static poller* woken = nullptr;
    static volatile std::sig_atomic_t signals = 0;
    signals = 0;
    woken = poller_.get();
    struct sigaction action {};
    struct sigaction before {};
    action.sa_handler = [](int) {
        signals = signals + 1;
        woken->wake();
    };
    ASSERT_EQ(::sigaction(SIGALRM, &action, &before), 0);
    const itimerval soon{{0, 0}, {0, 2000}};
    ASSERT_EQ(::setitimer(ITIMER_REAL, &soon, nullptr), 0);
    const time_point give_up = poller_->now() + std::chrono::seconds(30);
    while (signals == 0 && poller_->now() < give_up) turn(give_up);
    EXPECT_EQ(signals, 1);
    ASSERT_EQ(::sigaction(SIGALRM, &before, nullptr), 0);
    turn_now();
    EXPECT_EQ(counters().wakes, 1u);
}

/// unix(7): a full backlog is EAGAIN, and nothing tells when there is room.
TEST_F(uring_special, connect_to_a_full_unix_backlog_waits_for_room) {
    detail::handle listener;
    ASSERT_EQ(poller_->open_stream(address_family::local, listener), 0);
    ours_.push_back(listener);
    socket_address where;
    // Binding the family alone draws a free abstract address.
    const sa_family_t family = AF_UNIX;
    std::memcpy(where.bytes.data(), &family, sizeof family);
    where.size = sizeof family;
    ASSERT_EQ(poller_->bind(listener, where), 0);
    ASSERT_EQ(poller_->listen(listener, 0), 0);
    ASSERT_EQ(poller_->local_address(listener, where), 0);
    std::array<detail::handle, 3> clients;
    for (detail::handle& client : clients) {
        ASSERT_EQ(poller_->open_stream(address_family::local, client), 0);
        ours_.push_back(client);
    }
    operation first(opcode::connect, clients[0]);
    operation second(opcode::connect, clients[1]);
    operation third(opcode::connect, clients[2]);
    for (operation* each : {&first, &second, &third}) each->where = &where;
    EXPECT_EQ(run(first), 0);
    ASSERT_FALSE(poller_->submit(second));
    ASSERT_FALSE(poller_->submit(third));
    const time_point until = poller_->now() + std::chrono::milliseconds(20);
    while (poller_->now() < until) turn(until);
    EXPECT_EQ(second.phase, operation_phase::submitted);
    EXPECT_EQ(third.phase, operation_phase::submitted);
    poller_->cancel(third);
    while (third.phase == operation_phase::submitted) turn_now();
    EXPECT_EQ(third.result, -ECANCELED);
    operation accepting(opcode::accept, listener);
    EXPECT_EQ(run(accepting), 0);
    ours_.push_back(accepting.accepted);
    while (second.phase == operation_phase::submitted) turn(never);
    EXPECT_EQ(second.result, 0);
}

}  // namespace
}  // namespace coro::detail::uring_tests
