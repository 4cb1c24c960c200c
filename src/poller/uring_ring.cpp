// Set-up of an io_uring, each feature by itself, and the one system call that drives it.
#include "poller/uring_ring.hpp"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <system_error>
#include <thread>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The flags that EINVAL from io_uring_setup(2) takes away, one after the other: the youngest
/// first.
constexpr std::array set_up_ladder = {uring_no_sqarray, uring_defer_taskrun, uring_single_issuer,
                                      uring_coop_taskrun, uring_submit_all};

/// The kernel frees the memory of a ring that was closed later, on another thread: until then a
/// limit of locked memory may be reached that leaves room. About an eighth of a second in all.
constexpr std::array<std::chrono::milliseconds, 7> memory_pauses{{
    std::chrono::milliseconds(1), std::chrono::milliseconds(2), std::chrono::milliseconds(4),
    std::chrono::milliseconds(8), std::chrono::milliseconds(16), std::chrono::milliseconds(32),
    std::chrono::milliseconds(64)}};
/// The smallest ring that is tried for want of memory; one of 512 entries takes 64 KiB.
constexpr unsigned fewest_entries = 32;

constexpr std::uint32_t all_features = (uring_wait_argument << 1) - 1;

unsigned set_up_flags(std::uint32_t features) noexcept {
    unsigned flags = IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
    if ((features & uring_submit_all) != 0) flags |= IORING_SETUP_SUBMIT_ALL;
    if ((features & uring_no_sqarray) != 0) flags |= setup_no_sqarray;
    if ((features & uring_single_issuer) != 0) flags |= IORING_SETUP_SINGLE_ISSUER;
    // TASKRUN_FLAG shows in user memory that deferred work waits: a spinning loop lives of it.
    if ((features & uring_defer_taskrun) != 0) {
        flags |= IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    } else if ((features & uring_coop_taskrun) != 0) {
        flags |= IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
    }
    return flags;
}

std::string clause(const char* what, int error, const char* without_memory) {
    std::string text = std::string(what) + " answered " + std::generic_category().message(-error);
    if (error == -EPERM || error == -ENOSYS || error == -EOPNOTSUPP) {
        text += " (an old kernel, a seccomp filter, or the sysctl kernel.io_uring_disabled)";
    }
    if (error == -ENOMEM) text += without_memory;
    return text;
}

void* map_shared(int descriptor, std::size_t size, off_t what) noexcept {
    void* const at = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
                            descriptor, what);
    if (at == MAP_FAILED) return nullptr;
    // A child must not write into the parent's queues, and a mapping alone keeps a ring alive.
    ::madvise(at, size, MADV_DONTFORK);
    return at;
}

template <typename T>
T* at_offset(void* base, std::uint32_t offset) noexcept {
    return reinterpret_cast<T*>(static_cast<std::byte*>(base) + offset);
}

/// Errors after which no request can be trusted to complete any more.
const char* fatal_sentence(int error) noexcept {
    if (error == -EBADR) {
        return "the kernel had no memory for a completion and dropped it: io_uring_enter(2) "
               "answered EBADR";
    }
    if (error == -EBADF) {
        return "the descriptor of an io_uring was closed by the program: io_uring_enter(2) "
               "answered EBADF";
    }
    return "io_uring_enter(2) failed in a way that its man page does not explain";
}

bool may_be_tried_again(int answer) noexcept {
    return answer >= 0 || answer == -ETIME || answer == -EINTR || answer == -EBUSY ||
           answer == -EAGAIN || answer == -ENOMEM;
}

}  // namespace

uring_ring::~uring_ring() {
    if (is_ours() && (enter_flags_ & IORING_ENTER_REGISTERED_RING) != 0) {
        // Otherwise the thread's table of registered rings would keep the ring alive.
        io_uring_rsrc_update entry{};
        entry.offset = enter_descriptor_;
        register_thing(IORING_UNREGISTER_RING_FDS, &entry, 1);
    }
    if (is_ours()) {
        if (sqes_ != nullptr) ::munmap(sqes_, sqes_size_);
        if (rings_ != nullptr) ::munmap(rings_, rings_size_);
    }
    if (descriptor_ >= 0) ::close(descriptor_);
}

// --- set-up

