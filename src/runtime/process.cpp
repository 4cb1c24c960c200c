// The limit of open files, and the number of a thread.
#include "runtime/process.hpp"

#include <mutex>
#include <utility>

#include <pthread.h>
#include <sys/resource.h>
#include <unistd.h>

#include <coro/runtime/stats.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The limit of before, while it is raised.
struct raised_limit {
    std::mutex guard;
    bool raised = false;
    rlimit before{};
};
constinit raised_limit limit_of_files;

/// A child has the limit of before, and its own run() raises it again. The lock is held across the
/// fork, so that no other thread is in the midst of it.
[[maybe_unused]] const int limit_watches_fork = ::pthread_atfork(
    [] { limit_of_files.guard.lock(); }, [] { limit_of_files.guard.unlock(); },
    [] {
        if (std::exchange(limit_of_files.raised, false))
            ::setrlimit(RLIMIT_NOFILE, &limit_of_files.before);
        limit_of_files.guard.unlock();
    });

}  // namespace

void raise_descriptor_limit() noexcept {
    const std::lock_guard lock(limit_of_files.guard);
    if (limit_of_files.raised) return;
    rlimit now{};
    if (::getrlimit(RLIMIT_NOFILE, &now) != 0 || now.rlim_cur >= now.rlim_max) return;
    rlimit raised = now;
    raised.rlim_cur = raised.rlim_max;
    if (::setrlimit(RLIMIT_NOFILE, &raised) != 0) return;  // stays as it was: no harm
    limit_of_files.before = now;
    limit_of_files.raised = true;
}

std::int32_t this_thread_id() noexcept { return ::gettid(); }
std::int32_t this_process_id() noexcept { return ::getpid(); }

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 {

std::size_t open_file_limit() noexcept {
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 0;
    return static_cast<std::size_t>(limit.rlim_cur);
}

}}  // namespace coro::v0
