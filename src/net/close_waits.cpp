// Which task has left a connection in CLOSE_WAIT.
#include <algorithm>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <coro/net/socket_census.hpp>
#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/run.hpp>

#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace net {

namespace {

/// The lines of some tasks, written in one walk over all tasks of the loop: a server that leaks has
/// as many tasks as connections.
class lines_of_tasks final : public detail::line_choice {
public:
    void want(std::uint32_t task) {
        if (task != 0) lines_.emplace_back(task, detail::string_sink());
    }

    void write(detail::scheduler& loop) {
        if (lines_.empty()) return;
        const auto by_task = [](const line& one, const line& other) {
            return one.first < other.first;
        };
        const auto is_same = [](const line& one, const line& other) {
            return one.first == other.first;
        };
        std::sort(lines_.begin(), lines_.end(), by_task);
        lines_.erase(std::unique(lines_.begin(), lines_.end(), is_same), lines_.end());
        loop.dump_chosen(*this);
        for (auto& [task, sink] : lines_) {
            if (sink.content.ends_with('\n')) sink.content.pop_back();
        }
    }

    /// Empty where the task has ended.
    [[nodiscard]] std::string of(std::uint32_t task) {
        const detail::string_sink* const sink = find(task);
        return sink == nullptr ? std::string() : sink->content;
    }

private:
    using line = std::pair<std::uint32_t, detail::string_sink>;

    [[nodiscard]] detail::text_sink* sink_for(std::uint32_t number) noexcept override {
        return find(number);
    }

    [[nodiscard]] detail::string_sink* find(std::uint32_t task) noexcept {
        const auto is_before = [](const line& one, std::uint32_t number) {
            return one.first < number;
        };
        const auto at = std::lower_bound(lines_.begin(), lines_.end(), task, is_before);
        return at != lines_.end() && at->first == task ? &at->second : nullptr;
    }

    std::vector<line> lines_;  ///< by task, once they are written
};

}  // namespace

std::vector<close_wait> list_close_waits() {
    detail::scheduler& loop = detail::scheduler_of(detail::this_loop());
    detail::poller& poller = loop.poller();
    lines_of_tasks lines;
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
        lines.want(task);
    }
    lines.write(loop);
    for (close_wait& each : found)
        each.where = lines.of(each.task);
    return found;
}

}}}  // namespace coro::v0::net
