// The buffers that a simulated receive_leased lends.
#include "sim/lease_pool.hpp"

#include <algorithm>
#include <cstring>
#include <new>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr int returned_pattern = 0xdd;
/// Less than the kernel's worlds lend: all of a buffer is overwritten when it comes back.
constexpr unsigned most_buffer_bytes = 16384;

}  // namespace

lease_pool::lease_pool(const poller_options& options)
    : buffer_bytes_(std::min(options.lease_buffer_bytes, most_buffer_bytes)),
      heap_cap_(options.leases_on_heap),
      pool_(options.lease_buffers) {
    free_.reserve(options.lease_buffers);
    for (std::uint32_t id = options.lease_buffers; id > 0; --id) free_.push_back(id - 1);
}

bool lease_pool::take(lease& out) noexcept {
    if (!free_.empty()) {
        const std::uint32_t id = free_.back();
        buffer& taken = pool_[id];
        if (!taken.data) taken.data.reset(new (std::nothrow) std::byte[buffer_bytes_]);
        if (!taken.data) return false;
        free_.pop_back();
        taken.lent = true;
        out = {id, taken.data.get(), false};
    } else {
        if (heap_lent_ == heap_cap_) return false;
        auto* data = new (std::nothrow) std::byte[buffer_bytes_];
        if (data == nullptr) return false;
        ++heap_lent_;
        out = {0, data, true};
    }
    ++lent_;
    return true;
}

void lease_pool::give_back(const lease& back) noexcept {
    CORO_ASSERT(back.data != nullptr && lent_ > 0, "a lease was returned that was never taken");
    std::memset(back.data, returned_pattern, buffer_bytes_);
    --lent_;
    if (back.from_heap) {
        CORO_ASSERT(heap_lent_ > 0, "a lease from the heap was returned twice");
        --heap_lent_;
        delete[] back.data;
        return;
    }
    CORO_ASSERT(back.id < pool_.size() && pool_[back.id].data.get() == back.data,
                "a lease was returned with the identity of another one");
    CORO_ASSERT(pool_[back.id].lent, "a lease was returned twice");
    pool_[back.id].lent = false;
    free_.push_back(back.id);
}

}}}  // namespace coro::v0::detail
