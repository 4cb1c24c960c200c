// Threads, which come from the waist like everything else of the operating system.
#include "runtime/thread.hpp"

#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstring>
#include <system_error>
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

bell::bell() : descriptor_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (descriptor_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
}

bell::~bell() { ::close(descriptor_); }

void bell::ring() noexcept {
    const std::uint64_t one = 1;
    // It fails when the count is full: then it rings already.
    [[maybe_unused]] const auto written = ::write(descriptor_, &one, sizeof one);
}

void bell::wait(duration span) noexcept {
    pollfd rung{.fd = descriptor_, .events = POLLIN, .revents = 0};
    int milliseconds = -1;
    if (span != duration::max()) {
        const auto whole = std::chrono::ceil<std::chrono::milliseconds>(
            std::clamp(span, duration::zero(), duration(std::chrono::hours(24))));
        milliseconds = static_cast<int>(whole.count());
    }
    if (::poll(&rung, 1, milliseconds) != 1) return;
    std::uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(descriptor_, &count, sizeof count);
}

}}}  // namespace coro::v0::detail
