// The handlers of signals, and the table of dispositions that they replaced.
#include "runtime/signals.hpp"

#include <pthread.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/base/error.hpp>
#include <coro/runtime/signal_set.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr int last_number = 64;

// --- read by the handlers, which take no lock

std::atomic<unsigned> received{0};
std::atomic<int> delivered{0};
/// The poller of the loop that handles SIGINT and SIGTERM; nullptr: none. One run() of a process at
/// a time has them (the first that asks); others leave the signals to it.
std::atomic<poller*> listening{nullptr};
std::atomic<signal_watch*> watches{nullptr};
/// Threads that are inside of a handler, and may hold what was in `listening` or `watches`.
std::atomic<unsigned> handling{0};

// --- under the lock

struct handled_signal {
    unsigned users = 0;  ///< sets that watch it, or the run that has it
    struct sigaction before {};
};

struct signal_table {
    std::mutex guard;
    std::array<handled_signal, last_number + 1> of{};
    std::uint64_t of_run = 0;  ///< bits of those that a run handles
    sigset_t mask_before_fork{};  ///< of the thread that forks, which holds the lock

    void add_user(int number, void (*handler)(int)) noexcept;
    void remove_user(int number) noexcept;
};
constinit signal_table table;

void default_action(int signal) noexcept {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(signal, &plain, nullptr);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, signal);
    ::pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
    ::raise(signal);
    ::_exit(128 + signal);  // the first process of a container has no default actions
}

/// Only async-signal-safe calls (signal-safety(7)): atomics, sigaction, raise, and write in wake().
void on_stop_signal(int signal) {
    const int saved = errno;
    handling.fetch_add(1);
    delivered.store(signal, std::memory_order_relaxed);
    if (received.fetch_add(1, std::memory_order_relaxed) + 1 >= 3) default_action(signal);
    if (poller* told = listening.load()) told->wake();
    handling.fetch_sub(1);
    errno = saved;
}

/// The same rule: a post is a few atomics and a wake().
void on_watched_signal(int signal) {
    const int saved = errno;
    handling.fetch_add(1);
    for (signal_watch* watch = watches.load(); watch != nullptr; watch = watch->next_watch.load())
        watch->came(signal);
    handling.fetch_sub(1);
    errno = saved;
}

/// Handlers on other threads; one on this thread is through before this line goes on.
void wait_for_handlers() noexcept {
    while (handling.load() != 0) std::this_thread::yield();
}

void signal_table::add_user(int number, void (*handler)(int)) noexcept {
    handled_signal& entry = of[static_cast<std::size_t>(number)];
    if (entry.users++ != 0) return;
    struct sigaction ours {};
    ours.sa_handler = handler;
    // One at a time on a thread: handlers that interrupt each other pile up on its signal stack.
    // A fault of the program must not wait, it would kill it without a word.
    sigfillset(&ours.sa_mask);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
        sigdelset(&ours.sa_mask, fault);
    // On the alternate stack where the thread has one: the stack of a fiber may be nearly used up.
    ours.sa_flags = SA_RESTART | SA_ONSTACK;
    ::sigaction(number, &ours, &entry.before);
}

void signal_table::remove_user(int number) noexcept {
    handled_signal& entry = of[static_cast<std::size_t>(number)];
    if (entry.users == 0) return;  // in a forked child, where all is as it was before
    if (--entry.users == 0) ::sigaction(number, &entry.before, nullptr);
}

void let_signals_come() noexcept {
    const sigset_t before = table.mask_before_fork;
    table.guard.unlock();
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

/// A forked child has no loop that could answer: signals do there what they did before run(). Until
/// that is so they wait. From the start of the program. A lock that watched the forks only once it
/// was held would be held in the child of such a fork for ever.
[[maybe_unused]] const int signal_lock_watches_fork = ::pthread_atfork(
    [] {
        sigset_t all;
        sigset_t before;
        sigfillset(&all);
        ::pthread_sigmask(SIG_SETMASK, &all, &before);
        table.guard.lock();
        table.mask_before_fork = before;
    },
    [] { let_signals_come(); },
    [] {
        listening.store(nullptr);
        watches.store(nullptr);
        handling.store(0);
        table.of_run = 0;
        for (int number = 1; number <= last_number; ++number) {
            handled_signal& entry = table.of[static_cast<std::size_t>(number)];
            if (entry.users == 0) continue;
            entry.users = 0;
            ::sigaction(number, &entry.before, nullptr);
        }
        let_signals_come();
    });

/// A shell without jobs starts what goes on in the background so, and nohup with its own signal. A
/// Ctrl-C for somebody else must not end it.
bool is_ignored(int number) noexcept {
    struct sigaction present {};
    return ::sigaction(number, nullptr, &present) == 0 && present.sa_handler == SIG_IGN;
}

template <typename Visit>
void for_each_signal(std::uint64_t numbers, Visit visit) {
    for (int number = 1; number <= last_number; ++number)
        if ((numbers & signal_bit(number)) != 0) visit(number);
}

}  // namespace

