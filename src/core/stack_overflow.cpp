// The handler of SIGSEGV that knows the guards of fibers; async-signal-safe throughout.
#include "core/stack_overflow.hpp"

#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <mutex>

#include <coro/core/fiber.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// How SIGSEGV was handled before the first watch of the process, and how many watches there are.
/// The handler reads `before` only; it is not written while the handler is installed.
struct installed_handler {
    std::mutex guard;
    unsigned watches = 0;
    struct sigaction before {};
};
constinit installed_handler installed;

/// The lock is held across a fork. The thread of another loop that held it is not there in the
/// child, which would wait for ever at the first fiber of its own run.
[[maybe_unused]] const int overflow_lock_watches_fork = ::pthread_atfork(
    [] { installed.guard.lock(); }, [] { installed.guard.unlock(); },
    [] { installed.guard.unlock(); });

void say_overflow(const stack_overflow& what) noexcept {
    text_line<512> text;
    text.add("coro: fiber stack overflow in ");
    text.add(what.name != nullptr ? what.name : "(unnamed fiber)");
    if (what.site.line() != 0)
        text.add(", after its await at ").add_site(what.site.file_name(), what.site.line());
    text.add(": it has ").add_number(what.stack_bytes / 1024);
    text.add(" KiB; give it more with stack_bytes\n");
    [[maybe_unused]] const auto written =
        ::write(STDERR_FILENO, text.view().data(), text.size());
}

void name_overflow(int signal, siginfo_t* info, void* where) noexcept {
    const bool is_fault = info->si_code > 0;  // and not sent by kill or raise
    stack_overflow what;
    if (is_fault && is_stack_overflow(info->si_addr, what)) {
        say_overflow(what);
        // The instruction faults again, and meets who handled the signal before us.
        ::sigaction(signal, &installed.before, nullptr);
        return;
    }
    if ((installed.before.sa_flags & SA_SIGINFO) != 0) {
        installed.before.sa_sigaction(signal, info, where);
    } else if (installed.before.sa_handler == SIG_DFL || installed.before.sa_handler == SIG_IGN) {
        ::sigaction(signal, &installed.before, nullptr);
        if (!is_fault) ::raise(signal);  // a fault comes again by itself
    } else {
        installed.before.sa_handler(signal);
    }
}

bool is_ours(const struct sigaction& action) noexcept {
    return (action.sa_flags & SA_SIGINFO) != 0 && action.sa_sigaction == &name_overflow;
}

}  // namespace

overflow_watch::overflow_watch() noexcept {
    stack_t present{};
    if (::sigaltstack(nullptr, &present) == 0 && (present.ss_flags & SS_DISABLE) != 0) {
        void* memory = ::mmap(nullptr, signal_stack_bytes, PROT_READ | PROT_WRITE,
                              MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) return;  // then an overflow is a plain SIGSEGV
        stack_t own{};
        own.ss_sp = memory;
        own.ss_size = signal_stack_bytes;
        ::sigaltstack(&own, nullptr);
        signal_stack_ = memory;
    }
    watching_ = true;
    const std::lock_guard lock(installed.guard);
    if (installed.watches++ != 0) return;
    ::sigaction(SIGSEGV, nullptr, &installed.before);
    struct sigaction ours {};
    ours.sa_sigaction = &name_overflow;
    ours.sa_flags = SA_SIGINFO | SA_ONSTACK;
    ::sigemptyset(&ours.sa_mask);
    ::sigaction(SIGSEGV, &ours, nullptr);
}

overflow_watch::~overflow_watch() {
    if (!watching_) return;
    {
        const std::lock_guard lock(installed.guard);
        struct sigaction present {};
        // A handler that was installed after ours stays.
        if (--installed.watches == 0 && ::sigaction(SIGSEGV, nullptr, &present) == 0 &&
            is_ours(present))
            ::sigaction(SIGSEGV, &installed.before, nullptr);
    }
    if (signal_stack_ == nullptr) return;
    stack_t present{};
    if (::sigaltstack(nullptr, &present) == 0 && present.ss_sp == signal_stack_) {
        stack_t none{};
        none.ss_flags = SS_DISABLE;
        ::sigaltstack(&none, nullptr);
    }
    ::munmap(signal_stack_, signal_stack_bytes);
}

}}}  // namespace coro::v0::detail
