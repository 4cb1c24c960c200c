// The ring under the io_uring yardsticks: set-up, submission queue, one enter per turn.
//
// Only what an echo needs, and in the form that measures best: one issuer, deferred task work,
// a registered ring descriptor, everything queued and handed over by a single io_uring_enter that
// also waits for the next completion.
#pragma once

#include "common/failure.hpp"
#include "common/server.hpp"

#include <liburing.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstdio>

namespace perf {

/// What a completion belongs to: a pointer with the operation's kind in its low bits.
enum class op_kind : std::uint64_t { receive, send, accept, pause, ignored };
inline constexpr std::uint64_t kind_mask = 7;

inline std::uint64_t tagged(const void* owner, op_kind kind) {
    return reinterpret_cast<std::uint64_t>(owner) | static_cast<std::uint64_t>(kind);
}

inline op_kind kind_of(const io_uring_cqe& cqe) {
    return static_cast<op_kind>(cqe.user_data & kind_mask);
}

template <typename Owner>
Owner* owner_of(const io_uring_cqe& cqe) {
    static_assert(alignof(Owner) > kind_mask, "the low bits of the address carry the kind");
    return reinterpret_cast<Owner*>(cqe.user_data & ~kind_mask);
}

class uring_ring {
public:
    uring_ring() {
        constexpr unsigned common =
            IORING_SETUP_SUBMIT_ALL | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        constexpr unsigned best =
            IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_COOP_TASKRUN;
        int result = open_with(common | best);
        if (result == -EINVAL) {
            std::fprintf(stderr, "%s: this kernel lacks deferred task work; expect worse figures\n",
                         program_name().c_str());
            result = open_with(common);
        }
        if (result < 0) {
            fail_errno("set up the ring", -result,
                       "allow io_uring (seccomp, kernel.io_uring_disabled) or use epoll_echo");
        }
        // Saves the descriptor look-up of each enter; worth having, not worth failing for.
        io_uring_register_ring_fd(&ring_);
    }

    uring_ring(const uring_ring&) = delete;
    uring_ring& operator=(const uring_ring&) = delete;

    /// A free submission entry; a full queue is handed to the kernel first.
    io_uring_sqe* entry() {
        for (int attempt = 0; attempt < 1000; ++attempt) {
            if (io_uring_sqe* sqe = io_uring_get_sqe(&ring_)) return sqe;
            check(io_uring_submit(&ring_));
        }
        fail("submit to the ring: the kernel takes no entries; report this, it should not happen");
    }

    /// Submits all that is queued, waits for a completion, hands each one to `handle`.
    /// The completion queue is released once at the end of the batch.
    template <typename Handler>
    void turn(Handler&& handle) {
        check(io_uring_submit_and_wait(&ring_, 1));
        unsigned head = 0;
        unsigned taken = 0;
        io_uring_cqe* cqe = nullptr;
        io_uring_for_each_cqe(&ring_, head, cqe) {
            handle(*cqe);
            ++taken;
        }
        io_uring_cq_advance(&ring_, taken);
    }

    io_uring* raw() { return &ring_; }

private:
    int open_with(unsigned flags) {
        io_uring_params parameters{};
        parameters.flags = flags;
        parameters.cq_entries = 4 * submission_entries;
        return io_uring_queue_init_params(submission_entries, &ring_, &parameters);
    }

    /// EBUSY and EAGAIN mean that completions must be reaped first, which the caller does next.
    static void check(int result) {
        if (result >= 0 || result == -EINTR || result == -EBUSY || result == -EAGAIN) return;
        fail_errno("enter the ring", -result, "report this; it should not happen");
    }

    static constexpr unsigned submission_entries = 2048;
    io_uring ring_{};
};

/// A multishot accept that is re-armed when the kernel ends it, after a pause when descriptors or
/// memory have run out.
class uring_acceptor {
public:
    uring_acceptor(uring_ring& ring, int listener) : ring_(ring), listener_(listener) { arm(); }

    /// The descriptor of a new connection, or -1. Left blocking on purpose: on a non-blocking one
    /// the ring answers EAGAIN instead of waiting for data.
    int accepted(const io_uring_cqe& cqe) {
        if ((cqe.flags & IORING_CQE_F_MORE) == 0) {
            if (cqe.res < 0 && is_shortage(-cqe.res))
                pause();
            else
                arm();
        }
        return cqe.res;
    }

    void arm() {
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_multishot_accept(sqe, listener_, nullptr, nullptr, SOCK_CLOEXEC);
        sqe->user_data = tagged(nullptr, op_kind::accept);
    }

private:
    void pause() {
        io_uring_sqe* sqe = ring_.entry();
        io_uring_prep_timeout(sqe, &delay_, 0, 0);
        sqe->user_data = tagged(nullptr, op_kind::pause);
    }

    uring_ring& ring_;
    int listener_;
    __kernel_timespec delay_{.tv_sec = 0, .tv_nsec = 100'000'000};
};

/// Closes through the ring: in the same enter as everything else, and silent when it succeeds.
inline void queue_close(uring_ring& ring, int fd) {
    io_uring_sqe* sqe = ring.entry();
    io_uring_prep_close(sqe, fd);
    sqe->flags |= IOSQE_CQE_SKIP_SUCCESS;
    sqe->user_data = tagged(nullptr, op_kind::ignored);
}

}  // namespace perf
