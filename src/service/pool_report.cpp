// What a pool tells the operator: a server that is down or back, leases that are held for long.
#include "service/pool_core.hpp"

#include <array>
#include <cstdio>
#include <new>
#include <string>

#include <coro/base/report.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

std::string seconds_of(duration span) {
    std::array<char, 32> text{};
    std::snprintf(text.data(), text.size(), "%.1f s",
                  std::chrono::duration<double>(span).count());
    return text.data();
}

std::string place_of(const std::source_location& site) {
    return std::string(site.file_name()) + ":" + std::to_string(site.line());
}

}  // namespace

// --- the server

void pool_core::report_down(const std::exception_ptr& why) const noexcept {
    report_exception({.level = severity::error, .verb = "connect", .endpoint = options_.name,
                      .error = {}, .text = "the server is down, and acquire() fails at once",
                      .task = {}},
                     why);
}

void pool_core::report_back() const noexcept {
    report({.level = severity::info, .verb = "connect", .endpoint = options_.name, .error = {},
            .text = "the server is back", .task = {}});
}

// --- leases that are held for long

void pool_core::report_leak(const pool_leak& leak) const noexcept {
    try {
        const std::string where = dump_task(leak.task);
        const std::string text = "a connection is held for " + seconds_of(leak.held) +
                                 ", acquired at " + place_of(leak.site) +
                                 (where.empty() ? "; the task that acquired it has ended"
                                                : "; its holder: " + where);
        report({.level = severity::warning, .verb = "acquire", .endpoint = options_.name,
                .error = {}, .text = text, .task = {}});
    } catch (const std::bad_alloc&) {  // counted, and not named
    }
}

void pool_core::report_returned(const std::source_location& site, duration held) const noexcept {
    try {
        const std::string text = "the connection that was acquired at " + place_of(site) +
                                 " has come back after " + seconds_of(held);
        report({.level = severity::info, .verb = "acquire", .endpoint = options_.name,
                .error = {}, .text = text, .task = {}});
    } catch (const std::bad_alloc&) {  // the first report stands
    }
}

/// At the end of the pool: their connections are closed when the leases end.
void pool_core::report_late() noexcept {
    const time_point present = now();
    try {
        std::string text;
        {
            const std::lock_guard held(lock_);
            for (const pooled* it : all_)
                if (it->lent)
                    text += (text.empty() ? "" : "; ") + std::string("acquired at ") +
                            place_of(it->site) + ", held for " + seconds_of(present - it->lent_at);
        }
        if (text.empty()) return;
        report({.level = severity::warning, .verb = "close", .endpoint = options_.name,
                .error = {}, .text = "leases outlive their pool: " + text, .task = {}});
    } catch (const std::bad_alloc&) {  // nobody is told
    }
}

}}}  // namespace coro::v0::detail
