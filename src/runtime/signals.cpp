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
std::atomic<dump_signal*> dump_bells{nullptr};
std::atomic<int> dump_asked{0};  ///< the number of the signal; 0: nobody asks
/// Threads that are inside of a handler, and may hold what was in `listening` or `watches`.
std::atomic<unsigned> handling{0};

// --- under the lock

/// Who may have a signal; users of one kind share it.
enum class signal_use : std::uint8_t { stop, watch, dump, probe };

struct handled_signal {
    unsigned users = 0;  ///< sets that watch it, or the runs that have it
    signal_use use{};
    struct sigaction before {};
};

struct signal_table {
    std::mutex guard;
    std::array<handled_signal, last_number + 1> of{};
    std::uint64_t of_run = 0;  ///< bits of those that a run handles
    sigset_t mask_before_fork{};  ///< of the thread that forks, which holds the lock

    [[nodiscard]] bool is_free_for(int number, signal_use use) const noexcept {
        const handled_signal& entry = of[static_cast<std::size_t>(number)];
        return entry.users == 0 || entry.use == use;
    }
    /// `ours` has the handler.
    void add_user(int number, signal_use use, struct sigaction ours) noexcept;
    void add_user(int number, signal_use use, void (*handler)(int)) noexcept {
        struct sigaction ours {};
        ours.sa_handler = handler;
        add_user(number, use, ours);
    }
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

/// A dump is written by a thread that runs no loop: here the bells ring.
void on_dump_signal(int signal) {
    const int saved = errno;
    handling.fetch_add(1);
    dump_asked.store(signal);
    for (dump_signal* each = dump_bells.load(); each != nullptr; each = each->next.load())
        each->rung.ring();
    handling.fetch_sub(1);
    errno = saved;
}

/// Handlers on other threads; one on this thread is through before this line goes on.
void wait_for_handlers() noexcept {
    while (handling.load() != 0) std::this_thread::yield();
}

void signal_table::add_user(int number, signal_use use, struct sigaction ours) noexcept {
    handled_signal& entry = of[static_cast<std::size_t>(number)];
    if (entry.users++ != 0) return;
    entry.use = use;
    // One at a time on a thread: handlers that interrupt each other pile up on its signal stack.
    // A fault of the program must not wait, it would kill it without a word.
    sigfillset(&ours.sa_mask);
    for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT})
        sigdelset(&ours.sa_mask, fault);
    // On the alternate stack where the thread has one: the stack of a fiber may be nearly used up.
    ours.sa_flags |= SA_RESTART | SA_ONSTACK;
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
        dump_bells.store(nullptr);
        dump_asked.store(0);
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
    for_each_signal(table.of_run, [](int number) {
        table.add_user(number, signal_use::stop, &on_stop_signal);
    });
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
    for_each_signal(wanted_, [](int number) {
        if (table.is_free_for(number, signal_use::watch)) return;
        throw io_error(std::make_error_code(std::errc::device_or_resource_busy), "watch",
                       name_of_signal(number) +
                           (number == probe_signal
                                ? ", by which run_options::watchdog asks threads"
                                : ", which is run_options::dump_signal"));
    });
    // First the list: a signal that comes as soon as it is handled must find who watches.
    next_watch.store(watches.load());
    watches.store(this);
    for_each_signal(wanted_, [](int number) {
        table.add_user(number, signal_use::watch, &on_watched_signal);
    });
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

// --- the one that asks for a dump

dump_signal::dump_signal(int wanted, bool stop_signals_are_free, bell& to_ring)
    : rung(to_ring), number(wanted) {
    if (number == 0) return;
    const auto refuse = [this](std::errc why, const char* reason) {
        throw io_error(std::make_error_code(why), "run",
                       error_text("cannot begin: options.dump_signal is " +
                                  (number > 0 && number <= last_number ? name_of_signal(number)
                                                                       : std::to_string(number)) +
                                  reason));
    };
    if (const char* reason = refusal_of_signal(number)) refuse(std::errc::invalid_argument, reason);
    if ((number == SIGINT || number == SIGTERM) && !stop_signals_are_free)
        refuse(std::errc::invalid_argument,
               ", which ends the run unless options.signals = leave: take SIGQUIT");
    if (number == probe_signal)
        refuse(std::errc::invalid_argument,
               ", by which a watchdog asks threads: take SIGQUIT");
    const std::lock_guard lock(table.guard);
    if (!table.is_free_for(number, signal_use::dump))
        refuse(std::errc::device_or_resource_busy,
               ", which a signal_set or another run of the process has: take another signal");
    if (dump_bells.load() == nullptr) dump_asked.store(0);
    next.store(dump_bells.load());
    dump_bells.store(this);
    table.add_user(number, signal_use::dump, &on_dump_signal);
}

dump_signal::~dump_signal() {
    if (number == 0) return;
    const std::lock_guard lock(table.guard);
    table.remove_user(number);
    std::atomic<dump_signal*>* link = &dump_bells;
    while (link->load() != nullptr && link->load() != this) link = &link->load()->next;
    if (link->load() != nullptr) link->store(next.load());
    wait_for_handlers();
}

void dump_signal::let_it_come() const noexcept {
    if (number == 0) return;
    sigset_t mine;
    sigemptyset(&mine);
    sigaddset(&mine, number);
    ::pthread_sigmask(SIG_UNBLOCK, &mine, nullptr);
}

int dump_signal::take() noexcept { return dump_asked.exchange(0); }

// --- the one that asks a thread

probe_signal_guard::probe_signal_guard(void (*handler)(int, siginfo_t*, void*)) {
    const std::lock_guard lock(table.guard);
    if (!table.is_free_for(probe_signal, signal_use::probe))
        throw io_error(std::make_error_code(std::errc::device_or_resource_busy), "run",
                       error_text("cannot begin: options.watchdog asks threads by SIGURG, which a "
                                  "signal_set watches"));
    struct sigaction ours {};
    ours.sa_sigaction = handler;
    ours.sa_flags = SA_SIGINFO;
    table.add_user(probe_signal, signal_use::probe, ours);
}

probe_signal_guard::~probe_signal_guard() {
    const std::lock_guard lock(table.guard);
    table.remove_user(probe_signal);
}

/// The entry is not written while the handler that calls this is installed. SIG_DFL and SIG_IGN are
/// no functions, whatever the flags say.
void probe_signal_guard::pass_on(int signal, siginfo_t* info, void* where) noexcept {
    const struct sigaction& before = table.of[probe_signal].before;
    if (before.sa_handler == SIG_DFL || before.sa_handler == SIG_IGN) return;
    if ((before.sa_flags & SA_SIGINFO) != 0) before.sa_sigaction(signal, info, where);
    else before.sa_handler(signal);
}

const char* refusal_of_signal(int number) noexcept {
    // 32 and 33 are the C library's own (signal(7)); glibc refuses them.
    if (number < 1 || number > SIGRTMAX || (number > SIGSYS && number < SIGRTMIN))
        return ", which does not exist";
    switch (number) {
        case SIGKILL:
        case SIGSTOP: return ", which cannot be caught";
        case SIGSEGV:
        case SIGBUS:
        case SIGFPE:
        case SIGILL:
        case SIGTRAP:
        case SIGSYS:
        case SIGABRT: return ", which is a fault of the program itself";
        default: return nullptr;
    }
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
