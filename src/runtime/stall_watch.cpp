// A deadlock is declared under one lock, when every loop sleeps and nothing is under way. The proof
// is in docs/design/concurrency.md.
#include "runtime/stall_watch.hpp"

#include <atomic>
#include <cstdio>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>

#include "runtime/loop_team.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

stall_watch::stall_watch(loop_team& team, duration limit)
    : team_(team), limit_(limit), parts_(team.size()) {
    for (part& each : parts_) {
        each.ask.of = this;
        each.ask.run = [](posted& self) noexcept {
            message_of<stall_watch>::owner(self).write_part();
        };
    }
    finish_.of = this;
    finish_.run = [](posted& self) noexcept { message_of<stall_watch>::owner(self).finish(); };
}

void stall_watch::begin() noexcept {
    const std::lock_guard lock(guard_);
    watches_ = true;
}

std::optional<std::string> stall_watch::end() noexcept {
    const std::lock_guard lock(guard_);
    watches_ = false;
    return std::exchange(dump_, {});
}

void stall_watch::loop_stalls() noexcept {
    const std::lock_guard lock(guard_);
    ++stalled_;
    if (stalled_ == parts_.size() && watches_ && !asks_ && nothing_can_wake_one()) ask_all();
}

void stall_watch::loop_goes_on() noexcept {
    const std::lock_guard lock(guard_);
    --stalled_;
}

/// First all from which a message could come, and then the inboxes.
bool stall_watch::nothing_can_wake_one() noexcept {
    if (!team_.blocking().is_idle()) return false;
    for (unsigned index = 0; index < team_.size(); ++index)
        if (team_.at(index).is_known_outside()) return false;
    // Who let go of a handle has posted before.
    std::atomic_thread_fence(std::memory_order_acquire);
    for (unsigned index = 0; index < team_.size(); ++index)
        if (team_.at(index).inbox_holds_something()) return false;
    return true;
}

void stall_watch::ask_all() noexcept {
    asks_ = true;
    written_ = 0;
    for (unsigned index = 0; index < team_.size(); ++index)
        team_.at(index).post(parts_[index].ask);
}

/// On each loop.
void stall_watch::write_part() noexcept {
    scheduler& mine = scheduler_of(*current);
    mine.forget_a_post();
    string_sink tasks;
    mine.dump(tasks);
    const std::lock_guard lock(guard_);
    parts_[mine.index].text = std::move(tasks.content);
    if (++written_ == parts_.size()) team_.at(0).post(finish_);
}

std::string stall_watch::all_parts() const noexcept try {
    std::string all;
    for (std::size_t index = 0; index < parts_.size(); ++index) {
        if (parts_[index].text.empty()) continue;
        if (parts_.size() > 1) all += "loop " + std::to_string(index) + ":\n";
        all += parts_[index].text;
    }
    if (all.ends_with('\n')) all.pop_back();
    return all;
} catch (const std::bad_alloc&) {
    return {};
}

/// On loop 0.
void stall_watch::finish() noexcept {
    scheduler_of(*current).forget_a_post();
    {
        const std::lock_guard lock(guard_);
        asks_ = false;
        std::string text = all_parts();
        if (dump_) {
            std::fprintf(stderr, "%s\n", text.c_str());
            CORO_ASSERT(false, "run: nothing can ever happen again, and these tasks did not end "
                               "when they were cancelled");
        }
        dump_ = std::move(text);
    }
    team_.at(0).root_scope().cancel();
    team_.pass_on_cancel();
}

}}}  // namespace coro::v0::detail
