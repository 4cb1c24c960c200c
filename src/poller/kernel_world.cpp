// Clock, chance and threads of the kernel.
#include "poller/kernel_world.hpp"

#include <sys/random.h>

#include <cerrno>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "poller/posix_sockets.hpp"

namespace coro { inline namespace v0 { namespace detail {

time_point kernel_world::now() noexcept { return monotonic_now(); }

void kernel_world::random(void* into, std::size_t size) noexcept {
    auto* at = static_cast<std::byte*>(into);
    while (size > 0) {
        const ssize_t got = ::getrandom(at, size, 0);
        if (got < 0) {
            CORO_ASSERT(errno == EINTR, "getrandom(2) failed: the kernel gives no random bytes");
            continue;
        }
        at += got;
        size -= static_cast<std::size_t>(got);
    }
}

thread kernel_world::start_thread(const char* name, std::function<void()> body) {
    return thread::start(name, std::move(body));
}

}}}  // namespace coro::v0::detail
