// The thread of a run that turns no loop: it writes the dump that a signal asks for, and reports a
// loop that stands, while it stands.
#include <dirent.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <ctime>
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
    /// Whether the run cannot begin, with that error and these words in its sentence.
    static void expect_refused(const run_options& how, std::errc why, std::string_view words) {
        try {
            run([]() -> task<> { co_return; }(), how);
            ADD_FAILURE() << "not refused: " << words;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), std::make_error_code(why)) << error.what();
            EXPECT_TRUE(contains(error.what(), words)) << error.what();
        }
    }
};

constexpr std::string_view header = "coro: SIGQUIT: all tasks of process ";

/// Asks this process, once a second, until `part` comes: a loop of a busy machine may not answer in
/// the time that a dump has.
task<> ask_until(stderr_reader& reader, std::string_view part, std::size_t from = 0) {
    for (int waits = 0; !contains(reader.text().substr(from), part); ++waits) {
        if (waits % 1000 == 0) ::kill(::getpid(), SIGQUIT);
        co_await sleep_for(1ms);
    }
}
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
        EXPECT_EQ(signal_in_thread_names(), SIGQUIT);
        co_await ask_until(reader, "counters: turns ");
        go_on = true;
    };
    run(with_task_group(body), with_dump(2, SIGQUIT));
    const std::string text = reader.text();
    EXPECT_TRUE(contains(text, header)) << text;
    EXPECT_TRUE(contains(text, "loop 1 of 2, run ")) << text;
    EXPECT_TRUE(contains(text, "; it last resumed task #")) << text;
    EXPECT_TRUE(contains(text, "#1 main ")) << text;
    EXPECT_TRUE(has_default_action(SIGQUIT));
    // A thread that was joined is in /proc for a moment longer.
    while (signal_in_thread_names() != 0) std::this_thread::sleep_for(1ms);
}

/// A run on a thread of its own until it is told to end.
class other_run {
public:
    explicit other_run(run_options how)
        : thread_([this, how] {
              run([](other_run& self) -> task<> {
                  self.there_ = true;
                  while (!self.may_end_) co_await sleep_for(1ms);
              }(*this), how);
          }) {
        while (!there_) std::this_thread::sleep_for(1ms);
    }
    void end() {
        may_end_ = true;
        thread_.join();
    }

private:
    std::atomic<bool> there_{false};
    std::atomic<bool> may_end_{false};
    std::jthread thread_;
};

TEST_P(lookout_test, runs_share_the_signal_and_the_one_that_is_left_answers) {
    stderr_reader reader;
    other_run other(with_dump(1, SIGQUIT));
    const auto body = [&]() -> task<> {
        co_await ask_until(reader, "leases ");
        co_await blocking([&] { other.end(); });
        co_await ask_until(reader, "leases ", reader.text().size());
    };
    run(body(), with_dump(1, SIGQUIT));
    EXPECT_TRUE(has_default_action(SIGQUIT));
}

TEST_P(lookout_test, one_signal_is_one_dump_of_all_runs) {
    stderr_reader reader;
    other_run other(with_dump(1, SIGQUIT));
    const auto both_are_told = [&] {
        const std::string text = reader.text();
        return text.find("loop 0 of 1, run ") != text.rfind("loop 0 of 1, run ");
    };
    const auto body = [&]() -> task<> {
        ::kill(::getpid(), SIGQUIT);
        while (!both_are_told()) co_await sleep_for(1ms);
        co_await blocking([&] { other.end(); });
    };
    run(body(), with_dump(1, SIGQUIT));
    const std::string text = reader.text();
    EXPECT_EQ(text.find(header), text.rfind(header)) << text;
}

TEST_P(lookout_test, the_signal_comes_where_the_program_has_blocked_all) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &before);
    {
        stderr_reader reader;
        run(ask_until(reader, "leases "), with_dump(1, SIGQUIT));
        EXPECT_TRUE(contains(reader.text(), header));
    }
    // Of those that were sent again one may have come to nobody.
    sigset_t quit;
    sigemptyset(&quit);
    sigaddset(&quit, SIGQUIT);
    const timespec at_once{};
    while (::sigtimedwait(&quit, nullptr, &at_once) == SIGQUIT) {
    }
    ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_P(lookout_test, a_signal_that_cannot_be_it_is_refused_by_a_sentence) {
    constexpr std::errc invalid = std::errc::invalid_argument;
    const std::string words = "options.dump_signal is ";
    expect_refused(with_dump(1, -1), invalid, words + "-1, which does not exist");
    expect_refused(with_dump(1, 32), invalid, words + "signal 32, which does not exist");
    expect_refused(with_dump(1, 999), invalid, words + "999, which does not exist");
    expect_refused(with_dump(1, SIGKILL), invalid, words + "SIGKILL, which cannot be caught");
    expect_refused(with_dump(1, SIGSEGV), invalid,
                   words + "SIGSEGV, which is a fault of the program itself");
    expect_refused(with_dump(1, SIGURG), invalid,
                   words + "SIGURG, by which a watchdog asks threads: take SIGQUIT");
    run_options handling = with_dump(1, SIGTERM);
    handling.signals = signal_policy::handle;
    expect_refused(handling, invalid,
                   words + "SIGTERM, which ends the run unless options.signals = leave");
    run([]() -> task<> { co_return; }(), with_dump(1, SIGTERM));  // signals = leave
}