bool uring_ring::open(const poller_options& options, const fork_mark& mark, std::string& why_not) {
    owner_ = std::this_thread::get_id();
    mark_ = &mark;
    io_uring_params parameters{};
    if (const int error = set_up(options, parameters); error != 0) {
        open_error_ = -error;
        why_not = clause("io_uring_setup(2)", error,
                         " (rings may count as locked memory: raise its limit, ulimit -l or "
                         "LimitMEMLOCK=, or run fewer loops)");
        return false;
    }
    // 5.4: one mapping. 5.5: no completion is dropped, and what a submission points to is copied.
    // 5.7: sockets are polled inside instead of blocking a kernel thread each.
    constexpr unsigned needed = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP |
                                IORING_FEAT_SUBMIT_STABLE | IORING_FEAT_FAST_POLL;
    if ((parameters.features & needed) != needed) {
        why_not = "this kernel's io_uring is older than Linux 5.7";
        return false;
    }
    if ((parameters.features & IORING_FEAT_EXT_ARG) == 0) features_ &= ~uring_wait_argument;
    if ((parameters.features & feature_no_iowait) == 0) features_ &= ~uring_no_iowait;
    if (has(uring_no_iowait)) wait_flags_ = enter_no_iowait;
    if (const int error = map(parameters); error != 0) {
        open_error_ = -error;
        why_not = clause("mapping the io_uring", error, " (the limit of address space, ulimit -v)");
        return false;
    }
    if (const int error = mark.error(); error != 0) {
        open_error_ = -error;
        why_not = clause("marking a page for fork(2)", error,
                         " (the limit of address space, ulimit -v)");
        return false;
    }
    if (const char* failed = probe(); failed != nullptr) {
        why_not = failed;
        return false;
    }
    register_descriptor();
    if (const char* failed = try_one_request(); failed != nullptr) {
        why_not = failed;
        return false;
    }
    if (const unsigned asked = std::max(options.ring_entries, 1u); sq_entries_ < asked) {
        why_not = "rings of " + std::to_string(sq_entries_) + " entries instead of " +
                  std::to_string(asked) + ", because locked memory is short (ulimit -l)";
    }
    return true;
}

int uring_ring::set_up(const poller_options& options, io_uring_params& parameters) noexcept {
    features_ = all_features & ~options.disabled_features;
    unsigned entries = std::max(options.ring_entries, 1u);
    unsigned completions =
        options.completion_entries != 0 ? options.completion_entries : 4 * entries;
    std::size_t paused = 0;
    for (std::size_t step = 0;;) {
        // io_uring_setup(2): DEFER_TASKRUN requires SINGLE_ISSUER.
        if (!has(uring_single_issuer)) features_ &= ~uring_defer_taskrun;
        parameters = io_uring_params{};
        parameters.flags = set_up_flags(features_);
        parameters.cq_entries = std::max(completions, entries);
        const int answer = io_uring_setup(entries, &parameters);
        if (answer >= 0) {
            descriptor_ = answer;
            enter_descriptor_ = static_cast<unsigned>(answer);
            return 0;
        }
        if (answer == -ENOMEM && paused < memory_pauses.size()) {
            std::this_thread::sleep_for(memory_pauses[paused++]);
            continue;
        }
        if (answer == -ENOMEM && entries > fewest_entries) {
            entries /= 2;
            completions /= 2;
            continue;
        }
        while (step < set_up_ladder.size() && !has(set_up_ladder[step])) ++step;
        if (answer != -EINVAL || step == set_up_ladder.size()) return answer;
        features_ &= ~set_up_ladder[step];
    }
}

int uring_ring::map(const io_uring_params& parameters) noexcept {
    const io_sqring_offsets& sq = parameters.sq_off;
    const io_cqring_offsets& cq = parameters.cq_off;
    rings_size_ = cq.cqes + parameters.cq_entries * sizeof(io_uring_cqe);
    if (!has(uring_no_sqarray)) {
        rings_size_ = std::max(rings_size_, sq.array + parameters.sq_entries * sizeof(unsigned));
    }
    sqes_size_ = parameters.sq_entries * sizeof(io_uring_sqe);
    rings_ = map_shared(descriptor_, rings_size_, IORING_OFF_SQ_RING);
    if (rings_ == nullptr) return -errno;
    sqes_ = static_cast<io_uring_sqe*>(map_shared(descriptor_, sqes_size_, IORING_OFF_SQES));
    if (sqes_ == nullptr) return -errno;

    sq_head_shared_ = at_offset<unsigned>(rings_, sq.head);
    sq_tail_shared_ = at_offset<unsigned>(rings_, sq.tail);
    sq_flags_ = at_offset<unsigned>(rings_, sq.flags);
    sq_entries_ = parameters.sq_entries;
    sq_mask_ = sq_entries_ - 1;
    if (!has(uring_no_sqarray)) {
        // The index array is never changed again: place i always names entry i.
        unsigned* const indices = at_offset<unsigned>(rings_, sq.array);
        for (unsigned i = 0; i < sq_entries_; ++i) indices[i] = i;
    }
    cq_head_shared_ = at_offset<unsigned>(rings_, cq.head);
    cq_tail_shared_ = at_offset<unsigned>(rings_, cq.tail);
    cqes_ = at_offset<io_uring_cqe>(rings_, cq.cqes);
    cq_mask_ = parameters.cq_entries - 1;
    return 0;
}

