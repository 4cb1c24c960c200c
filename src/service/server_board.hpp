// What a server and its control share: the word "paused", and the counts.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>

#include <coro/runtime/event.hpp>
#include <coro/runtime/loop_handle.hpp>
#include <coro/service/server_control.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// Each connection changes the counts two or three times, on the loop on which that happens.
class server_board {
public:
    using count = std::atomic<std::uint64_t>;

    /// The server waits on `changed`, on this loop, as long as this lives.
    class attending {
    public:
        attending(server_board& board, event& changed) : board_(board) {
            const std::lock_guard held(board_.lock_);
            board_.home_.emplace(loop_handle::of_this_loop());
            board_.changed_ = &changed;
            ++board_.attendings_;
        }
        attending(const attending&) = delete;
        attending& operator=(const attending&) = delete;
        ~attending() {
            const std::lock_guard held(board_.lock_);
            board_.changed_ = nullptr;
        }

    private:
        server_board& board_;
    };

    /// The server is told by a message, which may come after its end.
    static void pause(const std::shared_ptr<server_board>& board, bool paused) {
        const std::lock_guard held(board->lock_);
        if (board->paused_ == paused) return;
        if (board->changed_ != nullptr)
            board->home_->post([board, number = board->attendings_]() noexcept {
                board->tell(number);
            });
        board->paused_ = paused;
    }
    [[nodiscard]] bool is_paused() const noexcept { return paused_; }

    /// One server, with its drain: the counts are its own.
    class use {
    public:
        explicit use(server_board& board) noexcept : board_(board) { board_.begin(); }
        use(const use&) = delete;
        use& operator=(const use&) = delete;
        ~use() { board_.end(); }

    private:
        server_board& board_;
    };

    static void add(count& to, std::uint64_t amount = 1) noexcept {
        to.fetch_add(amount, std::memory_order_relaxed);
    }
    [[nodiscard]] server_stats stats() const noexcept;

    count accepted{0}, ended_all{0}, failed{0}, refused{0}, over_address{0};
    std::array<count, net::end_causes> ended{};

private:
    /// Another server that attends now has read `paused_` itself.
    void tell(std::uint64_t number) noexcept {
        const std::lock_guard held(lock_);
        if (changed_ != nullptr && number == attendings_) changed_->set();
    }
    void begin() noexcept {
        const std::lock_guard held(lock_);
        CORO_ASSERT(!in_use_, "a server_control was given to two servers at once");
        in_use_ = true;
        for (count* each : {&ended_all, &accepted, &failed, &refused, &over_address})
            each->store(0, std::memory_order_relaxed);
        for (count& each : ended) each.store(0, std::memory_order_relaxed);
    }
    void end() noexcept {
        const std::lock_guard held(lock_);
        in_use_ = false;
    }

    std::mutex lock_;
    event* changed_ = nullptr;
    std::uint64_t attendings_ = 0;
    bool in_use_ = false;
    std::optional<loop_handle> home_;  ///< of the server that attends, or the last one
    std::atomic<bool> paused_{false};
};

struct server_access {
    static const std::shared_ptr<server_board>& board(server_control& of) noexcept {
        return of.board_;
    }
};

}}}  // namespace coro::v0::detail