TEST_P(lookout_test, a_signal_belongs_to_a_signal_set_or_to_the_run) {
    const auto watching = [&]() -> task<> {
        signal_set signals{SIGQUIT, SIGURG};
        run_options watched = with_loops(1);
        watched.watchdog = 1min;
        co_await blocking([&] {
            expect_refused(with_dump(1, SIGQUIT), std::errc::device_or_resource_busy,
                           "options.dump_signal is SIGQUIT, which a signal_set or another run ");
            expect_refused(watched, std::errc::device_or_resource_busy,
                           "options.watchdog asks threads by SIGURG, which a signal_set watches");
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
            EXPECT_EQ(why, std::make_error_code(std::errc::device_or_resource_busy)) << number;
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

TEST_P(lookout_test, a_thread_that_does_not_answer_is_said_so_and_the_shortest_span_is_watched) {
    told_texts told;
    const auto body = [&]() -> task<> {
        sigset_t urgent;
        sigset_t before;
        sigemptyset(&urgent);
        sigaddset(&urgent, SIGURG);
        ::pthread_sigmask(SIG_BLOCK, &urgent, &before);
        while (told.with("loop 0 of 1, run ").empty()) std::this_thread::sleep_for(1ms);
        ::pthread_sigmask(SIG_SETMASK, &before, nullptr);
        co_return;
    };
    run_options how = with_loops(1);
    how.watchdog = 1ms;
    run(body(), how);
    const std::string text = told.with("loop 0 of 1, run ").at(0);
    EXPECT_TRUE(contains(text, "; it last resumed task #1, and its thread did not answer SIGURG "
                               "within a second, so its stack is not known"))
        << text;
}

std::atomic<int> own_signals{0};

/// The program's own disposition of SIGURG, while it lives.
class own_disposition {
public:
    own_disposition(void (*handler)(int), int flags) {
        own_signals = 0;
        struct sigaction own {};
        own.sa_handler = handler;
        own.sa_flags = flags;
        ::sigaction(SIGURG, &own, &before_);
    }
    own_disposition(const own_disposition&) = delete;
    own_disposition& operator=(const own_disposition&) = delete;
    ~own_disposition() { ::sigaction(SIGURG, &before_, nullptr); }

private:
    struct sigaction before_ {};
};

task<> send_own_signals() {
    ::raise(SIGURG);
    ::pthread_kill(::pthread_self(), SIGURG);
    co_return;
}

TEST_P(lookout_test, the_program_gets_the_signals_that_it_sends_to_its_threads) {
    const own_disposition counting([](int) { own_signals.fetch_add(1); }, 0);
    run_options how = with_loops(1);
    how.watchdog = 1min;
    run(send_own_signals(), how);
    EXPECT_EQ(own_signals, 2);
}

TEST_P(lookout_test, a_signal_that_the_program_ignores_stays_so_whatever_its_flags_say) {
    const own_disposition ignoring(SIG_IGN, SA_SIGINFO);
    run_options how = with_loops(1);
    how.watchdog = 1min;
    run(send_own_signals(), how);
    EXPECT_EQ(own_signals, 0);
}

TEST_P(lookout_test, a_loop_that_sleeps_in_its_poller_is_not_reported) {
    run_options how = with_loops(2);
    how.watchdog = 100ms;
    bool reported = true;
    // On a busy machine a loop may be without a processor for so long inside of a turn.
    for (int tries = 20; tries != 0 && reported; --tries) {
        told_texts told;
        run([]() -> task<> { co_await sleep_for(300ms); }(), how);
        reported = !told.with(" has not turned for ").empty();
    }
    EXPECT_FALSE(reported);
}

/// Of `… got no processor, for 1.2 s of it`; zero where it does not say so.
duration lost_in(const std::string& text) {
    const std::string_view before = "; the process was stopped, or got no processor, for ";
    const std::size_t at = text.find(before);
    if (at == std::string::npos) return duration::zero();
    std::size_t size = 0;
    const std::string rest = text.substr(at + before.size());
    const double number = std::stod(rest, &size);
    const double milliseconds = rest.substr(size).starts_with(" ms of it") ? number : number * 1000;
    return std::chrono::milliseconds(static_cast<int>(milliseconds));
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
                    if (event.text.find(" has not turned for ") == std::string_view::npos) return;
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
        for (int times = 0; times < 2; ++times) {
            child.signal(SIGSTOP);
            std::this_thread::sleep_for(400ms);
            child.signal(SIGCONT);
            std::this_thread::sleep_for(100ms);
        }
        const std::string words = child.all_words();
        EXPECT_TRUE(child.exited_with(0));
        return words;
    };
    // On a busy machine the report may come before the process is stopped. Both times count, but
    // for the wait that was due in each.
    std::string text;
    for (int tries = 20; tries != 0 && lost_in(text) < 550ms; --tries)
        text = text_of_stopped_child();
    EXPECT_GE(lost_in(text), 550ms) << text;
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
