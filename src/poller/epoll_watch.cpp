// Waiting for readiness alone, on a descriptor of the program's: each wait registers, and takes the
// registration back before it completes, because the owner may close or replace the descriptor.
//
// poll(2) is asked first: a wait that finds something costs that call alone, and a regular file,
// which epoll refuses, is always found ready.
#include "poller/epoll_poller.hpp"

#include <fcntl.h>
#include <poll.h>

#include <cerrno>

#include "poller/epoll_state.hpp"

namespace coro { inline namespace v0 { namespace detail {

using namespace epoll;

namespace {

short events_of(opcode code) noexcept { return code == opcode::poll_receive ? POLLIN : POLLOUT; }

/// 1 when it is ready, 0 when not, or a negated errno.
int ask_now(int descriptor, short events) noexcept {
    pollfd asked{descriptor, events, 0};
    for (;;) {
        const int answer = ::poll(&asked, 1, 0);
        if (answer < 0 && errno == EINTR) continue;
        if (answer < 0) return -errno;
        return (asked.revents & POLLNVAL) != 0 ? -EBADF : answer;
    }
}

}  // namespace

/// `op` names no open socket: a watch(), or nothing that is there.
bool epoll_poller::submit_elsewhere(operation& op) noexcept {
    socket_slot* const slot = polls(op.code) ? find_watched(op.target) : nullptr;
    if (slot == nullptr) {
        finish(op, result_closed);
        return true;
    }
    const short events = events_of(op.code);
    int answer = ask_now(slot->descriptor, events);
    if (answer == 0) answer = register_watched(*slot, events);
    if (answer == 0) return !park(*slot, op);
    end_watch(*slot);
    free_slot(*slot);
    finish(op, answer < 0 ? answer : 0);
    return true;
}

int epoll_poller::register_watched(socket_slot& slot, short events) noexcept {
    epoll_event event{};
    event.events = static_cast<std::uint32_t>(events) | static_cast<std::uint32_t>(EPOLLET);
    event.data.u64 = event_data(slot);
    ++counters.controls;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, slot.descriptor, &event) == 0) {
        slot.registered = true;
        return 0;
    }
    if (errno != EEXIST) return -errno;
    // Somebody waits for it already, in the other direction as a rule: a duplicate is registered
    // beside it.
    const int duplicate = ::fcntl(slot.descriptor, F_DUPFD_CLOEXEC, 0);
    if (duplicate < 0) return -errno;
    slot.descriptor = duplicate;
    slot.borrowed = false;
    ++counters.controls;
    if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, duplicate, &event) != 0) return -errno;
    slot.registered = true;
    return 0;
}

/// An event that is no open socket's.
void epoll_poller::finish_watched(socket_slot& slot, const epoll_event& event,
                                  operation_list& completed) noexcept {
    if (!slot.watched || event.data.u64 != event_data(slot)) return;
    operation*& parked = slot.receiver != nullptr ? slot.receiver : slot.sender;
    end_watch(slot);
    finish_parked(parked, 0, completed);
    free_slot(slot);
}

/// The kernel forgets the descriptor. It may be closed already, against the rule; then nothing is
/// left to forget.
void epoll_poller::end_watch(socket_slot& slot) noexcept { static_cast<void>(forget(slot)); }

}}}  // namespace coro::v0::detail
