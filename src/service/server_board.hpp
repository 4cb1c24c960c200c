// What a server and its control share: the word "paused", and the counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <mutex>

#include <coro/runtime/event.hpp>
#include <coro/service/server_control.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Each connection changes the counts two or three times, on the loop on which that happens.
class server_board {
public:
    using count = std::atomic<std::uint64_t>;

    /// The server begins, and waits on `changed`; with nullptr it has ended.
    void attend(event* changed) noexcept {
        const std::lock_guard held(lock_);
        changed_ = changed;
    }
    void pause(bool paused) noexcept {
        const std::lock_guard held(lock_);
        if (paused_.exchange(paused) != paused && changed_ != nullptr) changed_->set();
    }
    [[nodiscard]] bool is_paused() const noexcept { return paused_; }

    void begin() noexcept {
        for (count* each : {&accepted, &ended_all, &failed, &refused, &over_address})
            each->store(0, std::memory_order_relaxed);
        for (count& each : ended) each.store(0, std::memory_order_relaxed);
    }
    static void add(count& to, std::uint64_t amount = 1) noexcept {
        to.fetch_add(amount, std::memory_order_relaxed);
    }
    [[nodiscard]] server_stats stats() const noexcept;

    count accepted{0}, ended_all{0}, failed{0}, refused{0}, over_address{0};
    std::array<count, net::end_causes> ended{};

private:
    std::mutex lock_;
    event* changed_ = nullptr;
    std::atomic<bool> paused_{false};
};

struct server_access {
    static server_board& board(server_control& of) noexcept { return *of.board_; }
};

}}}  // namespace coro::v0::detail
