// Threads, which come from the waist like everything else of the operating system.
#include "runtime/thread.hpp"

#include <pthread.h>

#include <cstring>
#include <thread>
#include <utility>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

struct thread::native {
    std::thread running;
};

thread::thread() noexcept = default;
thread::thread(thread&&) noexcept = default;
thread& thread::operator=(thread&& other) noexcept {
    CORO_ASSERT(native_ == nullptr, "a thread was replaced before it was joined");
    native_ = std::move(other.native_);
    return *this;
}
thread::~thread() {
    CORO_ASSERT(native_ == nullptr, "a thread was forgotten: join or detach it");
}

thread thread::start(const char* name, std::function<void()> body) {
    thread started;
    started.native_ = std::make_unique<native>();
    try {
        started.native_->running = std::thread(std::move(body));
    } catch (...) {
        started.native_.reset();
        throw;
    }
    char shown[16] = {};
    std::strncpy(shown, name, sizeof shown - 1);
    ::pthread_setname_np(started.native_->running.native_handle(), shown);
    return started;
}

void thread::join() noexcept {
    native_->running.join();
    native_.reset();
}

void thread::detach() noexcept {
    native_->running.detach();
    native_.reset();
}

}}}  // namespace coro::v0::detail
