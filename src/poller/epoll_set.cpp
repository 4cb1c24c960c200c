#include "poller/epoll_set.hpp"

#include <sys/epoll.h>
#include <unistd.h>

#include <cerrno>

namespace coro { inline namespace v0 { namespace detail {

int make_epoll_set(int descriptor, unsigned events) noexcept {
    const int set = ::epoll_create1(EPOLL_CLOEXEC);
    if (set < 0) return -errno;
    epoll_event event{};
    event.events = events;  // the same numbers: epoll_ctl(2)
    if (::epoll_ctl(set, EPOLL_CTL_ADD, descriptor, &event) == 0) return set;
    const int error = errno;
    ::close(set);
    return -error;
}

}}}  // namespace coro::v0::detail
