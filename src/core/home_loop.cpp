// The rare cases of the home of an object: it has none, lives elsewhere, or outlived its run.
#include <coro/core/detail/home_loop.hpp>

#include <atomic>

#include <pthread.h>

#include "core/live_runs.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

std::atomic<std::uint64_t> next_run_number{1};

/// The list only grows, to as many places as there were runs at once.
struct run_place {
    live_run<> run;
    run_place* next = nullptr;
};
constinit run_place first_place;
constinit std::atomic<run_place*> places{&first_place};

live_run<>& take_place(std::uint64_t number) {
    for (run_place* at = places.load(std::memory_order_acquire); at != nullptr; at = at->next)
        if (at->run.begins(number)) return at->run;
    auto* const added = new run_place;
    static_cast<void>(added->run.begins(number));
    added->next = places.load(std::memory_order_relaxed);
    while (!places.compare_exchange_weak(added->next, added, std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
    }
    return added->run;
}

/// In a child of fork(2) no run of its parent lives. The parent's threads are not there, and the
/// poller ends code that goes on in the parent's loop. Objects of these runs are free for a run of
/// the child's own.
void end_all_in_child() noexcept {
    for (run_place* at = places.load(std::memory_order_acquire); at != nullptr; at = at->next)
        at->run.ends();
}

void watch_fork() noexcept {
    static constinit std::atomic<bool> fork_is_watched{false};
    if (fork_is_watched.exchange(true, std::memory_order_relaxed)) return;
    ::pthread_atfork(nullptr, nullptr, [] { end_all_in_child(); });
}

}  // namespace

run_registration::run_registration()
    : number_(next_run_number.fetch_add(1, std::memory_order_relaxed)),
      place_(take_place(number_)) {
    watch_fork();
}

bool run_has_ended(loop_id id) noexcept {
    for (run_place* at = places.load(std::memory_order_acquire); at != nullptr; at = at->next)
        if (at->run.is(id.run())) return false;
    return true;
}

bool home_loop::lives_elsewhere(loop_id home) noexcept {
    for (;;) {
        if (home && is_of_this_run(home)) return !detail::is_here(home);
        CORO_ASSERT(!home || run_has_ended(home),
                    "an object that tasks wait for was used outside of its loop, by a thread that "
                    "is no loop of the same run: post to its loop instead");
        if (current == nullptr) return false;  // outside of run(): nobody else is there
        if (home_.settle(home, current->id)) return false;
    }
}

void home_loop::check_homeless(loop_id home) const noexcept {
    while (!detail::is_here(home)) {
        CORO_ASSERT(!home || run_has_ended(home),
                    "an object that tasks wait for was used outside of its loop by what does not "
                    "wait: that works only there");
        if (current == nullptr || home_.settle(home, current->id)) return;
    }
}

}}}  // namespace coro::v0::detail
