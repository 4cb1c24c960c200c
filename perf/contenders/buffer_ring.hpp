// Receive buffers that the kernel picks from (a provided buffer ring), with queues over them.
//
// The kernel walks through all of the ring's memory, so its size is chosen by cache, not by the
// number of connections: 128 buffers of 16 KiB are 2 MiB. A buffer taken by a receive waits in its
// connection's queue until it is sent; the links live here, beside the buffer, so that an idle
// connection owns nothing.
#pragma once

#include "common/failure.hpp"

#include <liburing.h>
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>

namespace perf {

/// First in, first out, of buffers waiting to be sent.
struct buffer_queue {
    std::uint16_t first = 0;  // meaningless when count is 0, as is last
    std::uint16_t last = 0;
    std::uint16_t count = 0;
};

class buffer_ring {
public:
    static constexpr std::uint16_t group = 0;
    static constexpr std::uint16_t buffers = 128;  // a power of two, as the kernel requires

    buffer_ring(io_uring* ring, std::size_t buffer_bytes) : buffer_bytes_(buffer_bytes) {
        // Cast by hand: in C++ the `bufs` member of the kernel's struct lies at the wrong offset.
        entries_ = static_cast<io_uring_buf*>(map(buffers * sizeof(io_uring_buf)));
        memory_ = static_cast<std::byte*>(map(buffers * buffer_bytes_));
        io_uring_buf_reg request{};
        request.ring_addr = reinterpret_cast<std::uint64_t>(entries_);
        request.ring_entries = buffers;
        request.bgid = group;
        if (const int result = io_uring_register_buf_ring(ring, &request, 0); result < 0) {
            fail_errno("register the buffer ring", -result, "leave out --multishot (Linux 5.19)");
        }
        for (std::uint16_t id = 0; id < buffers; ++id)
            give_back(id);
        publish();
    }

    std::span<const std::byte> bytes(std::uint16_t id) const {
        return {memory_ + id * buffer_bytes_, length_[id]};
    }

    std::uint16_t next(std::uint16_t id) const { return next_[id]; }

    void push(buffer_queue& queue, std::uint16_t id, std::size_t length) {
        length_[id] = static_cast<std::uint32_t>(length);
        if (queue.count == 0)
            queue.first = id;
        else
            next_[queue.last] = id;
        queue.last = id;
        ++queue.count;
    }

    void pop(buffer_queue& queue) {
        give_back(queue.first);
        queue.first = next_[queue.first];
        --queue.count;
    }

    void give_back(std::uint16_t id) {
        io_uring_buf& entry = entries_[tail_ % buffers];
        entry.addr = reinterpret_cast<std::uint64_t>(memory_ + id * buffer_bytes_);
        entry.len = static_cast<std::uint32_t>(buffer_bytes_);
        entry.bid = id;  // the neighbour `resv` is the ring's tail in entry 0: not touched here
        ++tail_;
    }

    /// Shows the kernel what came back since the last call; once per turn is enough.
    void publish() { std::atomic_ref(entries_[0].resv).store(tail_, std::memory_order_release); }

private:
    static void* map(std::size_t bytes) {
        void* at = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (at == MAP_FAILED) fail_errno("map the receive buffers", errno, "give less --buffer");
        return at;
    }

    std::size_t buffer_bytes_;
    io_uring_buf* entries_ = nullptr;
    std::byte* memory_ = nullptr;
    std::uint16_t tail_ = 0;
    std::array<std::uint16_t, buffers> next_{};
    std::array<std::uint32_t, buffers> length_{};
};

}  // namespace perf
