// Which task has left a connection in CLOSE_WAIT.
#include <algorithm>

#include <coro/net/socket_census.hpp>
#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/run.hpp>

#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace net {

std::vector<close_wait> list_close_waits() {
    detail::poller& poller = detail::scheduler_of(detail::this_loop()).poller();
    std::vector<close_wait> found;
    std::uint32_t task = 0;
    for (detail::handle each = poller.next_socket(0, task); each;
         each = poller.next_socket(each.index + 1, task)) {
        tcp_info info;
        // Others than connections of TCP are refused.
        if (poller.tcp_facts(each, info) != 0 || info.state != tcp_state::close_wait) continue;
        detail::socket_address local;
        detail::socket_address remote;
        close_wait& seen = found.emplace_back();
        if (poller.local_address(each, local) == 0)
            static_cast<void>(detail::from_socket_address(local, seen.local));
        if (poller.remote_address(each, remote) == 0)
            static_cast<void>(detail::from_socket_address(remote, seen.remote));
        seen.at_least = info.since_ack_received.value_or(duration::zero());
        seen.at_most = std::max(info.since_data_received.value_or(duration::max()), seen.at_least);
        seen.task = task;
        if (task != 0) seen.where = dump_task(task);
    }
    return found;
}

}}}  // namespace coro::v0::net
