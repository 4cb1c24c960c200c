// io_uring refused by a real seccomp filter: automatic goes on with epoll and says why, strict
// refuses with a sentence. Under tests/tools/deny_uring this whole program runs like that.
#include "child_process.hpp"
#include "net_test_support.hpp"
#include "support/deny_uring.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

struct refusal {
    int error;
    const char* name;
    const char* sentence;
};

constexpr std::array refusals{refusal{EPERM, "EPERM", "Operation not permitted"},
                              refusal{ENOSYS, "ENOSYS", "Function not implemented"},
                              refusal{EOPNOTSUPP, "EOPNOTSUPP", "Operation not supported"}};

class denied_test : public ::testing::TestWithParam<refusal> {
protected:
    /// What `body(line)` says where io_uring answers the errno of this test.
    template <typename Body>
    static std::string where_denied(Body body) {
        child_process child([&](parent_line line) {
            ::unsetenv("CORO_POLLER");
            ::unsetenv("CORO_URING");
            // seccomp(2): where a filter answers an errno already, the younger one's counts.
            if (coro_test::deny_uring(GetParam().error) != 0) return 1;
            body(line);
            return 0;
        });
        const std::string words = child.all_words();
        EXPECT_TRUE(child.exited_with(0));
        return words;
    }
};
INSTANTIATE_TEST_SUITE_P(errors, denied_test, ::testing::ValuesIn(refusals),
                         [](const auto& each) { return each.param.name; });

void say_poller_and_reports(parent_line line, run_options options) {
    set_report_hook(
        [](const report_event& event, void* user) noexcept {
            const auto& to = *static_cast<parent_line*>(user);
            to.say(event.level == severity::info ? "info: " : "not info: ");
            to.say(event.text);
            to.say("\n");
        },
        &line);
    options.signals = signal_policy::leave;
    try {
        run(
            [](parent_line to) -> task<> {
                stream_pair pair;
                co_await pair.open();
                co_await say(pair.near, "works");
                co_await hear(pair.far, "works");
                to.say("runs on ");
                to.say(poller_reason());
            }(line),
            options);
    } catch (const io_error& refused) {
        line.say("refused: ");
        line.say(refused.what());
    }
}

TEST_P(denied_test, automatic_runs_on_epoll_and_reports_why_once) {
    const std::string words =
        where_denied([](parent_line line) { say_poller_and_reports(line, {}); });
    const std::string why = "epoll: io_uring_setup(2) answered " +
                            std::string(GetParam().sentence) +
                            " (an old kernel, a seccomp filter, or the sysctl "
                            "kernel.io_uring_disabled); set CORO_POLLER=io_uring to insist";
    EXPECT_EQ(words, "info: " + why + "\nruns on " + why);
}

TEST_P(denied_test, strict_refuses_with_a_sentence) {
    const std::string words = where_denied([](parent_line line) {
        run_options strict;
        strict.strict = true;
        say_poller_and_reports(line, strict);
    });
    EXPECT_EQ(words.find("runs on"), std::string::npos) << words;
    EXPECT_NE(words.find("refused: "), std::string::npos) << words;
    EXPECT_NE(words.find("falling back from io_uring is not allowed, and io_uring_setup(2) "
                         "answered " + std::string(GetParam().sentence)),
              std::string::npos) << words;
}

TEST_P(denied_test, asking_for_io_uring_is_refused_with_a_sentence) {
    for (const bool by_program : {true, false}) {
        const std::string words = where_denied([&](parent_line line) {
            run_options asking;
            if (by_program) asking.poller = poller_choice::io_uring;
            if (!by_program) ::setenv("CORO_POLLER", "io_uring", 1);
            say_poller_and_reports(line, asking);
        });
        const std::string who = by_program ? "the program" : "CORO_POLLER";
        EXPECT_NE(words.find("refused: "), std::string::npos) << words;
        EXPECT_NE(words.find("io_uring was asked for by " + who + ", but io_uring_setup(2) "
                             "answered " + std::string(GetParam().sentence)),
                  std::string::npos) << words;
    }
}

/// When deny_uring started this program, every world of it must be the fallback.
TEST(denied_program_test, the_filter_holds_and_all_worlds_are_the_fallback) {
    const char* const denied = std::getenv("CORO_DENIED");
    if (denied == nullptr) return;
    const made_alone strict = make_alone(poller_choice::automatic, true, {});
    EXPECT_EQ(strict.instance, nullptr);
    EXPECT_NE(strict.reason.find("falling back from io_uring is not allowed"), std::string::npos)
        << strict.reason;
    const std::vector<poller_choice> only{poller_choice::automatic};
    EXPECT_EQ(all_worlds(), only);
    EXPECT_EQ(real_worlds(), only);
    for (const refusal& each : refusals) {
        if (std::string_view(denied) != each.name) continue;
        EXPECT_NE(strict.reason.find(each.sentence), std::string::npos) << strict.reason;
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
