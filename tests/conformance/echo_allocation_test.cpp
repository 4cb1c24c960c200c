// In the steady state an echo allocates nothing: neither by new nor by malloc (as frames do).
//
// Counts calls of malloc, calloc and realloc in this program, only while asked to: by standing in
// front of glibc's, or by the hooks of the sanitizers' allocators.
#include <atomic>
#include <cstdlib>

#include "net_test_support.hpp"
#include "support/leftovers.hpp"

namespace {

thread_local bool counting = false;
thread_local std::size_t allocations = 0;

}  // namespace

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define CORO_TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define CORO_TEST_SANITIZED 1
#endif
#endif

#ifdef CORO_TEST_SANITIZED

extern "C" int __sanitizer_install_malloc_and_free_hooks(
    void (*malloc_hook)(const volatile void*, std::size_t),
    void (*free_hook)(const volatile void*));

namespace {
const int hooked = __sanitizer_install_malloc_and_free_hooks(
    [](const volatile void*, std::size_t) {
        if (counting) ++allocations;
    },
    [](const volatile void*) {});
}  // namespace

#else

extern "C" {
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t count, std::size_t size) noexcept;
void* __libc_realloc(void* memory, std::size_t size) noexcept;

void* malloc(std::size_t size) noexcept {
    if (counting) ++allocations;
    return __libc_malloc(size);
}
void* calloc(std::size_t count, std::size_t size) noexcept {
    if (counting) ++allocations;
    return __libc_calloc(count, size);
}
void* realloc(void* memory, std::size_t size) noexcept {
    if (counting) ++allocations;
    return __libc_realloc(memory, size);
}
}

namespace {
const int hooked = 1;
}

#endif

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class echo_allocation_test : public world_test {
protected:
    echo_allocation_test() { coro_test::watch_memory(false); }  // its registries allocate
};
INSTANTIATE_TEST_SUITE_P(real_worlds, echo_allocation_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Echoes by leases, under a deadline each time.
task<> echo_leased(net::tcp_stream peer) {
    for (;;) {
        const net::read_lease lease = co_await with_timeout(1min, peer.read_leased());
        if (lease.empty()) break;
        co_await net::write_all(peer, lease.bytes());
    }
}

task<> exchange(net::tcp_stream& stream, int messages) {
    std::array<std::byte, 64> out{};
    std::array<std::byte, 64> in{};
    for (int i = 0; i < messages; ++i) {
        out[0] = static_cast<std::byte>(i);
        co_await net::write_all(stream, const_bytes(out));
        co_await net::read_exact(stream, mutable_bytes(in));
        if (in != out) ADD_FAILURE() << "another message came back";
    }
}

constexpr std::size_t many = 8;
/// As many leases as the smallest tested pool has buffers (CORO_URING=buffers=2): beyond the
/// pool a lease is allocated, which is what the cap is for.
constexpr std::size_t as_leases = 2;
constexpr int messages = 10'000;

/// One round over all connections side by side.
task<> exchange_all(std::vector<net::tcp_stream>& clients, int each) {
    const auto body = [&](task_group& group) -> task<> {
        for (net::tcp_stream& client : clients) group.spawn(exchange, std::ref(client), each);
        co_return;
    };
    co_await with_task_group(body);
}

/// Serves and talks in one loop; answers how often memory was asked for during the messages.
template <typename Handler>
task<> count_echo(Handler handler, std::size_t connections, std::size_t& counted) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto serving = [&](task_group& group) -> task<> {
        group.spawn(
            [](net::tcp_listener& on, Handler with) -> task<> { co_await serve(on, with); },
            std::ref(listener), handler);
        std::vector<net::tcp_stream> clients;
        for (std::size_t i = 0; i < connections; ++i)
            clients.push_back(co_await net::tcp_stream::connect(where));
        co_await exchange_all(clients, 200);
        allocations = 0;
        counting = true;
        co_await exchange_all(clients, messages / static_cast<int>(connections));
        counting = false;
        counted = allocations;
        clients.clear();
        group.request_stop();
    };
    co_await with_task_group(serving);
}

TEST_P(echo_allocation_test, ten_thousand_messages_ask_for_no_memory) {
    ASSERT_NE(hooked, 0);
    std::size_t counted = 99;
    const auto body = [&]() -> task<> { co_await count_echo(&echo, many, counted); };
    in_world(body);
    // A sanitizer build frees every frame; the tasks that exchange are spawned anew for the round.
    EXPECT_LE(counted, sanitized ? 4 * many + 8 : 0u);
}

TEST_P(echo_allocation_test, nor_with_leases_and_deadlines) {
    std::size_t counted = 99;
    const auto body = [&]() -> task<> { co_await count_echo(&echo_leased, as_leases, counted); };
    in_world(body);
    EXPECT_LE(counted, sanitized ? 4 * as_leases + 8 : 0u);
}

TEST_P(echo_allocation_test, the_counter_counts) {
    allocations = 0;
    counting = true;
    // The compiler knows that malloc writes to no variable of ours; here it does.
    std::atomic_signal_fence(std::memory_order_seq_cst);
    void* volatile memory = std::malloc(100);  // volatile: clang drops what nobody looks at
    std::string* volatile text = new std::string(100, 'x');
    std::atomic_signal_fence(std::memory_order_seq_cst);
    counting = false;
    EXPECT_GE(allocations, 3u);
    std::free(memory);
    delete text;
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
