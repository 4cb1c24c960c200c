// Rule 1 of the waist: submitting, cancelling and waiting allocate nothing once tables have grown.
//
// Replaces the global operator new of this program; it only counts, and only while asked to. Not in
// builds with a sanitizer, which brings its own (and ThreadSanitizer's cannot be replaced).
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CORO_TEST_SANITIZED
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CORO_TEST_SANITIZED
#endif
#endif

#ifndef CORO_TEST_SANITIZED

#include <cstdlib>
#include <new>

#include "poller_test_support.hpp"
#include "support/leftovers.hpp"

namespace {

thread_local bool counting = false;
thread_local std::size_t allocations = 0;

void* counted(std::size_t size) {
    if (counting) ++allocations;
    return std::malloc(size == 0 ? 1 : size);
}

}  // namespace

void* operator new(std::size_t size) {
    void* memory = counted(size);
    if (memory == nullptr) throw std::bad_alloc();
    return memory;
}
void* operator new[](std::size_t size) { return ::operator new(size); }
void* operator new(std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }
void* operator new[](std::size_t size, const std::nothrow_t&) noexcept { return counted(size); }

// Not inlined: GCC would see free() meet operator new and warn of a mismatch.
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete[](void* memory) noexcept { ::operator delete(memory); }
void operator delete(void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, std::size_t) noexcept { ::operator delete(memory); }
void operator delete(void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }
void operator delete[](void* memory, const std::nothrow_t&) noexcept { ::operator delete(memory); }

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class poller_allocation_test : public poller_fixture {
protected:
    /// As run() of the fixture, but without its bookkeeping, which allocates.
    std::int32_t run_bare(operation& op, bool cancel = false) {
        if (world().submit(op)) return op.result;
        if (cancel) world().cancel(op);
        operation_list completed;
        while (op.phase == operation_phase::submitted) world().wait(never, completed);
        while (completed.pop() != nullptr) {
        }
        return op.result;
    }

    void round_trip(const connected_pair& pair) {
        std::array<char, 64> bytes{};
        operation waiting(opcode::receive, pair.server);
        waiting.buffer.data = bytes.data();
        waiting.buffer.size = bytes.size();
        ASSERT_EQ(run_bare(waiting, true), -ECANCELED);

        operation sending(opcode::send, pair.client);
        sending.buffer.data = bytes.data();
        sending.buffer.size = bytes.size();
        ASSERT_EQ(run_bare(sending), 64);
        operation receiving(opcode::receive, pair.server);
        receiving.buffer.data = bytes.data();
        receiving.buffer.size = 32;
        ASSERT_EQ(run_bare(receiving), 32);
        operation leased(opcode::receive_leased, pair.server);
        leased.most = 32;
        ASSERT_EQ(run_bare(leased), 32);
        world().return_lease(leased.lease_id, leased.lease_data, leased.lease_from_heap);
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_allocation_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_allocation_test, steady_state_allocates_nothing) {
    coro_test::watch_memory(false);  // its registry allocates
    const connected_pair pair = connect_pair();
    for (int i = 0; i < 20; ++i) round_trip(pair);
    allocations = 0;
    counting = true;
    for (int i = 0; i < 200; ++i) round_trip(pair);
    counting = false;
    EXPECT_EQ(allocations, 0u);
}

/// Not the simulation: it keeps each message that is on its way.
class datagram_allocation_test : public poller_allocation_test {
protected:
    void round_trip_of_datagrams(detail::handle to, const socket_address& where,
                                 detail::handle from) {
        std::array<char, 64> bytes{};
        datagram_request message;
        message.bytes = {bytes.data(), bytes.size()};
        operation waiting(opcode::receive_from, to);
        waiting.datagram = &message;
        ASSERT_EQ(run_bare(waiting, true), -ECANCELED);
        operation sending(opcode::send_to, from);
        message.peer = where;
        sending.datagram = &message;
        ASSERT_EQ(run_bare(sending), 64);
        operation receiving(opcode::receive_from, to);
        receiving.datagram = &message;
        ASSERT_EQ(run_bare(receiving), 64);
    }
};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(datagram_allocation_test);
INSTANTIATE_TEST_SUITE_P(real_worlds, datagram_allocation_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(datagram_allocation_test, steady_state_allocates_nothing) {
    coro_test::watch_memory(false);  // its registry allocates
    detail::handle to;
    detail::handle from;
    socket_address where;
    ASSERT_EQ(world().open_datagram(address_family::ipv4, to), 0);
    keep(to);
    ASSERT_EQ(world().open_datagram(address_family::ipv4, from), 0);
    keep(from);
    ASSERT_EQ(world().bind(to, loopback(address_family::ipv4)), 0);
    ASSERT_EQ(world().local_address(to, where), 0);
    for (int i = 0; i < 20; ++i) round_trip_of_datagrams(to, where, from);
    allocations = 0;
    counting = true;
    for (int i = 0; i < 200; ++i) round_trip_of_datagrams(to, where, from);
    counting = false;
    EXPECT_EQ(allocations, 0u);
}

TEST_P(poller_allocation_test, the_counter_counts) {
    allocations = 0;
    counting = true;
    auto* const memory = new std::string(100, 'x');
    counting = false;
    EXPECT_GE(allocations, 2u);
    delete memory;
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance

#endif  // CORO_TEST_SANITIZED
