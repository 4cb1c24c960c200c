// The limit of open files.
#include "runtime/process.hpp"

#include <mutex>

#include <pthread.h>
#include <sys/resource.h>

namespace coro::inline v0::detail {
namespace {

rlimit limit_before{};

void restore_in_child() noexcept { ::setrlimit(RLIMIT_NOFILE, &limit_before); }

}  // namespace

void raise_descriptor_limit() noexcept {
    static std::once_flag once;
    std::call_once(once, [] {
        if (::getrlimit(RLIMIT_NOFILE, &limit_before) != 0) return;
        if (limit_before.rlim_cur >= limit_before.rlim_max) return;
        rlimit raised = limit_before;
        raised.rlim_cur = raised.rlim_max;
        if (::setrlimit(RLIMIT_NOFILE, &raised) != 0) return;  // stays as it was: no harm
        ::pthread_atfork(nullptr, nullptr, &restore_in_child);
    });
}

std::size_t descriptor_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return static_cast<std::size_t>(limit.rlim_cur);
}

}  // namespace coro::inline v0::detail
