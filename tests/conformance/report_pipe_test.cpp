// The default report hook against a stderr that nobody reads: a loop that reports goes on.
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <string>
#include <string_view>
#include <thread>

#include "base/stderr_text.hpp"
#include "child_process.hpp"
#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class report_pipe_test : public world_test {
protected:
    /// Runs `body(own_stderr, line)` as a task in a child; its words must be `expected`.
    template <typename Body>
    void in_child(Body body, std::string_view expected);
};
INSTANTIATE_TEST_SUITE_P(worlds, report_pipe_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// The stderr of this process is a pipe of which it holds the other end too.
class pipe_as_stderr {
public:
    pipe_as_stderr() {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0 || ::dup2(ends[1], STDERR_FILENO) < 0) ::_exit(98);
        ::close(ends[1]);
        reader_ = ends[0];
    }

    /// Fills it to the last byte.
    void fill() {
        const int flags = ::fcntl(STDERR_FILENO, F_GETFL);
        ::fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
        const std::string page(PIPE_BUF, 'x');
        while (::write(STDERR_FILENO, page.data(), page.size()) > 0) {
        }
        while (::write(STDERR_FILENO, page.data(), 1) > 0) {
        }
        if (errno != EAGAIN) ::_exit(97);
        ::fcntl(STDERR_FILENO, F_SETFL, flags);
    }
    /// Takes so many bytes out of it, or fewer if there are no more.
    std::string take(std::size_t most) {
        const int flags = ::fcntl(reader_, F_GETFL);
        ::fcntl(reader_, F_SETFL, flags | O_NONBLOCK);
        std::string taken(most, '\0');
        std::size_t size = 0;
        ssize_t count = 0;
        while (size < most &&
               (count = ::read(reader_, taken.data() + size, most - size)) > 0)
            size += static_cast<std::size_t>(count);
        taken.resize(size);
        return taken;
    }
    std::string take_all() { return take(std::size_t{1} << 22); }
    void close_reader() { ::close(reader_); }

private:
    int reader_ = -1;
};

void report_text(std::string_view text) {
    report({.level = severity::info, .verb = "probe", .endpoint = {}, .error = {}, .text = text,
            .task = {}});
}

/// What the process, before it was forked, has not shown is told now; and this second has room.
void begin_to_report(pipe_as_stderr& own) {
    do report_text("begin");
    while (own.take_all().empty());
}

