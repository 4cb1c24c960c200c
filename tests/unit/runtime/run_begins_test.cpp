// The beginning of a run where the system refuses something: one choice of the poller for all
// loops, and, when it cannot begin, a sentence with the cause and the remedy. The kernel's part is
// played by tests/support/supervised_thread, whose filter the threads of the loops inherit.
#include <gtest/gtest.h>

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include <coro/coro.hpp>

#include "support/supervised_thread.hpp"

namespace coro::detail {
namespace {

using coro_test::asked_call;
using coro_test::run_supervised;
using coro_test::verdict;
using coro_test::watched_call;

/// Unset, or set, for one test.
class variable {
public:
    variable(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        set(value);
    }
    variable(const variable&) = delete;
    variable& operator=(const variable&) = delete;
    ~variable() { set(old_ ? old_->c_str() : nullptr); }

private:
    void set(const char* value) const {
        if (value != nullptr) ::setenv(name_, value, 1);
        else ::unsetenv(name_);
    }
    const char* name_;
    std::optional<std::string> old_;
};

/// What became of a run.
struct begun {
    std::vector<std::string> reasons;  ///< poller_reason() of each loop
    std::vector<std::string> reports;
    std::string refused;  ///< what() of the io_error
    std::error_code code;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

begun begin(run_options options) {
    begun seen;
    set_report_hook(
        [](const report_event& event, void* user) noexcept {
            static_cast<begun*>(user)->reports.emplace_back(event.text);
        },
        &seen);
    options.signals = signal_policy::leave;
    options.raise_descriptor_limit = false;
    try {
        run(
            [](std::vector<std::string>& reasons) -> task<> {
                reasons.resize(loop_count());
                const auto ask = [&](task_group& group) -> task<> {
                    for (unsigned loop = 0; loop < loop_count(); ++loop)
                        group.spawn(
                            {.loop = loop},
                            [](std::string& into) -> task<> {
                                into = poller_reason();
                                co_return;
                            },
                            std::ref(reasons[loop]));
                    co_return;
                };
                co_await with_task_group(ask);
            }(seen.reasons),
            options);
    } catch (const io_error& problem) {
        seen.refused = problem.what();
        seen.code = problem.code();
    }
    set_report_hook(nullptr, nullptr);
    return seen;
}

class run_begins : public testing::Test {
protected:
    begun begin_under(const std::vector<watched_call>& watched,
                      const std::function<verdict(const asked_call&)>& judge,
                      const run_options& options) {
        begun seen;
        const std::string why = run_supervised(watched, judge, [&] { seen = begin(options); });
        supervised_ = why.empty();
        if (!supervised_) std::printf("not supervised: %s\n", why.c_str());
        return seen;
    }

