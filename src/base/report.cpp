// The report hook and its default: one line on stderr, rate-limited.
#include <coro/base/report.hpp>

#include <atomic>
#include <cstdio>
#include <ctime>
#include <mutex>
#include <string>

namespace coro::inline v0 {
namespace {

constexpr int lines_per_second = 20;

/// The hook and its argument change together, so both stand behind one lock; reports are rare.
struct hook_state {
    std::mutex guard;
    report_hook hook = nullptr;
    void* user = nullptr;
};

hook_state& state() {
    static hook_state instance;
    return instance;
}

/// Counts lines within the present second of coarse real time. The clock is read here and not
/// taken from a loop because a report may come from outside of any loop.
class line_limiter {
public:
    /// Whether one more line may be written; `missed` is how many were not since the last one.
    bool admit(unsigned& missed) {
        std::timespec now{};
        ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
        const std::lock_guard lock(guard_);
        if (now.tv_sec != second_) {
            second_ = now.tv_sec;
            written_ = 0;
        }
        if (written_ >= lines_per_second) {
            ++missed_;
            return false;
        }
        ++written_;
        missed = missed_;
        missed_ = 0;
        return true;
    }

private:
    std::mutex guard_;
    std::time_t second_ = 0;
    int written_ = 0;
    unsigned missed_ = 0;
};

const char* name_of(severity level) {
    switch (level) {
        case severity::info: return "info";
        case severity::warning: return "warning";
        case severity::error: return "error";
    }
    return "?";
}

void write_line(const report_event& event) noexcept try {
    static line_limiter limiter;
    unsigned missed = 0;
    if (!limiter.admit(missed)) return;
    std::string line = "coro: ";
    line.append(name_of(event.level)).append(": ").append(event.verb);
    if (!event.endpoint.empty()) line.append(" ").append(event.endpoint);
    if (!event.task.empty()) line.append(" [").append(event.task).append("]");
    if (event.error) line.append(": ").append(event.error.message());
    if (!event.text.empty()) line.append(": ").append(event.text);
    if (missed != 0) line.append(" (").append(std::to_string(missed)).append(" lines not shown)");
    line.push_back('\n');
    std::fwrite(line.data(), 1, line.size(), stderr);
} catch (const std::exception&) {
    std::fputs("coro: error: report: out of memory\n", stderr);
}

}  // namespace

void set_report_hook(report_hook hook, void* user) noexcept {
    const std::lock_guard lock(state().guard);
    state().hook = hook;
    state().user = user;
}

void report(const report_event& event) noexcept {
    report_hook hook = nullptr;
    void* user = nullptr;
    {
        const std::lock_guard lock(state().guard);
        hook = state().hook;
        user = state().user;
    }
    if (hook != nullptr) hook(event, user);
    else write_line(event);
}

}  // namespace coro::inline v0