template <typename Body>
void report_pipe_test::in_child(Body body, std::string_view expected) {
    child_process child([&](parent_line line) {
        pipe_as_stderr own;
        begin_to_report(own);
        const auto main = [&]() -> task<> {
            static_cast<void>(own.take_all());  // run() may have told which poller it got
            co_await body(own, line);
        };
        run(main(), options_for(GetParam()));
        return 0;
    });
    EXPECT_EQ(child.all_words(), expected);
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

TEST_P(report_pipe_test, a_full_pipe_holds_up_nobody_and_the_lines_are_counted) {
    const auto body = [](pipe_as_stderr& own, parent_line line) -> task<> {
        own.fill();
        for (int i = 0; i < 5; ++i) {
            report_text("into the full pipe");
            co_await yield();
        }
        line.say("went on\n");
        static_cast<void>(own.take_all());
        report_text("room again");
        line.say(own.take_all());
        report_text("and more");
        line.say(own.take_all());
    };
    in_child(body,
             "went on\n"
             "coro: info: probe: room again (5 lines not shown)\n"
             "coro: info: probe: and more\n");
}

TEST_P(report_pipe_test, a_line_that_fits_in_part_only_is_counted_and_the_next_begins_anew) {
    const auto body = [](pipe_as_stderr& own, parent_line line) -> task<> {
        own.fill();
        static_cast<void>(own.take(PIPE_BUF));  // room for one piece
        report_text(std::string(3 * std::size_t{PIPE_BUF}, 'l'));
        static_cast<void>(own.take_all());
        report_text("next");
        line.say(own.take_all());
        co_return;
    };
    in_child(body, "\ncoro: info: probe: next (1 lines not shown)\n");
}

TEST_P(report_pipe_test, a_line_longer_than_a_piece_is_written_whole) {
    const std::string text(3 * std::size_t{PIPE_BUF}, 'l');
    const auto body = [&text](pipe_as_stderr& own, parent_line line) -> task<> {
        report_text(text);
        line.say(own.take_all() == "coro: info: probe: " + text + "\n" ? "whole" : "cut");
        co_return;
    };
    in_child(body, "whole");
}

TEST_P(report_pipe_test, a_pipe_whose_reader_has_gone_does_not_end_the_program) {
    const auto body = [](pipe_as_stderr& own, parent_line line) -> task<> {
        own.close_reader();
        report_text("to nobody");
        line.say("alive");
        co_return;
    };
    in_child(body, "alive");
}

TEST_P(report_pipe_test, a_closed_stderr_is_no_error) {
    const auto body = [](pipe_as_stderr&, parent_line line) -> task<> {
        ::close(STDERR_FILENO);
        report_text("to nobody");
        line.say("alive");
        co_return;
    };
    in_child(body, "alive");
}

/// poll(2) says that it has room, but a write is EPIPE with SIGPIPE. So it is with a pipe whose
/// reader goes between the two.
void stderr_without_reader() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0 || ::shutdown(ends[1], SHUT_RD) != 0 ||
        ::dup2(ends[0], STDERR_FILENO) < 0)
        ::_exit(98);
}

TEST(stderr_text_test, a_reader_that_goes_before_the_write_does_not_end_the_program) {
    child_process child([](parent_line line) {
        sigset_t pending;
        stderr_without_reader();
        report_text("to nobody");
        const std::atomic<bool> in_a_hurry{false};
        line.say(write_to_stderr("to nobody", in_a_hurry) ? "written " : "not written ");
        sigemptyset(&pending);
        ::sigpending(&pending);
        line.say(::sigismember(&pending, SIGPIPE) == 1 ? "pending" : "not pending");
        return 0;
    });
    EXPECT_EQ(child.all_words(), "not written not pending");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

TEST(stderr_text_test, a_slow_reader_does_not_hold_up_one_that_is_in_a_hurry) {
    child_process child([](parent_line line) {
        pipe_as_stderr own;
        std::atomic<bool> over{false};
        std::thread reader([&] {
            while (!over) {
                static_cast<void>(own.take(PIPE_BUF));
                std::this_thread::sleep_for(std::chrono::milliseconds(100));
            }
        });
        const std::atomic<bool> in_a_hurry{true};
        const std::string text(std::size_t{1} << 20, 'x');
        line.say(write_to_stderr(text, in_a_hurry) ? "written" : "given up");
        over = true;
        reader.join();
        return 0;
    });
    EXPECT_EQ(child.all_words(), "given up");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

/// A full pipe keeps the other thread asking for room, hence nearly always amid a report.
TEST(report_fork_test, a_child_that_is_forked_while_another_thread_reports_reports_too) {
    child_process child([&](parent_line line) {
        pipe_as_stderr own;
        own.fill();
        std::atomic<bool> ends = false;
        std::thread busy([&ends] {
            while (!ends) report_text("of the other thread");
        });
        bool all_went = true;
        for (int forks = 0; forks < 100; ++forks) {
            const pid_t forked = ::fork();
            if (forked == 0) {
                report_text("of the child");
                set_report_hook(nullptr, nullptr);
                ::_exit(0);
            }
            int status = -1;
            all_went = ::waitpid(forked, &status, 0) == forked && status == 0 && all_went;
        }
        report_text("of the parent");
        ends = true;
        busy.join();
        line.say(all_went ? "all" : "not all");
        return 0;
    });
    EXPECT_EQ(child.all_words(), "all");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