// --- the two that stop

unsigned stop_signals_received() noexcept { return received.load(std::memory_order_relaxed); }

signal_guard::signal_guard(bool install, poller& to_wake) noexcept {
    if (!install) return;
    const std::lock_guard lock(table.guard);
    if (table.of[SIGINT].users != 0 || table.of[SIGTERM].users != 0) return;
    received.store(0, std::memory_order_relaxed);
    delivered.store(0, std::memory_order_relaxed);
    listening.store(&to_wake);
    installed_ = true;
    table.of_run = signal_bit(SIGTERM) | (is_ignored(SIGINT) ? 0 : signal_bit(SIGINT));
    for_each_signal(table.of_run, [](int number) { table.add_user(number, &on_stop_signal); });
}

signal_guard::~signal_guard() {
    if (!installed_) return;
    const std::lock_guard lock(table.guard);
    for_each_signal(std::exchange(table.of_run, 0), [](int number) { table.remove_user(number); });
    listening.store(nullptr);
    wait_for_handlers();
}

int signal_guard::last_signal() const noexcept {
    return installed_ ? delivered.load(std::memory_order_relaxed) : 0;
}

// --- those that are watched

signal_watch::signal_watch(signal_set& of, std::uint64_t wanted) noexcept
    : set_(&of), loop_(*current), wanted_(wanted) {}

void signal_watch::begin() {
    const std::lock_guard lock(table.guard);
    if ((wanted_ & table.of_run) != 0)
        throw io_error(std::make_error_code(std::errc::device_or_resource_busy), "watch",
                       "SIGINT or SIGTERM, which run() handles unless signals = leave");
    // First the list: a signal that comes as soon as it is handled must find who watches.
    next_watch.store(watches.load());
    watches.store(this);
    for_each_signal(wanted_, [](int number) { table.add_user(number, &on_watched_signal); });
}

void signal_watch::end() noexcept {
    {
        const std::lock_guard lock(table.guard);
        for_each_signal(wanted_, [](int number) { table.remove_user(number); });
        std::atomic<signal_watch*>* link = &watches;
        while (link->load() != nullptr && link->load() != this) link = &link->load()->next_watch;
        if (link->load() != nullptr) link->store(next_watch.load());
        wait_for_handlers();
    }
    set_ = nullptr;
    if (!on_its_way_.is_under_way()) delete this;  // else the loop does, when it comes to it
}

void signal_watch::came(int signal) noexcept {
    if ((wanted_ & signal_bit(signal)) == 0) return;
    came_.fetch_or(signal_bit(signal));
    if (!on_its_way_.sets_out()) return;
    run = [](posted& self) noexcept {
        auto& mine = static_cast<signal_watch&>(self);
        mine.on_its_way_.arrives();
        if (mine.set_ != nullptr) mine.set_->deliver();
        else delete &mine;
    };
    loop_.post(*this);
}

int signal_watch::take() noexcept {
    const std::uint64_t present = came_.load();
    if (present == 0) return 0;
    const std::uint64_t lowest = present & -present;
    came_.fetch_and(~lowest);
    return std::countr_zero(lowest) + 1;
}

std::string name_of_signal(int number) {
    const char* abbreviation = ::sigabbrev_np(number);
    if (abbreviation != nullptr) return std::string("SIG") + abbreviation;
    return "signal " + std::to_string(number);
}

void check_no_signals_watched(const detail::loop& ending) noexcept {
    if (watches.load() == nullptr) return;
    const std::lock_guard lock(table.guard);
    for (signal_watch* watch = watches.load(); watch != nullptr; watch = watch->next_watch.load())
        CORO_ASSERT(&watch->loop() != &ending,
                    "a signal_set outlives its loop: it must be destroyed inside of run()");
}

}}}  // namespace coro::v0::detail