    bool supervised_ = false;

private:
    variable poller_{"CORO_POLLER", nullptr};
    variable uring_{"CORO_URING", nullptr};
};

#define CORO_SKIP_UNLESS_SUPERVISED() \
    if (!supervised_) GTEST_SKIP() << "this machine allows no seccomp filter with a listener"

const std::vector<watched_call> ring_set_up{{SYS_io_uring_setup}};

run_options loops(unsigned count) {
    run_options options;
    options.loops = count;
    return options;
}

// --- one choice for all loops

TEST_F(run_begins, when_some_loops_get_no_ring_all_run_on_epoll_and_one_line_counts) {
    for (const int given : {1, 3}) {
        int rings = 0;
        const auto judge = [&](const asked_call&) {
            return ++rings <= given ? verdict::kernel() : verdict::answer(-ENOMEM);
        };
        const begun seen = begin_under(ring_set_up, judge, loops(4));
        CORO_SKIP_UNLESS_SUPERVISED();
        EXPECT_EQ(seen.refused, "");
        ASSERT_EQ(seen.reports.size(), 1u);
        const std::string& line = seen.reports[0];
        EXPECT_TRUE(line.starts_with("epoll: " + std::to_string(4 - given) +
                                     " of 4 loops got no io_uring: io_uring_setup(2) answered "
                                     "Cannot allocate memory")) << line;
        EXPECT_TRUE(has(line, "ulimit -l")) << line;
        EXPECT_TRUE(has(line, "set CORO_POLLER=io_uring to insist")) << line;
        EXPECT_EQ(seen.reasons, std::vector<std::string>(4, line));
    }
}

TEST_F(run_begins, when_some_loops_get_no_ring_smaller_ones_are_tried_for_all) {
    int rings = 0;
    int small_ones = 0;
    const auto judge = [&](const asked_call& call) {
        // Two of four get one. Each of the other two asks down to 32 entries, and hence once for
        // 64; when that is asked for again, all begin anew with it.
        if (call.arguments[0] == 64) ++small_ones;
        const bool anew = small_ones > 2 && call.arguments[0] == 64;
        return ++rings <= 2 || anew ? verdict::kernel() : verdict::answer(-ENOMEM);
    };
    const begun seen = begin_under(ring_set_up, judge, loops(4));
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_EQ(seen.refused, "");
    ASSERT_EQ(seen.reports.size(), 1u);
    const std::string& line = seen.reports[0];
    EXPECT_TRUE(line.starts_with("rings of 64 entries for all, because 2 of 4 loops got no "
                                 "io_uring: ")) << line;
    EXPECT_TRUE(has(line, "ulimit -l")) << line;
    EXPECT_EQ(seen.reasons, std::vector<std::string>(4, "io_uring: all features present; " + line));
}

TEST_F(run_begins, when_loop_0_gets_no_ring_the_others_do_not_ask) {
    int asked = 0;
    const auto judge = [&](const asked_call&) {
        ++asked;
        return verdict::answer(-EPERM);
    };
    const begun seen = begin_under(ring_set_up, judge, loops(4));
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_EQ(asked, 1);
    ASSERT_EQ(seen.reports.size(), 1u);
    EXPECT_TRUE(has(seen.reports[0], "Operation not permitted")) << seen.reports[0];
    EXPECT_EQ(seen.reasons, std::vector<std::string>(4, seen.reports[0]));
}

TEST_F(run_begins, memory_of_rings_that_comes_back_late_is_waited_for) {
    std::vector<std::uint64_t> entries;
    const auto judge = [&](const asked_call& call) {
        entries.push_back(call.arguments[0]);
        return entries.size() <= 5 ? verdict::answer(-ENOMEM) : verdict::kernel();
    };
    const begun seen = begin_under(ring_set_up, judge, loops(1));
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_EQ(entries, std::vector<std::uint64_t>(6, 512)) << "five tries more, of the same ring";
    EXPECT_TRUE(seen.reports.empty());
    EXPECT_EQ(seen.reasons, std::vector<std::string>{"io_uring: all features present"});
}

TEST_F(run_begins, rings_are_made_smaller_before_io_uring_is_given_up) {
    const auto judge = [&](const asked_call& call) {
        return call.arguments[0] > 128 ? verdict::answer(-ENOMEM) : verdict::kernel();
    };
    const begun seen = begin_under(ring_set_up, judge, loops(2));
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_TRUE(seen.reports.empty());
    EXPECT_EQ(seen.reasons,
              std::vector<std::string>(2, "io_uring: rings of 128 entries instead of 512, because "
                                          "locked memory is short (ulimit -l)"));
}

TEST_F(run_begins, who_insists_on_io_uring_is_told_how_many_loops_got_none) {
    for (const bool strict : {true, false}) {
        int rings = 0;
        const auto judge = [&](const asked_call&) {
            return ++rings <= 2 ? verdict::kernel() : verdict::answer(-ENOMEM);
        };
        run_options insisting = loops(4);
        insisting.strict = strict;
        if (!strict) insisting.poller = poller_choice::io_uring;
        const begun seen = begin_under(ring_set_up, judge, insisting);
        CORO_SKIP_UNLESS_SUPERVISED();
        EXPECT_TRUE(seen.reasons.empty());
        EXPECT_TRUE(seen.refused.starts_with("run cannot begin: 2 of 4 loops got no io_uring: "))
            << seen.refused;
        EXPECT_TRUE(has(seen.refused, "ulimit -l")) << seen.refused;
        EXPECT_TRUE(seen.refused.ends_with(": Cannot allocate memory")) << seen.refused;
        EXPECT_EQ(seen.code, std::errc::not_enough_memory);
    }
}

// --- a run that cannot begin

TEST_F(run_begins, without_descriptors_the_limit_is_named_on_each_poller) {
    for (const poller_choice choice :
         {poller_choice::automatic, poller_choice::io_uring, poller_choice::epoll}) {
        for (const int error : {EMFILE, ENFILE}) {
            run_options options = loops(3);
            options.poller = choice;
            const auto judge = [&](const asked_call&) { return verdict::answer(-error); };
            const begun seen = begin_under({{SYS_io_uring_setup}, {SYS_epoll_create1}}, judge,
                                           options);
            CORO_SKIP_UNLESS_SUPERVISED();
            EXPECT_TRUE(seen.refused.starts_with("run cannot begin: loop 1 of 3 got no descriptor"))
                << seen.refused;
            EXPECT_TRUE(has(seen.refused, error == EMFILE ? "ulimit -n" : "fs.file-max"))
                << seen.refused;
            EXPECT_FALSE(has(seen.refused, "CORO_POLLER")) << seen.refused;
            EXPECT_EQ(seen.code, std::error_code(error, std::generic_category()));
            EXPECT_TRUE(seen.refused.ends_with(": " + seen.code.message())) << seen.refused;
        }
    }
}

/// With a real limit, in a child: its loops take all that there is.
TEST_F(run_begins, a_limit_of_open_files_that_is_too_low_for_the_loops_is_named) {
    for (const poller_choice choice : {poller_choice::automatic, poller_choice::epoll}) {
        std::array<int, 2> line{};
        ASSERT_EQ(::pipe(line.data()), 0);
        const pid_t child = ::fork();
        if (child == 0) {
            const rlimit low{64, 64};
            if (::setrlimit(RLIMIT_NOFILE, &low) != 0) ::_exit(1);
            run_options options = loops(40);
            options.poller = choice;
            const begun seen = begin(options);
            const auto size = static_cast<ssize_t>(seen.refused.size());
            ::_exit(::write(line[1], seen.refused.data(), seen.refused.size()) == size ? 0 : 1);
        }
        ::close(line[1]);
        std::string words(4096, '\0');
        words.resize(static_cast<std::size_t>(
            std::max<ssize_t>(0, ::read(line[0], words.data(), words.size()))));
        ::close(line[0]);
        int status = 0;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        EXPECT_TRUE(words.starts_with("run cannot begin: loop ")) << words;
        EXPECT_TRUE(has(words, "of 40 got no descriptor")) << words;
        EXPECT_TRUE(has(words, "the limit of open files, now 64 (ulimit -n")) << words;
        EXPECT_TRUE(words.ends_with(": Too many open files")) << words;
    }
}

TEST_F(run_begins, without_threads_their_limits_are_named) {
    int threads = 0;
    const auto judge = [&](const asked_call&) {
        return ++threads <= 2 ? verdict::kernel() : verdict::answer(-EAGAIN);
    };
    const begun seen = begin_under({{SYS_clone3}, {SYS_clone}}, judge, loops(6));
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_EQ(seen.refused,
              "run cannot begin: the thread of loop 4 of 6 could not be started: raise the limits "
              "of threads and of address space (ulimit -u, ulimit -v, pids.max), or run fewer "
              "loops: Resource temporarily unavailable");
    EXPECT_EQ(seen.code, std::errc::resource_unavailable_try_again);
}

TEST_F(run_begins, without_address_space_for_a_ring_that_limit_is_named) {
    run_options options = loops(1);
    options.poller = poller_choice::io_uring;
    constexpr std::uint32_t ring_map_flags = MAP_SHARED | MAP_POPULATE;
    const auto judge = [](const asked_call&) { return verdict::answer(-ENOMEM); };
    const begun seen = begin_under({{SYS_mmap, 3, ring_map_flags}}, judge, options);
    CORO_SKIP_UNLESS_SUPERVISED();
    EXPECT_TRUE(seen.refused.starts_with("run cannot begin: no memory for the loop: "))
        << seen.refused;
    EXPECT_TRUE(has(seen.refused, "ulimit -v")) << seen.refused;
    EXPECT_TRUE(seen.refused.ends_with(": Cannot allocate memory")) << seen.refused;
}

TEST_F(run_begins, a_bad_value_in_the_environment_is_no_matter_of_the_system) {
    {
        const variable wrong("CORO_POLLER", "kqueue");
        const begun seen = begin(loops(1));
        EXPECT_EQ(seen.refused, "run cannot begin: CORO_POLLER=\"kqueue\" names no poller: set "
                                "it to io_uring, epoll, automatic or simulation, or unset it: "
                                "Invalid argument");
    }
    const variable wrong("CORO_URING", "sq=many");
    const begun seen = begin(loops(1));
    EXPECT_EQ(seen.refused, "run cannot begin: CORO_URING: \"many\" is no value for sq=, allowed "
                            "is a number from 1 to 32768: Invalid argument");
}

TEST_F(run_begins, a_number_of_loops_that_cannot_be_is_named) {
    for (const unsigned count : {0u, 1025u}) {
        const begun seen = begin(loops(count));
        EXPECT_EQ(seen.refused, "run options.loops is " + std::to_string(count) +
                                    ": say 1 to 1024: Invalid argument");
    }
}

}  // namespace
}  // namespace coro::detail
