// The completion world: the waist over io_uring(7).
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "poller/posix_sockets.hpp"
#include "poller/slice_cut.hpp"
#include "poller/uring_buffers.hpp"
#include "poller/uring_ring.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// A poller over io_uring, or nullptr, in `why_not` a clause that says what failed, and in `error`
/// the errno. With a poller `why_not` may say what it goes without. Call it on the thread that will
/// run the loop.
std::unique_ptr<poller> make_uring_poller(const poller_options& options, std::string& why_not,
                                          int* error = nullptr);

/// Queues requests, enters the kernel once a turn; see the top of the .cpp.
class uring_poller final : public posix_sockets {
public:
    explicit uring_poller(const poller_options& options);
    ~uring_poller() override;
    /// False, and in `why_not` a clause, when this system has no io_uring for us.
    bool open(std::string& why_not);
    /// After an open() that failed: the errno.
    [[nodiscard]] int open_error() const noexcept { return open_error_; }
    /// Bit set of uring_feature in use.
    [[nodiscard]] std::uint32_t features() const noexcept;

    [[nodiscard]] std::string_view name() const noexcept override { return "io_uring"; }
    [[nodiscard]] bool submit(operation& op) noexcept override;
    void cancel(operation& op) noexcept override;
    void wait(time_point deadline, operation_list& completed) noexcept override;
    [[nodiscard]] bool has_more() const noexcept override;
    void wake() noexcept override;
    void return_lease(std::uint32_t lease_id, void* data, bool from_heap) noexcept override;
    std::size_t lend(operation& op) noexcept override;

protected:
    bool begin_close(socket_slot& slot) noexcept override;
    int forget(socket_slot& slot) noexcept override;

private:
    /// recvmsg(2) writes back into its header when it completes, so the header lives as long as the
    /// request; the awaiter has no room for one.
    struct message_record {
        msghdr header{};
        slice_cut cut;
        message_record* next_free = nullptr;
    };

    // --- the life of an operation
    bool answer(operation& op, std::int32_t result) noexcept;
    bool submit_elsewhere(operation& op) noexcept;
    bool arm(socket_slot& slot, operation& op) noexcept;
    void fill(io_uring_sqe& entry, operation& op) noexcept;
    [[nodiscard]] bool begin_otherwise(socket_slot& slot, operation& op) noexcept;
    static void fill_message(io_uring_sqe& entry, operation& op) noexcept;
    void fill_leased(io_uring_sqe& entry, operation& op) noexcept;
    void settle(operation& op, std::int32_t result) noexcept;
    void deliver(operation& op) noexcept;
    void postpone(operation& op, std::uint8_t why) noexcept;
    void withdraw(operation& op) noexcept;
    void abandon(operation& op) noexcept;
    void free_if_left(socket_slot& slot) noexcept;

    // --- what the kernel says
    void dispatch(const io_uring_cqe& done) noexcept;
    void on_operation(operation& op, std::int32_t result, std::uint32_t flags) noexcept;
    void on_connected(socket_slot& slot, const operation& op) noexcept;
    void on_half_closed(socket_slot& slot, operation& op) noexcept;
    void on_full_backlog(socket_slot& slot, operation& op) noexcept;
    void retry_connects() noexcept;

    // --- the turn (uring_turn.cpp)
    void on_wake(std::int32_t result, bool ended) noexcept;
    io_uring_sqe* take_entry() noexcept;
    io_uring_sqe* take_internal_entry(std::uint64_t user_data) noexcept;
    void reap() noexcept;
    void rearm() noexcept;
    void arm_wake() noexcept;
    void enter_turn(time_point deadline) noexcept;
    [[nodiscard]] bool may_wait() const noexcept;
    [[nodiscard]] bool arm_timeout(time_point deadline, duration left) noexcept;
    int enter(unsigned wait_for, const __kernel_timespec* timeout, bool collects) noexcept;
    void collect() noexcept;
    bool queue_cancel(std::uint64_t user_data) noexcept;

    // --- datagrams (uring_datagram.cpp)
    void fill_datagram(io_uring_sqe& entry, operation& op) noexcept;
    static void received(operation& op) noexcept;

    // --- accept (uring_accept.cpp)
    [[nodiscard]] bool accept_now(socket_slot& listener, operation& op) noexcept;
    void accepted(socket_slot& listener, operation& op, int descriptor) noexcept;
    static compact_address& room_for_peer(socket_slot& place) noexcept;

    // --- leases (uring_leases.cpp)
    void on_lease(socket_slot& slot, operation& op, std::int32_t result,
                  std::uint32_t flags) noexcept;
    void on_readable(socket_slot& slot, operation& op) noexcept;
    bool take_lease(lease& out) noexcept;

    // --- what an operation is given for its time in the kernel
    message_record* take_message() noexcept;
    void give_back(operation& op) noexcept;

    uring_ring ring_;
    operation_list* out_ = nullptr;   ///< where completed operations go while wait() runs
    std::uint64_t completed_before_ = 0;  ///< counters.completed when wait() began
    operation_list ready_;            ///< settled outside of wait(); completed by the next one
    std::uint32_t internal_ = 0;      ///< requests in the kernel that belong to no operation
    operation* postponed_ = nullptr;  ///< they wait for an entry; linked through `next`
    operation** postponed_tail_ = &postponed_;
    /// Connects to local listeners that were full; those that were cancelled since are skipped.
    std::vector<detail::handle> refused_;
    time_point retry_at_{};  ///< when they are asked for again, unless there are none
    bool woken_ = false;
    bool wake_armed_ = false;
    bool wake_multishot_ = true;
    int wake_descriptor_ = -1;
    int open_error_ = 0;

    uring_buffers buffers_;
    message_record* free_messages_ = nullptr;
    std::vector<std::unique_ptr<message_record[]>> messages_;

    // Without uring_wait_argument: the one timeout request.
    bool timeout_armed_ = false;
    std::uint64_t timeout_number_ = 0;
    time_point timeout_deadline_{};
    __kernel_timespec timeout_memory_{};
};

}}}  // namespace coro::v0::detail
