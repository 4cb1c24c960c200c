// What the tests of streams and servers share: a task run in each world, after which nothing may be
// alive, and reports that are collected instead of printed.
#pragma once

#include <algorithm>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include <coro/coro.hpp>
#include <coro/core/with_cancel_scope.hpp>

#include "matrix_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool sanitized = true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
inline constexpr bool sanitized = true;
#else
inline constexpr bool sanitized = false;
#endif
#else
inline constexpr bool sanitized = false;
#endif

/// Collects reports while it lives.
class report_collector {
public:
    struct entry {
        severity level = severity::info;
        std::string verb;
        std::string endpoint;
        std::error_code error;
        std::string text;
        std::string task;
    };

    report_collector() {
        set_report_hook(
            [](const report_event& event, void* user) noexcept {
                // That io_uring is refused here is no news to a test.
                if (event.verb == "run" && event.level == severity::info) return;
                static_cast<report_collector*>(user)->entries.push_back(
                    {event.level, std::string(event.verb), std::string(event.endpoint), event.error,
                     std::string(event.text), std::string(event.task)});
            },
            this);
    }
    report_collector(const report_collector&) = delete;
    report_collector& operator=(const report_collector&) = delete;
    ~report_collector() { set_report_hook(nullptr, nullptr); }

    /// Entries but those that name a handler because a drain is over.
    [[nodiscard]] std::size_t errors() const {
        return static_cast<std::size_t>(std::ranges::count_if(entries, [](const entry& each) {
            return !each.text.starts_with("cancelled, the drain is over");
        }));
    }

    std::vector<entry> entries;
};

template <typename Body>
task<> checked_for_leaks(Body& body) {
    const alive_counts before = count_alive();
    co_await body();
    for (int turn = 0; turn < 2000 && count_alive() != before; ++turn) co_await sleep_for(1ms);
    for (const std::string& each : leaks(before, count_alive())) ADD_FAILURE() << each;
}

inline run_options options_for(poller_choice world, std::uint64_t seed = 0) {
    run_options options;
    options.poller = world;
    options.strict = insists(world);
    options.signals = signal_policy::leave;
    options.seed = seed;
    return options;
}

/// Runs `body()` in `world`; afterwards nothing may be alive. A hang is errc::deadline_exceeded.
template <typename Body>
void run_in(poller_choice world, Body& body, std::uint64_t seed = 0) {
    const std::size_t descriptors = open_descriptors();
    const auto limited = [&]() -> task<> { co_await with_timeout(3min, body()); };
    run(checked_for_leaks(limited), options_for(world, seed));
    EXPECT_EQ(open_descriptors(), descriptors) << "descriptors leaked";
}

class world_test : public ::testing::TestWithParam<poller_choice> {
protected:
    template <typename Body>
    void in_world(Body& body) {
        run_in(GetParam(), body);
    }
    [[nodiscard]] run_options with_loops(unsigned loops) const {
        run_options options = options_for(GetParam());
        options.loops = loops;
        return options;
    }
    template <typename T>
    T in_loops(unsigned loops, task<T> main) const {
        return run(std::move(main), with_loops(loops));
    }
    [[nodiscard]] bool simulated() const { return GetParam() == poller_choice::simulation; }
};

/// The error that `awaitable` ends with; empty if it has a value.
template <typename Awaitable>
task<std::error_code> error_of_await(Awaitable& awaitable) {
    const auto ended = co_await as_result(awaitable);
    co_return ended ? std::error_code() : ended.error().code();
}

inline task<> echo(net::tcp_stream peer) {
    std::array<std::byte, 4096> buffer{};
    while (const std::size_t n = co_await peer.read_some(mutable_bytes(buffer)))
        co_await net::write_all(peer, const_bytes(buffer).first(n));
}

/// Everything until the end of the stream.
inline task<std::string> read_to_end(net::stream& from) {
    std::string all;
    std::array<std::byte, 4096> into{};
    while (const std::size_t n = co_await from.read_some(mutable_bytes(into)))
        all += as_text(const_bytes(into).first(n));
    co_return all;
}

/// "clean", "reset", or what else reading ended with; without the bytes before.
inline task<std::string> end_of(net::stream& from) {
    const auto rest = [&]() -> task<> { (void)co_await read_to_end(from); };
    const auto ended = co_await as_result(rest());
    if (ended.has_value()) co_return "clean";
    co_return ended.error() == std::errc::connection_reset ? "reset" : ended.error().what();
}

inline task<> say(net::stream& to, std::string_view text) {
    co_await net::write_all(to, as_bytes(text));
}

/// Exactly as many bytes as `text` has, which must be those.
inline task<> hear(net::stream& from, std::string_view text) {
    std::string heard(text.size(), '\0');
    co_await net::read_exact(from, std::as_writable_bytes(std::span(heard)));
    EXPECT_EQ(heard, text);
}

}}}  // namespace coro::v0::detail::conformance
