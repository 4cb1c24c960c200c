// The table behind the debug registry: a vector under a lock, because it is only on in tests.
#include "poller/inflight_registry.hpp"

#include <algorithm>
#include <cstdint>
#include <mutex>
#include <vector>

#include <pthread.h>

#include <coro/base/detail/assert.hpp>
#include <coro/runtime/detail/operation.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

struct range {
    const void* owner;
    std::uintptr_t begin;
    std::uintptr_t end;
};

struct table {
    std::mutex lock;
    std::vector<range> ranges;
};

/// Never destroyed: a loop on another thread may outlive the static objects.
table& all() noexcept {
    static table& only = *new table;
    return only;
}

/// The lock is held across a fork: the thread of another loop that held it is not in the child.
[[maybe_unused]] const int inflight_lock_watches_fork = ::pthread_atfork(
    [] { all().lock.lock(); }, [] { all().lock.unlock(); }, [] { all().lock.unlock(); });

std::uintptr_t begin_of(const void* data) noexcept {
    return reinterpret_cast<std::uintptr_t>(data);
}

}  // namespace

std::atomic<bool> inflight_registry::enabled_{false};

void inflight_registry::enable(bool on) noexcept {
    const std::scoped_lock held(all().lock);
    if (!on) all().ranges.clear();
    enabled_.store(on, std::memory_order_relaxed);
}

void inflight_registry::add(const void* owner, const void* data, std::size_t size) noexcept {
    if (size == 0) return;
    const std::scoped_lock held(all().lock);
    all().ranges.push_back({owner, begin_of(data), begin_of(data) + size});
}

void inflight_registry::add(const void* owner, const io_slice* slices,
                            std::size_t count) noexcept {
    for (std::size_t i = 0; i < count; ++i) add(owner, slices[i].data, slices[i].size);
}

void inflight_registry::remove(const void* owner) noexcept {
    const std::scoped_lock held(all().lock);
    std::erase_if(all().ranges, [owner](const range& one) { return one.owner == owner; });
}

bool inflight_registry::check_free(const void* data, std::size_t size) noexcept {
    const std::uintptr_t begin = begin_of(data);
    const std::scoped_lock held(all().lock);
    return std::none_of(all().ranges.begin(), all().ranges.end(), [=](const range& one) {
        return one.begin < begin + size && begin < one.end;
    });
}

void inflight_registry::assert_none_in(const void* data, std::size_t size) noexcept {
    CORO_ASSERT(check_free(data, size),
                "memory was given back while a pending receive may still write into it: cancel the "
                "operation and wait for its completion first");
}

std::size_t inflight_registry::count() noexcept {
    const std::scoped_lock held(all().lock);
    return all().ranges.size();
}

}}}  // namespace coro::v0::detail
