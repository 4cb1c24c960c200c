// The thread of a run that turns no loop: it writes the dump that a signal asks for, and reports a
// loop that stands, while it stands.
#include <dirent.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <coro/runtime/signal_set.hpp>

#include "child_process.hpp"
#include "net_test_support.hpp"

// Not in the library's namespace: its own frames are not named.
namespace lookout_program {

using namespace std::chrono_literals;

static int line_of_last_await = 0;

/// Holds the thread of its loop until it is told to go on.
static coro::task<> hold_the_thread(std::atomic<bool>& holds, const std::atomic<bool>& go_on) {
    line_of_last_await = __LINE__ + 1;
    co_await coro::yield();
    holds = true;
    while (!go_on) std::this_thread::sleep_for(1ms);
}

}  // namespace lookout_program

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using namespace lookout_program;

bool contains(const std::string& text, std::string_view part) {
    return text.find(part) != std::string::npos;
}

/// What is written to stderr while it lives.
class stderr_reader {
public:
    stderr_reader() : before_(::dup(STDERR_FILENO)) {
        int ends[2] = {-1, -1};
        EXPECT_EQ(::pipe(ends), 0);
        ::dup2(ends[1], STDERR_FILENO);
        ::close(ends[1]);
        reading_ = std::jthread([this, from = ends[0]] {
            char buffer[4096];
            for (ssize_t n; (n = ::read(from, buffer, sizeof buffer)) > 0;) {
                const std::lock_guard lock(guard_);
                text_.append(buffer, static_cast<std::size_t>(n));
            }
            ::close(from);
        });
    }
    stderr_reader(const stderr_reader&) = delete;
    stderr_reader& operator=(const stderr_reader&) = delete;
    ~stderr_reader() {
        ::dup2(before_, STDERR_FILENO);
        ::close(before_);
    }
    [[nodiscard]] std::string text() {
        const std::lock_guard lock(guard_);
        return text_;
    }

private:
    int before_;
    std::mutex guard_;
    std::string text_;
    std::jthread reading_;
};

/// Reports that any thread may make.
class told_texts {
public:
    told_texts() {
        set_report_hook(
            [](const report_event& event, void* to) noexcept {
                auto& mine = *static_cast<told_texts*>(to);
                const std::lock_guard lock(mine.guard_);
                mine.all_.push_back(std::string(event.task) + ": " + std::string(event.text));
            },
            this);
    }
    told_texts(const told_texts&) = delete;
    told_texts& operator=(const told_texts&) = delete;
    ~told_texts() { set_report_hook(nullptr, nullptr); }

    [[nodiscard]] std::vector<std::string> with(std::string_view part) {
        const std::lock_guard lock(guard_);
        std::vector<std::string> found;
        for (const std::string& each : all_)
            if (contains(each, part)) found.push_back(each);
        return found;
    }

private:
    std::mutex guard_;
    std::vector<std::string> all_;
};

