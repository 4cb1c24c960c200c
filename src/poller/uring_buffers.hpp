// The pool of lease buffers: a provided buffer ring that the kernel takes from when bytes have
// come, or, without that feature, a free list that the poller takes from at that moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "poller/reserved_pages.hpp"
#include "poller/uring_ring.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// It begins small, because a ring of buffers walks through all of its memory and what does not fit
/// the cache costs more than what it saves, and doubles each time that it is found empty. The
/// addresses of all that it may become are reserved at once; memory comes as buffers are used.
class uring_buffers {
public:
    static constexpr std::uint16_t group = 0;

    uring_buffers() = default;
    uring_buffers(const uring_buffers&) = delete;
    uring_buffers& operator=(const uring_buffers&) = delete;

    /// False without memory. Falls back to the free list when the kernel refuses the ring.
    bool open(uring_ring& ring, const poller_options& options) noexcept;
    /// Twice as many buffers; false when they are as many as they may become.
    bool grow() noexcept;

    /// Whether a receive may ask the kernel to choose a buffer (IOSQE_BUFFER_SELECT).
    [[nodiscard]] bool kernel_chooses() const noexcept { return kernel_chooses_; }
    /// Buffers that are not out, as far as the completions that were read tell.
    [[nodiscard]] unsigned available() const noexcept { return available_; }
    [[nodiscard]] std::size_t bytes() const noexcept { return bytes_; }
    [[nodiscard]] std::byte* at(std::uint32_t id) const noexcept { return memory_.at(id * bytes_); }

    /// The kernel says that it has chosen `id`.
    void taken(std::uint32_t id) noexcept;
    /// Takes one. Requires: !kernel_chooses(), available() > 0.
    std::uint32_t take() noexcept;
    /// Puts one back, for the next receive.
    void give_back(std::uint32_t id) noexcept;

private:
    bool provide_ring(uring_ring& ring) noexcept;
    void add(unsigned up_to) noexcept;

    bool kernel_chooses_ = false;
    unsigned available_ = 0;
    unsigned count_ = 0;
    unsigned most_ = 0;
    std::size_t bytes_ = 0;
    reserved_pages memory_;
    reserved_pages entries_;  ///< shared with the kernel: io_uring_buf[], see uring_abi.hpp
    std::uint16_t tail_ = 0;
    std::uint16_t mask_ = 0;
    std::vector<std::uint32_t> free_;  ///< last in, first out: the warm one first
    std::vector<bool> out_;
};

}}}  // namespace coro::v0::detail
