// run and run_main: a loop, a root task, signals; the way in and the way out.
#pragma once

#include <chrono>
#include <concepts>
#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>
#include <utility>

#include <coro/base/error.hpp>
#include <coro/core/detail/hold.hpp>
#include <coro/core/task.hpp>
#include <coro/runtime/poller_choice.hpp>
#include <coro/runtime/task_observer.hpp>
#include <coro/sim/simulation.hpp>

namespace coro { inline namespace v0 {

/// Whether run() watches signals.
enum class signal_policy : std::uint8_t {
    handle,  ///< SIGINT and SIGTERM end run() in an orderly way; dispositions are restored after it
    leave,   ///< run() touches no signal (but fibers have SIGSEGV, to name who overflows a stack)
};

/// The settings of one run(). An aggregate that owns nothing.
struct run_options {
    poller_choice poller = poller_choice::automatic;
    /// Refuse to fall back: `automatic` then means "io_uring or an error".
    bool strict = false;
    /// Loops. The first runs on the thread that called run(), each other one on its own; those of a
    /// simulation take turns on the first's. `main` begins on the first; spawn with
    /// spawn_options.loop, and serve, use the others.
    unsigned loops = 1;
    /// The time that tasks have to finish after the first signal, before they are cancelled.
    time_span drain = duration::zero();
    signal_policy signals = signal_policy::handle;
    /// run_main returns 128 + the number of the signal that ended `main`, as a shell does, and not
    /// 0. It is for a job that is not done then.
    bool tell_signal = false;
    /// Poll for up to 100 us before sleeping while traffic is dense. Off by itself where there are
    /// no more processors than loops.
    bool spin = true;
    /// Raise the soft limit of open files to the hard one. A child of fork(2) has the old one back
    /// until it calls run() itself. Children of posix_spawn, popen and system keep the raised one,
    /// as no code of the program runs in them. Begin their command with `ulimit -Sn 1024;`.
    bool raise_descriptor_limit = true;
    /// Threads for blocking(), started when they are needed, and calls that may wait for one.
    unsigned blocking_threads = 16;
    unsigned blocking_queue = 1024;
    /// The time for which the end of run() waits for blocking calls that were cancelled and still
    /// run.
    time_span blocking_limit = std::chrono::seconds(5);
    /// A task that holds its loop for so long is reported: how long, which task, between which of
    /// its lines. All others of the loop waited meanwhile. For the first hold among several tasks
    /// the report has only their number. Off unless it is set.
    time_span hold_limit = duration::max();
    /// When for so long no task could be woken, and nothing can wake one, run() ends with a
    /// deadlock. Other threads that have a loop_handle can wake one; so can a signal for which a
    /// task waits. The signal that ends a run cannot, but where a task waits for the stop
    /// (until_stop). duration::max(): a run in which all tasks wait waits for ever. Without effect
    /// in a simulation, which knows at once.
    time_span deadlock_limit = std::chrono::seconds(1);
    /// A loop that has not turned for so long is reported while it still stands, once a hold. The
    /// report has the task that holds it and the stack of its thread, which is asked by SIGURG. A
    /// loop that sleeps in its poller is none. Less than 4 ms count as 4 ms. Off unless it is set.
    /// Without effect in a simulation.
    time_span watchdog = duration::max();
    /// The number of a signal, SIGQUIT as a rule, that writes the dump and the counters of all
    /// loops of the process to stderr. It works while loops stand, and the run goes on. After the
    /// run the signal does again what it did before. A signal_set cannot watch it meanwhile;
    /// several runs may name the same one. 0: none. Without effect in a simulation.
    int dump_signal = 0;
    /// Told of each task. Not owned; must outlive the run.
    task_observer* observer = nullptr;
    /// The network of a simulation.
    sim::options simulation = {};
    /// In a simulation it decides all that a real run leaves open. That is which ready task is
    /// next, and which loop; how long bytes take, and how many come at once. The same seed gives
    /// the same run, on every machine. 0, no seed: first come, first served, and whole transfers.
    std::uint64_t seed = 0;
};

static_assert(std::is_trivially_destructible_v<run_options>);

namespace detail {

class loop_team;

/// In a child of fork(2) the loop that its parent was in stands where it was. A run of the child
/// sets it aside; code that goes on in it afterwards still meets the sentence about that.
class CORO_EXPORT loop_of_parent {
public:
    /// Requires: no loop runs on this thread but such a one (aborts).
    loop_of_parent() noexcept;
    loop_of_parent(const loop_of_parent&) = delete;
    loop_of_parent& operator=(const loop_of_parent&) = delete;
    ~loop_of_parent();

private:
    detail::loop* kept_;
};

/// The life of a loop around a root task: made, driven, unmade.
class CORO_EXPORT loop_runner {
public:
    /// Throws: io_error when no poller can be set up (the message says why and what to do).
    explicit loop_runner(const run_options& options);
    loop_runner(const loop_runner&) = delete;
    loop_runner& operator=(const loop_runner&) = delete;
    ~loop_runner();

