// Calls and tasks that threads hand to a loop.
#pragma once

#include <memory>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>

namespace coro { inline namespace v0 {
class loop_handle;
}}  // namespace coro::v0

namespace coro { inline namespace v0 { namespace detail {

struct loop_gate;

/// Work that owns what it calls.
template <typename Work>
class posted_call final : public posted {
public:
    explicit posted_call(Work&& work) : work_(std::move(work)) {
        run = [](posted& self) noexcept {
            auto* call = static_cast<posted_call*>(&self);
            call->work_();
            call->destroy();
        };
    }
    static posted_call* make(Work&& work) {
        void* memory = allocate_block(sizeof(posted_call));
        try {
            return ::new (memory) posted_call(std::move(work));
        } catch (...) {
            free_block(memory, sizeof(posted_call));
            throw;
        }
    }
    void destroy() noexcept {
        this->~posted_call();
        free_block(this, sizeof(posted_call));
    }

private:
    Work work_;
};

/// A task of which a thread that is no loop waits for the end.
class CORO_EXPORT foreign_run {
public:
    foreign_run(task_promise_base& root, std::coroutine_handle<> frame);
    foreign_run(const foreign_run&) = delete;
    foreign_run& operator=(const foreign_run&) = delete;
    ~foreign_run();
    /// Blocks until the task has ended. Throws: io_error (errc::closed) when the loop has ended, or
    /// ended this task by its own end.
    void run_on(const loop_handle& where);

private:
    struct state;
    std::unique_ptr<state> state_;
};

}}}  // namespace coro::v0::detail
