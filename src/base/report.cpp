// The report hook and its default: one line on stderr, rate-limited, and never waited for.
#include <coro/base/report.hpp>

#include "base/stderr_text.hpp"

#include <poll.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <limits>
#include <mutex>
#include <string>
#include <string_view>

namespace coro { inline namespace v0 {
namespace {

constexpr int lines_per_second = 20;
constexpr std::time_t notice_interval = 10;  // seconds, in which one is written

/// The hook and its argument change together, so both stand behind one lock; reports are rare.
struct hook_state {
    std::mutex guard;
    report_hook hook = nullptr;
    void* user = nullptr;
};

constinit hook_state present_hook;

/// Whether stderr takes PIPE_BUF bytes at once, or does within so long. A pipe that nobody reads
/// from any more does not: writing to it would end the program (SIGPIPE).
bool stderr_has_room(int milliseconds) noexcept {
    pollfd standard_error{.fd = STDERR_FILENO, .events = POLLOUT, .revents = 0};
    return ::poll(&standard_error, 1, milliseconds) == 1 && standard_error.revents == POLLOUT;
}

/// While it lives, a write of this thread to a pipe whose reader has just gone is an error and not
/// the end of the program. One that the program has pending stays so.
class pipe_signal_block {
public:
    pipe_signal_block() noexcept {
        sigemptyset(&pipe_);
        sigaddset(&pipe_, SIGPIPE);
        sigset_t pending;
        sigemptyset(&pending);
        ::sigpending(&pending);
        was_pending_ = ::sigismember(&pending, SIGPIPE) == 1;
        ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
    }
    pipe_signal_block(const pipe_signal_block&) = delete;
    pipe_signal_block& operator=(const pipe_signal_block&) = delete;
    ~pipe_signal_block() { ::pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

    /// A write was EPIPE: its signal is pending for this thread.
    void take_signal() const noexcept {
        constexpr std::timespec at_once{};
        if (was_pending_) return;
        while (::sigtimedwait(&pipe_, nullptr, &at_once) < 0 && errno == EINTR) {
        }
    }

private:
    sigset_t pipe_{};
    sigset_t before_{};
    bool was_pending_ = false;
};

/// `patience()`: so many milliseconds it waits for room of the next piece. Returns how many bytes
/// were taken. Only who writes to stderr by himself can take the room between the question and the
/// write.
template <typename Patience>
std::size_t write_pieces(std::string_view text, Patience patience) noexcept {
    const pipe_signal_block no_signal;
    std::size_t taken = 0;
    while (taken != text.size() && stderr_has_room(patience())) {
        const std::size_t piece = std::min(text.size() - taken, std::size_t{PIPE_BUF});
        const ssize_t count = ::write(STDERR_FILENO, text.data() + taken, piece);
        if (count > 0) {
            taken += static_cast<std::size_t>(count);
        } else if (count == 0 || errno != EINTR) {
            if (count < 0 && errno == EPIPE) no_signal.take_signal();
            break;
        }
    }
    return taken;
}

/// A reader that has stopped (a full pipe, a terminal after ^S) must not stop the loop that
/// reports.
std::size_t write_without_waiting(std::string_view text) noexcept {
    return write_pieces(text, [] { return 0; });
}

std::int64_t monotonic_milliseconds() noexcept {
    std::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

/// Counts lines within the present second, and notices within ten, of coarse real time. The clock
/// is read here and not taken from a loop because a report may come from outside of any loop.
class line_limiter {
public:
    /// Writes the line that `make(missed)` returns, unless there were too many in this second;
    /// `missed` is how many were not written since the last one.
    template <typename Make>
    void write(bool notice, Make make) {
        std::timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        const std::lock_guard lock(guard_);
        budget& of = notice ? notices_ : lines_;
        if (now.tv_sec - of.begun >= of.interval) {
            of.begun = now.tv_sec;
            of.written = 0;
        }
        ++of.missed;
        if (of.written >= of.most) return;
        std::string line = make(of.missed - 1);
        if (broken_off_) line.insert(0, 1, '\n');
        const std::size_t taken = write_without_waiting(line);
        broken_off_ = taken != line.size() && (broken_off_ || taken != 0);
        if (taken != line.size()) return;
        ++of.written;
        of.missed = 0;
    }

    /// Keeps all others out, and lets them in again: for what must not happen amid a line.
    void lock() { guard_.lock(); }
    void unlock() { guard_.unlock(); }

private:
    struct budget {
        std::time_t interval;
        int most;
        std::time_t begun = -notice_interval;
        int written = 0;
        unsigned missed = 0;
    };
    std::mutex guard_;
    budget lines_{1, lines_per_second};
    budget notices_{notice_interval, 1};
    bool broken_off_ = false;  ///< stderr ends in the midst of a line
};

constinit line_limiter lines_on_stderr;

/// Both locks are held across a fork. The thread that held one of them is not there in the child,
/// which would wait for ever at its first report. From the start of the program, so that there is
/// no first report that another thread's fork could meet. Neither lock is taken under the other.
[[maybe_unused]] const int report_locks_watch_fork = ::pthread_atfork(
    [] {
        present_hook.guard.lock();
        lines_on_stderr.lock();
    },
    [] {
        lines_on_stderr.unlock();
        present_hook.guard.unlock();
    },
    [] {
        lines_on_stderr.unlock();
        present_hook.guard.unlock();
    });

const char* name_of(severity level) {
    switch (level) {
        case severity::info: return "info";
        case severity::notice: return "notice";
        case severity::warning: return "warning";
        case severity::error: return "error";
    }
    return "?";
}

std::string line_of(const report_event& event, unsigned missed) {
    std::string line = "coro: ";
    line.append(name_of(event.level)).append(": ").append(event.verb);
    if (!event.endpoint.empty()) line.append(" ").append(event.endpoint);
    if (!event.task.empty()) line.append(" [").append(event.task).append("]");
    if (event.error) line.append(": ").append(event.error.message());
    if (!event.text.empty()) line.append(": ").append(event.text);
    if (missed != 0) {
        line.append(" (").append(std::to_string(missed));
        line.append(event.level == severity::notice ? " more notices)" : " lines not shown)");
    }
    line.push_back('\n');
    return line;
}

void write_line(const report_event& event) noexcept try {
    lines_on_stderr.write(event.level == severity::notice,
                          [&event](unsigned missed) { return line_of(event, missed); });
} catch (const std::exception&) {
    static_cast<void>(write_without_waiting("coro: error: report: out of memory\n"));
}

}  // namespace

void set_report_hook(report_hook hook, void* user) noexcept {
    const std::lock_guard lock(present_hook.guard);
    present_hook.hook = hook;
    present_hook.user = user;
}

void report(const report_event& event) noexcept {
    report_hook hook = nullptr;
    void* user = nullptr;
    {
        const std::lock_guard lock(present_hook.guard);
        hook = present_hook.hook;
        user = present_hook.user;
    }
    if (hook != nullptr) hook(event, user);
    else write_line(event);
}

namespace detail {

bool write_to_stderr(std::string_view text, const std::atomic<bool>& in_a_hurry) noexcept {
    constexpr std::int64_t usual = 1000;  // milliseconds
    std::int64_t until = std::numeric_limits<std::int64_t>::max();
    const auto patience = [&] {
        if (!in_a_hurry.load()) return static_cast<int>(usual);
        const std::int64_t now = monotonic_milliseconds();
        until = std::min(until, now + usual);
        return static_cast<int>(std::max(until - now, std::int64_t{0}));
    };
    return write_pieces(text, patience) == text.size();
}

}  // namespace detail
}}  // namespace coro::v0