    /// Runs until the root task has ended, with a value or an exception.
    void drive(task_promise_base& root, std::coroutine_handle<> frame);
    /// Turns a `cancelled` that came out of the root into interrupted.
    void forbid_cancelled(std::exception_ptr& error) const;

private:
    loop_of_parent aside_;
    loop_team* team_;
    run_options options_;
    int signal_ = 0;
};

/// Prints one line about the exception being handled; the exit code of run_main.
CORO_EXPORT int report_exit(const std::exception_ptr& error, bool tell_signal) noexcept;

}  // namespace detail

/// Runs `main` and everything it starts on a loop of this thread; returns its value.
/// Blocks this thread until `main`, and with it every task, has ended.
/// Signals (unless options.signals == leave): the first SIGINT or SIGTERM requests a stop and,
/// after options.drain, cancels. The next cancels at once; the one after has its default action. A
/// SIGINT that was ignored when the run began stays ignored. If another run of the process has
/// them, or a signal_set watches one of the two, they stay there.
/// Throws: what `main` threw; interrupted, if a signal ended it before it had a value. It throws
/// io_error, with the cause and the remedy, if the run cannot begin. That is so without a poller,
/// descriptors, memory or threads, with a bad value, and where the signal of options.dump_signal or
/// of the watchdog belongs to a signal_set. It throws deadlock, in a simulation simulation_stuck,
/// when nothing can happen any more and all tasks have ended by a cancellation. `cancelled` never
/// leaves it.
/// Requires: no other run() on this thread; `main` was not started before (both abort). A child of
/// fork(2) may run, also inside of a task of its parent, but it must not go on with the parent's
/// run.
template <typename T>
T run(task<T> main, const run_options& options = {}) {
    detail::check_startable(main, "run of a task that was moved from",
                            "run of a task that had been started before: it runs once");
    detail::loop_runner runner(options);
    task<T> root = std::move(main);  // ends before the loop does
    detail::task_promise_value<T>& promise = detail::task_access::promise(root);
    runner.drive(promise, detail::task_access::frame(root));
    runner.forbid_cancelled(promise.error);
    return promise.take();
}

/// The same for a combinator of tasks, as in run(with_timeout(1s, work())).
template <detail::task_free_awaitable Awaitable>
decltype(auto) run(Awaitable&& main, const run_options& options = {}) {
    if constexpr (detail::runnable<Awaitable>)
        return run(detail::as_task(std::forward<Awaitable>(main)), options);
    else detail::refuse_operation<Awaitable>();
}

/// run() for main(): returns the exit code. An exception becomes one line on stderr and 1. An
/// orderly end after SIGINT or SIGTERM is 0, or 128 + its number (options.tell_signal). task<int>
/// gives the code itself.
template <typename T>
    requires(std::is_void_v<T> || std::same_as<T, int>)
int run_main(task<T> main, const run_options& options = {}) noexcept {
    try {
        if constexpr (std::is_void_v<T>) {
            run(std::move(main), options);
            return 0;
        } else {
            return run(std::move(main), options);
        }
    } catch (...) {
        return detail::report_exit(std::current_exception(), options.tell_signal);
    }
}

template <detail::task_free_awaitable Awaitable>
int run_main(Awaitable&& main, const run_options& options = {}) noexcept {
    detail::refuse_operation<Awaitable>();
    try {
        if constexpr (detail::runnable<Awaitable>)
            return run_main(detail::as_task(std::forward<Awaitable>(main)), options);
    } catch (...) {
        return detail::report_exit(std::current_exception(), options.tell_signal);
    }
    return 1;
}

/// The poller of this loop and the reason for it, in one sentence:
/// `io_uring: all features present`.
/// Requires: called inside of run().
[[nodiscard]] CORO_EXPORT std::string_view poller_reason() noexcept;

namespace detail {
CORO_EXPORT void write_task_dump(text_sink& out) noexcept;
CORO_EXPORT void write_task_dump_of(std::uint32_t number, text_sink& out) noexcept;

struct string_sink final : text_sink {
    void write(std::string_view text) noexcept override {
        try {
            content.append(text);
        } catch (...) {  // without memory a dump has gaps
        }
    }
    std::string content;
};
}  // namespace detail

/// Every task of the running loop, one line each: where it waits, on what, since when, until when,
/// and whose child it is. Requires: called inside of run(). `#12 echo.cpp:14 recv 127.0.0.1:5012
/// since 12 ms, deadline 18 s ← handle echo.cpp:31 ← serve …`
[[nodiscard]] inline std::string dump_tasks() {
    detail::string_sink text;
    detail::write_task_dump(text);
    return std::move(text.content);
}

/// Every task of every loop of this process, in all runs, and the counters of each loop. Each loop
/// writes its own part when it turns. One that does not within `answer_within` is named: since when
/// it has not turned, and which task it resumed last. Blocks this thread until all have answered,
/// for `answer_within` at most; a loop that asks does not turn meanwhile, but it answers others.
/// `loop 1 of 2, run 1, thread 4711 has not turned for 3.2 s; it last resumed task #17`
/// Any thread, also one that runs no loop; not a signal handler. In a simulation all loops of its
/// run answer in place.
/// Throws: std::bad_alloc.
[[nodiscard]] CORO_EXPORT std::string dump_all_loops(
    time_span answer_within = std::chrono::milliseconds(250));

/// The line of dump_tasks() of the task of the running loop with that number, without its end;
/// empty if no such task exists any more. It walks over the tasks of the loop.
/// Requires: called inside of run(). current_task_number() and task_view::number() return the
/// number of a task.
[[nodiscard]] inline std::string dump_task(std::uint32_t number) {
    detail::string_sink text;
    detail::write_task_dump_of(number, text);
    if (!text.content.empty() && text.content.back() == '\n') text.content.pop_back();
    return std::move(text.content);
}

}}  // namespace coro::v0