/// The name of the missing part, or nullptr.
const char* uring_ring::probe() noexcept {
    constexpr unsigned most = 256;
    alignas(io_uring_probe) std::array<std::byte, sizeof(io_uring_probe) +
                                                      most * sizeof(io_uring_probe_op)> memory{};
    auto* const known = reinterpret_cast<io_uring_probe*>(memory.data());
    if (register_thing(IORING_REGISTER_PROBE, known, most) != 0) {
        return "io_uring_register(2) answered no list of its operations";
    }
    const auto* const ops = reinterpret_cast<const io_uring_probe_op*>(memory.data() +
                                                                       sizeof(io_uring_probe));
    const auto knows = [&](unsigned code) {
        return code <= known->last_op && (ops[code].flags & IO_URING_OP_SUPPORTED) != 0;
    };
    for (const unsigned code : {IORING_OP_NOP, IORING_OP_RECV, IORING_OP_SEND, IORING_OP_RECVMSG,
                                IORING_OP_SENDMSG, IORING_OP_ACCEPT, IORING_OP_CONNECT,
                                IORING_OP_ASYNC_CANCEL, IORING_OP_POLL_ADD, IORING_OP_TIMEOUT,
                                IORING_OP_TIMEOUT_REMOVE}) {
        if (!knows(code)) return "this io_uring lacks an operation that the poller needs";
    }
    // It has no flag of its own; IORING_OP_SOCKET came with the same release, Linux 5.19.
    if (!knows(IORING_OP_SOCKET)) features_ &= ~uring_buffer_ring;
    return nullptr;
}

void uring_ring::register_descriptor() noexcept {
    if (!has(uring_registered_ring)) return;
    io_uring_rsrc_update entry{};
    entry.offset = ~0u;
    entry.data = static_cast<unsigned>(descriptor_);
    if (register_thing(IORING_REGISTER_RING_FDS, &entry, 1) != 1) {
        features_ &= ~uring_registered_ring;
        return;
    }
    enter_descriptor_ = entry.offset;
    enter_flags_ = IORING_ENTER_REGISTERED_RING;
}

/// A filter may let set-up pass and stop what follows: only a request that came back proves it.
const char* uring_ring::try_one_request() noexcept {
    io_uring_sqe* const entry = next_entry();
    entry->opcode = IORING_OP_NOP;
    int answer = -EINTR;
    for (int attempt = 0; attempt < 8 && !completion_waiting(); ++attempt) {
        answer = io_uring_enter2(enter_descriptor_, unsubmitted_after_publishing(), 1,
                                 enter_flags_ | IORING_ENTER_GETEVENTS, nullptr, 8);
        if (answer < 0 && answer != -EINTR) break;
    }
    int result = -EIO;
    reap(1, [&](const io_uring_cqe& done) { result = done.res; });
    return result == 0 ? nullptr : "io_uring was set up, but the first request did not come back";
}

// --- use

io_uring_sqe* uring_ring::next_entry() noexcept {
    check_ours();
    if (sq_tail_ - sq_head_ == sq_entries_) {
        sq_head_ = load(sq_head_shared_);
        if (sq_tail_ - sq_head_ == sq_entries_) return nullptr;
    }
    io_uring_sqe* const entry = &sqes_[sq_tail_ & sq_mask_];
    ++sq_tail_;
    *entry = io_uring_sqe{};
    return entry;
}

unsigned uring_ring::unsubmitted_after_publishing() noexcept {
    std::atomic_ref(*sq_tail_shared_).store(sq_tail_, std::memory_order_release);
    return unsubmitted();
}

/// The kernel would return EEXIST, or, worse, take a registered number for a ring of that thread.
void uring_ring::check_caller() const noexcept {
    check_ours();
    CORO_ASSERT(std::this_thread::get_id() == owner_,
                "an io_uring poller was used from another thread than the one that made it");
}

int uring_ring::enter(unsigned wait_for, const __kernel_timespec* timeout, bool collect) noexcept {
    check_caller();
    const unsigned count = unsubmitted_after_publishing();
    unsigned flags = enter_flags_;
    if (collect || wait_for != 0) flags |= IORING_ENTER_GETEVENTS;
    if (wait_for != 0) flags |= wait_flags_;
    io_uring_getevents_arg argument{};
    void* extra = nullptr;
    std::size_t extra_size = 8;  // _NSIG / 8: io_uring_enter(2) without a signal mask
    if (timeout != nullptr) {
        flags |= IORING_ENTER_EXT_ARG;
        argument.ts = reinterpret_cast<std::uintptr_t>(timeout);
        extra = &argument;
        extra_size = sizeof argument;
    }
    const int answer = io_uring_enter2(enter_descriptor_, count, wait_for, flags,
                                       static_cast<sigset_t*>(extra), extra_size);
    CORO_ASSERT(may_be_tried_again(answer), fatal_sentence(answer));
    return answer;
}

int uring_ring::collect() noexcept {
    check_caller();
    const int answer = io_uring_enter2(enter_descriptor_, 0, 0,
                                       enter_flags_ | IORING_ENTER_GETEVENTS, nullptr, 8);
    CORO_ASSERT(may_be_tried_again(answer), fatal_sentence(answer));
    return answer;
}

int uring_ring::register_thing(unsigned what, const void* argument, unsigned count) noexcept {
    return io_uring_register(static_cast<unsigned>(descriptor_), what, argument, count);
}
}}}  // namespace coro::v0::detail
