// blocking(): the life of a call between the task that waits and the thread that executes it.
//
// Who owns a job is said by its job_state. Ended first: the news goes to the waiter's loop, which
// owns the job again. Abandoned first: the waiter has gone and the pool frees it.
#include "runtime/blocking_pool.hpp"

#include <algorithm>
#include <cstring>
#include <string>

#include <coro/base/error.hpp>
#include <coro/base/report.hpp>

#include "runtime/loop_team.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

blocking_pool::blocking_pool(world& in, unsigned threads, unsigned queue)
    : world_(in), most_threads_(threads), most_waiting_(queue) {}

blocking_pool::~blocking_pool() {
    CORO_ASSERT(all_->workers.empty(), "the pool of blocking calls went before its threads");
}

bool blocking_pool::submit(blocking_job& job) noexcept {
    if (world_.is_virtual()) {
        job.execute();
        finish(job);
        return true;
    }
    const std::lock_guard lock(all_->guard);
    // One for each idle thread is as good as taken.
    const bool all_busy = all_->waiting >= all_->idle;
    if (all_busy && all_->workers.size() < most_threads_) {
        try {
            auto made = std::make_unique<worker>();
            worker& self = *made;
            all_->workers.push_back(std::move(made));
            ++all_->idle;  // from now on: it takes one as soon as it is there
            try {
                self.running = world_.start_thread("coro-blocking", [all = all_, &self] {
                    work(all, self);
                });
            } catch (...) {
                all_->workers.pop_back();
                --all_->idle;
                throw;
            }
        } catch (const std::exception&) {
            // Those who are there, if there are any, come for it.
        }
    }
    if (all_->workers.empty()) {
        job.threadless_ = true;
        return false;
    }
    if (all_->waiting >= all_->idle && all_->waiting - all_->idle >= most_waiting_) return false;
    job.next_ = nullptr;
    (all_->last != nullptr ? all_->last->next_ : all_->first) = &job;
    all_->last = &job;
    ++all_->waiting;
    all_->work_came.notify_one();
    return true;
}

bool blocking_pool::is_idle() noexcept {
    const std::lock_guard lock(all_->guard);
    return all_->waiting == 0 && all_->idle == all_->workers.size();
}

bool blocking_pool::withdraw(blocking_job& job) noexcept {
    const std::lock_guard lock(all_->guard);
    blocking_job* before = nullptr;
    for (blocking_job* at = all_->first; at != nullptr; before = at, at = at->next_) {
        if (at != &job) continue;
        (before != nullptr ? before->next_ : all_->first) = job.next_;
        if (all_->last == &job) all_->last = before;
        --all_->waiting;
        return true;
    }
    return false;
}

void blocking_pool::work(const std::shared_ptr<shared>& all, worker& self) noexcept {
    std::unique_lock lock(all->guard);
    for (;;) {
        all->work_came.wait(lock, [&] { return all->first != nullptr || all->ending; });
        --all->idle;
        blocking_job* job = all->first;
        if (job == nullptr) break;
        all->first = job->next_;
        if (all->first == nullptr) all->last = nullptr;
        --all->waiting;
        self.task_name = job->task_name_;
        self.site = job->site_;
        lock.unlock();
        job->execute();  // it has begun: nobody could withdraw it any more
        finish(*job);
        lock.lock();
        ++all->idle;
    }
    self.ended = true;
    all->one_ended.notify_all();
}

void blocking_pool::finish(blocking_job& job) noexcept {
    detail::loop* home = job.home_;
    posted& news = job.arrival_;
    if (!job.state_.ends()) {
        sanitizer_takes(&job);
        delete &job;
        return;
    }
    home->post_foreign(news);
}

void blocking_pool::end(duration limit) noexcept {
    std::vector<std::unique_ptr<worker>> left;
    {
        std::unique_lock lock(all_->guard);
        all_->ending = true;
        all_->work_came.notify_all();
        const auto all_ended = [this] {
            for (const auto& one : all_->workers)
                if (!one->ended) return false;
            return true;
        };
        constexpr duration for_ever = std::chrono::hours(24 * 365);
        all_->one_ended.wait_for(lock, std::min(limit, for_ever), all_ended);
        for (const auto& one : all_->workers) {
            if (one->ended) continue;
            const std::string text =
                "a call that was left behind still runs, and so does its thread: it was made at " +
                std::string(one->site.file_name()) + ":" + std::to_string(one->site.line());
            report({.level = severity::warning, .verb = "blocking", .endpoint = {}, .error = {},
                    .text = text,
                    .task = one->task_name.data()});
        }
        left.swap(all_->workers);
        // A thread that is left alone goes on to use its record, which stays with what they share.
        for (auto& one : left) {
            if (one->ended) continue;
            one->running.detach();
            all_->workers.push_back(std::move(one));
        }
    }
    for (auto& one : left)
        if (one != nullptr) one->running.join();
    // The record of who never returns is kept alive by its thread; the pool forgets it.
    if (!all_->workers.empty()) all_ = std::make_shared<shared>();
}

// --- the side of the waiter

bool blocking_job::begin(wait_point& waiter, detail::strand& strand,
                         void (*on_end)(wait_point& waiter) noexcept) {
    scheduler& loop = scheduler_of(*strand.loop);
    waiter_ = &waiter;
    on_end_ = on_end;
    home_ = strand.loop;
    // A copy: the call may outlive its task, and so the name.
    if (strand.name != nullptr)
        std::strncpy(task_name_.data(), strand.name, task_name_.size() - 1);
    if (strand.leaf != nullptr) site_ = strand.leaf->awaiting;
    arrival_.of = this;
    arrival_.run = [](posted& self) noexcept {
        blocking_job& job = message_of<blocking_job>::owner(self);
        job.on_end_(*job.waiter_);
    };
    pool_ = &loop.team->blocking();
    if (pool_->submit(*this)) return true;
    refused = true;
    return false;
}

bool blocking_job::abandon() noexcept {
    if (pool_->withdraw(*this)) {
        // The waiter lets go of it as of one that runs; but nobody else will free it.
        delete this;
        return true;
    }
    sanitizer_gives(this);
    return state_.is_abandoned();
}

void blocking_job::throw_refused() const {
    const std::string threads =
        "run_options::blocking_threads = " + std::to_string(pool_->most_threads_);
    std::string text;
    if (!threadless_) {
        const std::string most = std::to_string(pool_->most_waiting_);
        text = "(" + most + " calls wait already: raise run_options::blocking_queue = " + most +
               ", or " + threads + ")";
    } else if (pool_->most_threads_ == 0) {
        text = "(there is no thread to call it: raise " + threads + ")";
    } else {
        text = "(the system starts no thread for it, and none is there yet, " + threads +
               ": raise the limits of the process, ulimit -u and -v)";
    }
    throw io_error(errc::limit_exceeded, "blocking", error_text{text});
}

}}}  // namespace coro::v0::detail
