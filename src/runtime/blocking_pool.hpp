// The threads of a run that do what must not be done on a loop.
#pragma once

#include <array>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <source_location>
#include <vector>

#include <coro/base/time.hpp>
#include <coro/runtime/blocking.hpp>

#include "runtime/thread.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// Bounded: threads are started when work waits and none is idle. What the threads share outlives
/// the pool, because a call that never returns may outlive the run. A virtual world has no threads:
/// there the thread of the loops makes each call at once, and its end is posted as elsewhere.
class blocking_pool {
public:
    /// Throws: std::bad_alloc.
    blocking_pool(world& in, unsigned threads, unsigned queue);
    blocking_pool(const blocking_pool&) = delete;
    blocking_pool& operator=(const blocking_pool&) = delete;
    ~blocking_pool();

    /// False: the queue is full, or there is no thread and none to be had.
    bool submit(blocking_job& job) noexcept;
    /// Takes a job out of the queue; false if it has begun.
    bool withdraw(blocking_job& job) noexcept;
    /// No call waits or runs, and the ends of all have been posted. Any thread.
    [[nodiscard]] bool is_idle() noexcept;
    /// Waits up to `limit` for calls that were left behind, then reports each that still runs and
    /// leaves its thread alone. Requires: nothing waits in the queue.
    void end(duration limit) noexcept;

private:
    friend class blocking_job;
    struct worker {
        thread running;
        bool ended = false;
        std::array<char, 32> task_name{};  ///< of the job
        std::source_location site;
    };
    struct shared {
        std::mutex guard;
        std::condition_variable work_came;
        std::condition_variable one_ended;
        blocking_job* first = nullptr;
        blocking_job* last = nullptr;
        unsigned waiting = 0;
        unsigned idle = 0;
        bool ending = false;
        std::vector<std::unique_ptr<worker>> workers;
    };
    static void work(const std::shared_ptr<shared>& all, worker& self) noexcept;
    static void finish(blocking_job& job) noexcept;

    world& world_;
    const unsigned most_threads_;
    const unsigned most_waiting_;
    std::shared_ptr<shared> all_ = std::make_shared<shared>();
};

}}}  // namespace coro::v0::detail