class lookout_test : public world_test {
protected:
    [[nodiscard]] run_options with_dump(unsigned loops, int number) const {
        run_options how = with_loops(loops);
        how.dump_signal = number;
        return how;
    }
    [[nodiscard]] std::error_code refused(const run_options& how) const {
        try {
            run([]() -> task<> { co_return; }(), how);
        } catch (const io_error& error) {
            EXPECT_TRUE(contains(error.what(), "dump_signal") || contains(error.what(), "watchdog"))
                << error.what();
            return error.code();
        }
        return {};
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, lookout_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

bool has_default_action(int number) {
    struct sigaction present {};
    return ::sigaction(number, nullptr, &present) == 0 && present.sa_handler == SIG_DFL;
}

/// As docs/guide/running.md tells a stranger to do it: the signal in the name of a thread of this
/// process; 0: none.
int signal_in_thread_names() {
    int found = 0;
    DIR* const tasks = ::opendir("/proc/self/task");
    while (const dirent* const each = ::readdir(tasks)) {
        std::string name;
        std::ifstream("/proc/self/task/" + std::string(each->d_name) + "/comm") >> name;
        if (name.starts_with("coro-dump-")) found = std::stoi(name.substr(10));
    }
    ::closedir(tasks);
    return found;
}

TEST_P(lookout_test, the_signal_writes_the_dump_while_a_loop_stands_and_the_run_goes_on) {
    std::atomic<bool> holds{false};
    std::atomic<bool> go_on{false};
    stderr_reader reader;
    const auto body = [&](task_group& group) -> task<> {
        group.spawn({.name = "holder", .loop = 1}, hold_the_thread, std::ref(holds),
                    std::ref(go_on));
        while (!holds) co_await sleep_for(1ms);
        const int number = signal_in_thread_names();
        EXPECT_EQ(number, SIGQUIT);
        ::kill(::getpid(), number);
        while (!contains(reader.text(), "counters: turns ")) co_await sleep_for(1ms);
        go_on = true;
    };
    run(with_task_group(body), with_dump(2, SIGQUIT));
    const std::string text = reader.text();
    EXPECT_TRUE(contains(text, "coro: SIGQUIT: all tasks of process ")) << text;
    EXPECT_TRUE(contains(text, "loop 1 of 2, run ")) << text;
    EXPECT_TRUE(contains(text, "; it last resumed task #")) << text;
    EXPECT_TRUE(contains(text, "#1 main sleep since ")) << text;
    EXPECT_TRUE(has_default_action(SIGQUIT));
    EXPECT_EQ(signal_in_thread_names(), 0);
}

TEST_P(lookout_test, runs_share_the_signal_and_the_one_that_is_left_answers) {
    stderr_reader reader;
    std::atomic<bool> other_is_there{false};
    std::atomic<bool> other_may_end{false};
    std::jthread other([&] {
        run([](std::atomic<bool>& there, std::atomic<bool>& may_end) -> task<> {
            there = true;
            while (!may_end) co_await sleep_for(1ms);
        }(other_is_there, other_may_end), with_dump(1, SIGQUIT));
    });
    const auto body = [&]() -> task<> {
        while (!other_is_there) co_await sleep_for(1ms);
        ::kill(::getpid(), SIGQUIT);
        while (!contains(reader.text(), "leases ")) co_await sleep_for(1ms);
        other_may_end = true;
        co_await blocking([&] { other.join(); });
        const std::size_t before = reader.text().size();
        ::kill(::getpid(), SIGQUIT);
        while (!contains(reader.text().substr(before), "leases ")) co_await sleep_for(1ms);
    };
    run(body(), with_dump(1, SIGQUIT));
    EXPECT_TRUE(has_default_action(SIGQUIT));
}

TEST_P(lookout_test, a_signal_that_cannot_be_it_is_refused_by_a_sentence) {
    const std::error_code invalid = std::make_error_code(std::errc::invalid_argument);
    for (const int number : {-1, 32, 999, SIGKILL, SIGSEGV, SIGURG})
        EXPECT_EQ(refused(with_dump(1, number)), invalid) << number;
    run_options handling = with_dump(1, SIGTERM);
    handling.signals = signal_policy::handle;
    EXPECT_EQ(refused(handling), invalid);
    EXPECT_EQ(refused(with_dump(1, SIGTERM)), std::error_code());  // signals = leave
}

TEST_P(lookout_test, a_signal_belongs_to_a_signal_set_or_to_the_run) {
    const std::error_code busy = std::make_error_code(std::errc::device_or_resource_busy);
    const auto watching = [&]() -> task<> {
        signal_set signals{SIGQUIT, SIGURG};
        run_options watched = with_loops(1);
        watched.watchdog = 1min;
        co_await blocking([&] {
            EXPECT_EQ(refused(with_dump(1, SIGQUIT)), busy);
            EXPECT_EQ(refused(watched), busy);
        });
    };
    in_loops(1, watching());
    const auto asking = [&]() -> task<> {
        for (const int number : {SIGQUIT, SIGURG}) {
            std::error_code why;
            try {
                signal_set signals{number};
            } catch (const io_error& error) {
                why = error.code();
            }
            EXPECT_EQ(why, busy) << number;
        }
        co_return;
    };
    run_options how = with_dump(1, SIGQUIT);
    how.watchdog = 1min;
    run(asking(), how);
    EXPECT_TRUE(has_default_action(SIGQUIT));
    EXPECT_TRUE(has_default_action(SIGURG));
}

TEST_P(lookout_test, the_watchdog_names_the_task_and_the_stack_while_the_loop_stands) {
    told_texts told;
    std::atomic<bool> go_on{false};
    std::atomic<bool> holds{false};
    const auto hold_once = [&](task_group& group) -> task<> {
        const std::size_t before = told.with("loop 1 of 2, run ").size();
        go_on = false;
        group.spawn({.name = "holder", .loop = 1}, hold_the_thread, std::ref(holds),
                    std::ref(go_on));
        while (told.with("loop 1 of 2, run ").size() == before) co_await sleep_for(1ms);
        co_await sleep_for(60ms);  // three spans: a hold is told once
        go_on = true;
    };
    // Where the machine is busy a thread may not answer within a second.
    const auto body = [&]() -> task<> {
        for (int tries = 20; tries != 0 && told.with("holder: ").empty(); --tries)
            co_await with_task_group(hold_once);
    };
    run_options how = with_loops(2);
    how.watchdog = 20ms;
    run(body(), how);
    const std::vector<std::string> reports = told.with("holder: ");
    ASSERT_EQ(reports.size(), 1u) << ::testing::PrintToString(reports);
    EXPECT_TRUE(reports[0].starts_with("holder: loop 1 of 2, run ")) << reports[0];
    EXPECT_TRUE(contains(reports[0], " has not turned for ")) << reports[0];
    EXPECT_TRUE(contains(reports[0], " \"holder\", after its await at "
                                     "lookout_test.cpp:" + std::to_string(line_of_last_await)))
        << reports[0];
    EXPECT_TRUE(contains(reports[0], "; its stack: ")) << reports[0];
    EXPECT_TRUE(contains(reports[0], "nanosleep")) << reports[0];
    EXPECT_TRUE(contains(reports[0], " ← ")) << reports[0];
    EXPECT_TRUE(has_default_action(SIGURG));
}

TEST_P(lookout_test, a_loop_that_sleeps_in_its_poller_is_not_reported) {
    told_texts told;
    run_options how = with_loops(2);
    how.watchdog = 200ms;
    run([]() -> task<> { co_await sleep_for(500ms); }(), how);
    EXPECT_TRUE(told.with(" has not turned for ").empty());
}

TEST_P(lookout_test, a_process_that_was_stopped_is_said_to_have_been) {
    const auto text_of_stopped_child = [this] {
        child_process child([this](parent_line line) {
            std::atomic<bool> go_on{false};
            struct hook_data {
                parent_line line;
                std::atomic<bool>& go_on;
            } data{line, go_on};
            set_report_hook(
                [](const report_event& event, void* to) noexcept {
                    auto& mine = *static_cast<hook_data*>(to);
                    mine.line.say(event.text);
                    mine.go_on = true;
                },
                &data);
            const auto body = [&]() -> task<> {
                co_await yield();
                line.say("holds ");
                while (!go_on) std::this_thread::sleep_for(1ms);
            };
            run_options how = with_loops(1);
            how.watchdog = 400ms;
            run(body(), how);
            return 0;
        });
        EXPECT_TRUE(child.heard("holds "));
        child.signal(SIGSTOP);
        std::this_thread::sleep_for(300ms);
        child.signal(SIGCONT);
        const std::string words = child.all_words();
        EXPECT_TRUE(child.exited_with(0));
        return words;
    };
    // On a busy machine the report may come before the process is stopped.
    std::string text;
    for (int tries = 20; tries != 0 && !contains(text, "; the process was stopped, or "); --tries)
        text = text_of_stopped_child();
    EXPECT_TRUE(contains(text, "; the process was stopped, or got no processor, for ")) << text;
    EXPECT_TRUE(contains(text, " and stands in task #1 \"main\"")) << text;
}

TEST(lookout_of_simulation_test, it_has_neither_signal_nor_watchdog) {
    run_options how = options_for(poller_choice::simulation);
    how.dump_signal = SIGQUIT;
    how.watchdog = 4ms;
    const auto body = []() -> task<> {
        EXPECT_TRUE(has_default_action(SIGQUIT));
        EXPECT_TRUE(has_default_action(SIGURG));
        co_await sleep_for(1h);
    };
    run(body(), how);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
