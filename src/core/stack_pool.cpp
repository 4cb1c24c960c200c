// Where stacks come from: mmap, a guard below each, madvise for those that are idle.
#include "core/stack_pool.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <string>
#include <utility>

#include <coro/base/error.hpp>

#include "core/sanitizers.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr std::size_t page_bytes = 4096;
constexpr std::size_t shift_step = 64;
/// How many places of a page stacks begin at; a shallow stack still fits into its first page.
constexpr std::size_t shifts = 32;
constexpr std::size_t slab_bytes_at_most = std::size_t{64} * 1024 * 1024;
constexpr std::size_t first_slab = 16;  ///< stacks; each further slab of a size has twice as many

/// Mappings that the rest of the process may need: libraries, heaps, thread stacks, buffers.
constexpr std::size_t mappings_left_alone = 4096;
constexpr std::size_t mappings_per_stack = 2;

/// Stacks that all pools of the process have open; any thread changes it, nothing else hangs on it.
std::atomic<std::size_t> stacks_of_process{0};

std::size_t read_map_count() noexcept {
    std::size_t most = 65'530;  // the kernel's default
    if (std::FILE* file = std::fopen("/proc/sys/vm/max_map_count", "re")) {
        unsigned long long value = 0;
        if (std::fscanf(file, "%llu", &value) == 1) most = static_cast<std::size_t>(value);
        std::fclose(file);
    }
    return most;
}

std::size_t class_of(std::size_t bytes) noexcept {
    std::size_t index = 0;
    while ((stack_pool::smallest << index) < bytes) ++index;
    return index;
}

fiber_stack* pop(fiber_stack*& list) noexcept {
    fiber_stack* first = list;
    if (first != nullptr) list = first->next;
    return first;
}

void push(fiber_stack*& list, fiber_stack& stack) noexcept {
    stack.next = list;
    list = &stack;
}

}  // namespace

std::size_t stack_pool::stacks_allowed() noexcept {
    static const std::size_t allowed = [] {
        const std::size_t mappings = read_map_count();
        const std::size_t kept = std::min(mappings_left_alone, mappings / 2);
        return (mappings - kept) / mappings_per_stack;
    }();
    return allowed;
}

stack_pool::stack_pool(std::size_t most) : most_(most) {}

stack_pool::~stack_pool() {
    stacks_of_process.fetch_sub(open_, std::memory_order_relaxed);
    for (slab& each : slabs_) {
        for (std::size_t at = 0; at < each.count; ++at) sanitizer_forget(each.stacks[at].tsan);
        sanitizer_unmap(each.base, each.bytes);
        ::munmap(each.base, each.bytes);
    }
}

fiber_stack& stack_pool::take(std::size_t bytes) {
    if (bytes > largest) refuse(EINVAL, bytes, open_);
    const std::size_t size_class = class_of(bytes);
    idle_stacks& idle = idle_[size_class];
    if (fiber_stack* warm = pop(idle.warm)) {
        warm_ -= warm->size;
        return *warm;
    }
    if (idle.cold == nullptr) reserve(size_class);
    if (!idle.cold->open) open(*idle.cold);
    return *pop(idle.cold);
}

void stack_pool::give(fiber_stack& stack) noexcept {
    idle_stacks& idle = idle_[stack.size_class];
    if (warm_ + stack.size <= warm_bytes) {
        warm_ += stack.size;
        push(idle.warm, stack);
        return;
    }
    ::madvise(stack.bottom, stack.size, MADV_DONTNEED);
    stack.context = nullptr;  // it was on the stack
    sanitizer_forget(stack.tsan);
    push(idle.cold, stack);
}

/// Takes addresses for more stacks of a size; none of them can be touched yet.
void stack_pool::reserve(std::size_t size_class) {
    idle_stacks& idle = idle_[size_class];
    const std::size_t size = smallest << size_class;
    const std::size_t pitch = guard_bytes + size;
    const std::size_t wanted = idle.in_last_slab == 0 ? first_slab : 2 * idle.in_last_slab;
    const std::size_t count = std::clamp<std::size_t>(slab_bytes_at_most / pitch, 1, wanted);
    slab fresh;
    fresh.stacks = std::make_unique<fiber_stack[]>(count);
    fresh.count = count;
    fresh.bytes = count * pitch;
    slabs_.reserve(slabs_.size() + 1);
    void* base = ::mmap(nullptr, fresh.bytes, PROT_NONE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (base == MAP_FAILED) refuse(errno, size, open_);
    // A huge page would make the first touch of a stack cost 2 MiB.
    ::madvise(base, fresh.bytes, MADV_NOHUGEPAGE);
    fresh.base = static_cast<std::byte*>(base);
    for (std::size_t at = count; at-- > 0;) {
        fiber_stack& stack = fresh.stacks[at];
        stack.bottom = fresh.base + at * pitch + guard_bytes;
        stack.shift = static_cast<std::uint16_t>(at % shifts * shift_step);
        stack.size = size;
        stack.size_class = size_class;
        push(idle.cold, stack);
    }
    sanitizer_map(fresh.base, fresh.bytes);
    idle.in_last_slab = count;
    slabs_.push_back(std::move(fresh));
}

/// Makes the stack usable; from here on it counts as two mappings.
void stack_pool::open(fiber_stack& stack) {
    const std::size_t before = stacks_of_process.fetch_add(1, std::memory_order_relaxed);
    if (before >= most_ || ::mprotect(stack.bottom, stack.size, PROT_READ | PROT_WRITE) != 0) {
        stacks_of_process.fetch_sub(1, std::memory_order_relaxed);
        refuse(ENOMEM, stack.size, before);
    }
    stack.open = true;
    ++open_;
}

void stack_pool::refuse(int code, std::size_t bytes, std::size_t in_use) {
    std::string text = "stack of " + std::to_string(bytes / 1024) + " KiB";
    if (code == EINVAL) text += ", at most " + std::to_string(largest / 1024);
    else text += ", " + std::to_string(in_use) + " are mapped (see sysctl vm.max_map_count)";
    throw io_error(std::error_code(code, std::generic_category()), "fiber", text);
}

std::size_t stack_pool::resident_bytes() const {
    std::size_t pages = 0;
    std::vector<unsigned char> present;
    for (const slab& each : slabs_)
        for (std::size_t at = 0; at < each.count; ++at) {
            const fiber_stack& stack = each.stacks[at];
            if (!stack.open) continue;
            present.assign(stack.size / page_bytes, 0);
            if (::mincore(stack.bottom, stack.size, present.data()) != 0) continue;
            for (const unsigned char page : present) pages += page & 1u;
        }
    return pages * page_bytes;
}

}}}  // namespace coro::v0::detail
