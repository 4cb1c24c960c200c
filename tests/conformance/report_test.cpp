// The report hook, and what is written to stderr while there is none.
#include <coro/base/report.hpp>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <string>
#include <system_error>
#include <thread>

#include <gtest/gtest.h>

namespace {

using namespace std::chrono_literals;

/// The second that the default hook counts its lines in.
std::time_t present_second() {
    std::timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return now.tv_sec;
}

/// A fresh second, and a line in it that says what was missed before.
void begin_second() {
    const std::time_t begun = present_second();
    while (present_second() == begun) std::this_thread::sleep_for(1ms);
    coro::report({.level = coro::severity::info, .verb = "begin", .endpoint = {}, .error = {},
                  .text = {}, .task = {}});
}

void report_numbered(int count) {
    for (int i = 0; i < count; ++i) {
        const std::string number = std::to_string(i);
        coro::report({.level = coro::severity::info, .verb = "probe", .endpoint = {}, .error = {},
                      .text = number, .task = {}});
    }
}

TEST(report_default, names_level_verb_endpoint_task_cause_and_text_in_this_order) {
    begin_second();
    testing::internal::CaptureStderr();
    coro::report({.level = coro::severity::error, .verb = "accept", .endpoint = "127.0.0.1:80",
                  .error = std::make_error_code(std::errc::too_many_files_open),
                  .text = "raise the limit", .task = "acceptor"});
    coro::report({.level = coro::severity::warning, .verb = "serve", .endpoint = {}, .error = {},
                  .text = "lower the cap", .task = {}});
    EXPECT_EQ(testing::internal::GetCapturedStderr(),
              "coro: error: accept 127.0.0.1:80 [acceptor]: Too many open files: raise the limit\n"
              "coro: warning: serve: lower the cap\n");
}

TEST(report_default, writes_twenty_lines_a_second_and_counts_the_rest) {
    std::string within;
    std::string after;
    for (bool in_one_second = false; !in_one_second;) {
        testing::internal::CaptureStderr();
        begin_second();
        const std::time_t begun = present_second();
        report_numbered(50);
        in_one_second = present_second() == begun;
        within = testing::internal::GetCapturedStderr();
        testing::internal::CaptureStderr();
        begin_second();
        after = testing::internal::GetCapturedStderr();
    }
    EXPECT_EQ(std::count(within.begin(), within.end(), '\n'), 20) << within;
    EXPECT_TRUE(within.ends_with("coro: info: probe: 18\n")) << within;
    EXPECT_EQ(after, "coro: info: begin (31 lines not shown)\n");
}

std::time_t notices_since(std::time_t begun, int count) {
    for (int i = 0; i < count; ++i)
        coro::report({.level = coro::severity::notice, .verb = "recv", .endpoint = "127.0.0.1:9",
                      .error = std::make_error_code(std::errc::connection_reset), .text = {},
                      .task = {}});
    return present_second() - begun;
}

/// However long it takes: each further line needs ten seconds more.
TEST(report_default, sums_notices_up_in_one_line_in_ten_seconds) {
    const std::time_t begun = present_second();
    testing::internal::CaptureStderr();
    const std::time_t took = notices_since(begun, 1000);
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 1 + (took + 1) / 10) << text;
    // The next line counts them, and none is lost.
    std::string later;
    while (later.empty()) {
        std::this_thread::sleep_for(100ms);
        testing::internal::CaptureStderr();
        notices_since(begun, 1);
        later = testing::internal::GetCapturedStderr();
    }
    EXPECT_TRUE(later.starts_with("coro: notice: recv 127.0.0.1:9: Connection reset by peer ("))
        << later;
    EXPECT_TRUE(later.ends_with(" more notices)\n")) << later;
}

TEST(report_default, notices_take_no_line_of_the_others) {
    begin_second();
    testing::internal::CaptureStderr();
    notices_since(0, 100);
    coro::report({.level = coro::severity::error, .verb = "accept", .endpoint = {}, .error = {},
                  .text = "raise the limit", .task = {}});
    const std::string text = testing::internal::GetCapturedStderr();
    EXPECT_TRUE(text.ends_with("coro: error: accept: raise the limit\n")) << text;
}

TEST(report_hook, is_told_instead_and_nullptr_restores_the_default) {
    int told = 0;
    const auto count = [](const coro::report_event& event, void* user) noexcept {
        if (event.verb == "begin") ++*static_cast<int*>(user);
    };
    coro::set_report_hook(count, &told);
    testing::internal::CaptureStderr();
    begin_second();
    EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(told, 1);
    coro::set_report_hook(nullptr, nullptr);
    testing::internal::CaptureStderr();
    begin_second();
    EXPECT_NE(testing::internal::GetCapturedStderr(), "");
    EXPECT_EQ(told, 1);
}

}  // namespace
