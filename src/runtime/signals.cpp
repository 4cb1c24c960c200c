// The handler of SIGINT and SIGTERM.
#include "runtime/signals.hpp"

#include <atomic>
#include <cerrno>
#include <thread>

namespace coro::inline v0::detail {
namespace {

std::atomic<unsigned> received{0};
std::atomic<int> last{0};
/// The poller of the loop that handles signals; nullptr: none. One run() of a process at a time has
/// the handlers (the first that asks); others leave the signals to it.
std::atomic<poller*> listening{nullptr};
/// Threads that are inside of the handler, and may hold what was in `listening`.
std::atomic<unsigned> handling{0};

void default_action(int signal) noexcept {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(signal, &plain, nullptr);
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, signal);
    ::pthread_sigmask(SIG_UNBLOCK, &mask, nullptr);
    ::raise(signal);
}

/// Only async-signal-safe calls (signal-safety(7)): atomics, sigaction, raise, and write in wake().
void on_stop_signal(int signal) {
    const int saved = errno;
    handling.fetch_add(1);
    last.store(signal, std::memory_order_relaxed);
    if (received.fetch_add(1, std::memory_order_relaxed) + 1 >= 3) default_action(signal);
    if (poller* world = listening.load()) world->wake();
    handling.fetch_sub(1);
    errno = saved;
}

}  // namespace

unsigned stop_signals_received() noexcept { return received.load(std::memory_order_relaxed); }

signal_guard::signal_guard(bool install, poller& to_wake) noexcept {
    if (!install) return;
    poller* nobody = nullptr;
    if (!listening.compare_exchange_strong(nobody, &to_wake)) return;
    received.store(0, std::memory_order_relaxed);
    last.store(0, std::memory_order_relaxed);
    installed_ = true;
    struct sigaction handler {};
    handler.sa_handler = &on_stop_signal;
    sigemptyset(&handler.sa_mask);
    handler.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &handler, &interrupt_before_);
    ::sigaction(SIGTERM, &handler, &terminate_before_);
}

signal_guard::~signal_guard() {
    if (!installed_) return;
    ::sigaction(SIGINT, &interrupt_before_, nullptr);
    ::sigaction(SIGTERM, &terminate_before_, nullptr);
    listening.store(nullptr);
    // On another thread; one on this thread is through before this line goes on.
    while (handling.load() != 0) std::this_thread::yield();
}

int signal_guard::last_signal() const noexcept {
    return installed_ ? last.load(std::memory_order_relaxed) : 0;
}

}  // namespace coro::inline v0::detail
