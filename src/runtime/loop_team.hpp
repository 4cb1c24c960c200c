// The loops of one run(). Loop 0 is on the thread that called it, each other one on a thread of its
// own. In a virtual world and for tests, all of them are on one thread, which turns them in turn.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include <coro/runtime/run.hpp>

#include "core/live_runs.hpp"
#include "runtime/blocking_pool.hpp"
#include "runtime/lookout.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/stall_watch.hpp"
#include "runtime/thread.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Makes `loop` the running loop of this thread until the end of the block.
class loop_entry {
public:
    explicit loop_entry(detail::loop* loop) noexcept : before_(current) { current = loop; }
    loop_entry(const loop_entry&) = delete;
    loop_entry& operator=(const loop_entry&) = delete;
    ~loop_entry() { current = before_; }

private:
    detail::loop* before_;
};

class loop_team {
public:
    /// Makes the world and loop 0, and starts nothing. Throws: io_error when there is no poller.
    explicit loop_team(const run_options& options);
    loop_team(const loop_team&) = delete;
    loop_team& operator=(const loop_team&) = delete;
    /// Requires: stop() was called, or nothing was started; the thread of loop 0.
    ~loop_team();

    /// Starts the other loops and returns when all of them turn. Throws: what making a loop throws;
    /// then none runs.
    void start();
    /// Ends all loops and the threads of all but loop 0, which is the running one. Requires: no
    /// task is alive but those that foreign threads wait for, which are cancelled.
    void stop() noexcept;
    /// A loop refuses foreign tasks and has none left; told by each loop once.
    void loop_is_quiet() noexcept;

    [[nodiscard]] unsigned size() const noexcept { return static_cast<unsigned>(loops_.size()); }
    [[nodiscard]] scheduler& at(unsigned index) noexcept { return *loops_[index]; }

    /// Whether all loops are on one thread.
    [[nodiscard]] bool is_stepped() const noexcept { return stepped_; }
    [[nodiscard]] detail::world& world() noexcept { return *world_; }
    [[nodiscard]] stall_watch& stalls() noexcept { return *stalls_; }
    [[nodiscard]] blocking_pool& blocking() noexcept { return blocking_; }

    /// Passes a stop request, or a cancellation, of the run on to the root scopes of the other
    /// loops. Allocates nothing.
    void pass_on_stop() noexcept;
    void pass_on_cancel() noexcept;

    // --- stepping all loops from one thread

    /// As start(), without threads: each loop turns when it is told to, and never sleeps.
    void start_stepped();
    void step(unsigned index) noexcept { turn(index, false); }
    /// In a virtual world: turns the next loop that has work. When none has, the one that waits for
    /// the nearest deadline sleeps until then, or until something happens to any of them.
    void turn_next() noexcept;

private:
    struct message : posted {
        scheduler* to = nullptr;
    };
    /// What a loop is told; each at most once.
    struct messages {
        message stop, cancel, refuse, end;
        message reorder;  ///< where a seed decides; before each turn
        bool reorder_sent = false;
        bool stop_sent = false;
        bool cancel_sent = false;
    };
    enum class phase : std::uint8_t { starting, running, given_up };

    scheduler* make_loop(unsigned index, std::string* no_ring);
    void turn(unsigned index, bool may_sleep) noexcept;
    bool start_all();
    void fall_back();
    void report_choice() const noexcept;
    void run_loop(unsigned index) noexcept;
    bool arrive(unsigned index, scheduler* made, std::string&& no_ring,
                std::exception_ptr error) noexcept;
    void send(message& what, unsigned to, void (*run)(posted& self) noexcept) noexcept;
    void stop_stepped() noexcept;
    void run_virtual_end() noexcept;
    static void wind_down(scheduler& mine) noexcept;
    void wait_until_all_have_stopped() noexcept;
    void finish_loop(unsigned index) noexcept;
    void join_all() noexcept;

    const run_options options_;
    task_hooks hooks_{};  ///< those of options_.observer
    const run_registration run_;
    const std::unique_ptr<detail::world> world_;
    std::vector<std::unique_ptr<scheduler>> loops_;
    std::vector<std::unique_ptr<messages>> messages_;  ///< by index of the loop
    std::unique_ptr<lookout> lookout_;  ///< nullptr: the options ask for nothing that it does
    std::vector<thread> threads_;
    blocking_pool blocking_;
    std::unique_ptr<stall_watch> stalls_;  ///< made with the team
    bool stepped_ = false;
    unsigned turned_last_ = 0;  ///< stepped: that loop

    // --- one choice of the poller for all loops; set before there are threads
    std::string small_because_;   ///< not empty: all rings are small, for this reason
    std::string epoll_because_;   ///< not empty: all loops run on epoll, for this reason
    bool may_fall_back_ = false;  ///< loop 0 has io_uring, and nobody insists on it
    std::atomic<unsigned> quiet_{0};

    std::mutex guard_;
    std::condition_variable changed_;
    phase phase_ = phase::starting;
    std::size_t arrived_ = 0;  ///< threads whose loop was made, or could not be
    std::size_t stopped_ = 0;  ///< loops, loop 0 included, that post no more
    std::exception_ptr failed_;
    std::size_t without_ring_ = 0;  ///< loops to which io_uring was refused
    std::string no_ring_;           ///< why, for one of them
};

}}}  // namespace coro::v0::detail
