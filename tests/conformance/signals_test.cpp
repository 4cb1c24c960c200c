// SIGINT and SIGTERM while run() runs: orderly at first, then at once, then with their default
// action. On real loops, each in a child process.
#include <array>
#include <atomic>
#include <cmath>
#include <optional>
#include <thread>

#include <coro/runtime/loop_handle.hpp>

#include "child_process.hpp"
#include "net_test_support.hpp"
#include "support/extreme_spans.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class signals_test : public world_test {
protected:
    [[nodiscard]] run_options handling(time_span drain = duration::zero()) const {
        run_options options;
        options.poller = GetParam();
        options.strict = insists(GetParam());
        options.drain = drain;
        return options;
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, signals_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Says "unwound" when its frame goes.
class unwinding {
public:
    explicit unwinding(parent_line line) : line_(line) {}
    unwinding(const unwinding&) = delete;
    unwinding& operator=(const unwinding&) = delete;
    ~unwinding() { line_.say("unwound "); }

private:
    parent_line line_;
};

task<> sleep_long(parent_line line) {
    const unwinding on_end(line);
    line.say("ready ");
    co_await sleep_for(1h);
    line.say("slept ");
}

/// Notices the stop, and goes on until it is cancelled; says whether that came before `drain`.
task<> notice_stop(parent_line line, duration drain) {
    const unwinding on_end(line);
    line.say("ready ");
    time_point not_yet = now();  // the stop came after it
    while (!stop_requested()) {
        not_yet = now();
        co_await sleep_for(1ms);
    }
    line.say("stop ");
    try {
        co_await sleep_for(1h);
    } catch (const cancelled&) {
        line.say(now() - not_yet >= drain ? "drained " : "early ");
        throw;
    }
}

task<int> finish_on_stop(parent_line line) {
    line.say("ready ");
    while (!stop_requested()) co_await sleep_for(1ms);
    line.say("stop ");
    co_return 3;
}

TEST_P(signals_test, the_first_one_cancels_and_run_main_answers_0) {
    for (const int number : {SIGINT, SIGTERM}) {
        child_process child(
            [this](parent_line line) { return run_main(sleep_long(line), handling()); });
        ASSERT_TRUE(child.heard("ready"));
        child.signal(number);
        EXPECT_EQ(child.all_words(), "ready unwound ");
        EXPECT_TRUE(child.exited_with(0)) << child.status();
    }
}

TEST_P(signals_test, run_main_tells_the_signal_to_who_asks_for_it) {
    for (const int number : {SIGINT, SIGTERM}) {
        child_process child([this](parent_line line) {
            run_options options = handling();
            options.tell_signal = true;
            return run_main(sleep_long(line), options);
        });
        ASSERT_TRUE(child.heard("ready"));
        child.signal(number);
        EXPECT_EQ(child.all_words(), "ready unwound ");
        EXPECT_TRUE(child.exited_with(128 + number)) << child.status();
    }
}

/// A job in the background of a shell: the Ctrl-C is meant for another. SIGTERM is meant for it.
TEST_P(signals_test, a_sigint_that_was_ignored_before_stays_ignored) {
    child_process child([this](parent_line line) {
        std::signal(SIGINT, SIG_IGN);
        run_options options = handling();
        options.tell_signal = true;
        const int code = run_main(sleep_long(line), options);
        struct sigaction after {};
        ::sigaction(SIGINT, nullptr, &after);
        line.say(after.sa_handler == SIG_IGN ? "ignored " : "changed ");
        return code;
    });
    ASSERT_TRUE(child.heard("ready"));
    for (int i = 0; i < 3; ++i) child.signal(SIGINT);  // the third would kill
    child.signal(SIGTERM);
    EXPECT_EQ(child.all_words(), "ready unwound ignored ");
    EXPECT_TRUE(child.exited_with(128 + SIGTERM)) << child.status();
}

/// What the program names itself is watched all the same. SIGTERM is the run's.
TEST_P(signals_test, a_sigint_that_was_ignored_before_can_be_watched) {
    child_process child([this](parent_line line) {
        std::signal(SIGINT, SIG_IGN);
        const auto watch = [&]() -> task<> {
            for (const auto numbers : {std::initializer_list<int>{SIGTERM}, {SIGINT, SIGTERM}}) {
                try {
                    const signal_set refused(numbers);
                } catch (const io_error& error) {
                    line.say(error == std::errc::device_or_resource_busy ? "busy " : "another ");
                }
            }
            {
                signal_set interrupts{SIGINT};
                line.say("watching ");
                if (co_await interrupts.next() == SIGINT) line.say("came ");
            }
            struct sigaction after {};
            ::sigaction(SIGINT, nullptr, &after);
            line.say(after.sa_handler == SIG_IGN ? "ignored " : "changed ");
            co_await sleep_long(line);
        };
        return run_main(watch(), handling());
    });
    ASSERT_TRUE(child.heard("watching"));
    child.signal(SIGINT);
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGINT);
    child.signal(SIGTERM);
    EXPECT_EQ(child.all_words(), "busy busy watching came ignored ready unwound ");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

TEST_P(signals_test, run_throws_interrupted_with_the_number) {
    child_process child([this](parent_line line) {
        try {
            run(sleep_long(line), handling());
        } catch (const interrupted& end) {
            return end.signal();
        }
        return 0;
    });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGTERM);
    EXPECT_TRUE(child.exited_with(SIGTERM)) << child.status();
}

TEST_P(signals_test, it_cancels_after_the_drain) {
    static constexpr duration drain = 200ms;
    child_process child([this](parent_line line) {
        return run_main(notice_stop(line, drain), handling(drain));
    });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGINT);
    EXPECT_EQ(child.all_words(), "ready stop drained unwound ");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

TEST_P(signals_test, who_finishes_while_it_drains_has_his_value) {
    child_process child(
        [this](parent_line line) { return run_main(finish_on_stop(line), handling(1h)); });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGINT);
    EXPECT_EQ(child.all_words(), "ready stop ");
    EXPECT_TRUE(child.exited_with(3)) << child.status();
}

TEST_P(signals_test, a_drain_means_what_each_span_means) {
    coro_test::for_each_extreme_span([this](const char* name, auto drain,
                                            coro_test::span_meaning meaning) {
        SCOPED_TRACE(name);
        const bool no_limit = meaning == coro_test::span_meaning::no_limit;
        child_process child([this, drain, no_limit](parent_line line) {
            if (no_limit) return run_main(finish_on_stop(line), handling(drain));
            return run_main(sleep_long(line), handling(drain));
        });
        ASSERT_TRUE(child.heard("ready"));
        child.signal(SIGINT);
        EXPECT_EQ(child.all_words(), no_limit ? "ready stop " : "ready unwound ");
        EXPECT_TRUE(child.exited_with(no_limit ? 3 : 0)) << child.status();
    });
}

TEST_P(signals_test, the_second_one_cancels_now) {
    child_process child([this](parent_line line) {
        return run_main(notice_stop(line, duration::zero()), handling(1h));
    });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGINT);
    ASSERT_TRUE(child.heard("stop"));
    EXPECT_FALSE(child.ended()) << "the first one drains";
    child.signal(SIGTERM);
    EXPECT_EQ(child.all_words(), "ready stop drained unwound ");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

task<> get_stuck(parent_line line) {
    line.say("ready ");
    for (;;) ::pause();
    co_return;
}

/// A signal that is pending already counts once: it is sent again until the child is gone.
TEST_P(signals_test, the_third_one_kills_a_loop_that_is_stuck) {
    child_process child(
        [this](parent_line line) { return run_main(get_stuck(line), handling()); });
    ASSERT_TRUE(child.heard("ready"));
    int sent = 0;
    for (; sent < 3000 && !child.ended(); ++sent) {
        child.signal(SIGINT);
        ::usleep(20'000);
    }
    EXPECT_GE(sent, 3);
    ASSERT_LT(sent, 3000) << "it cannot be killed";
    EXPECT_TRUE(child.killed_by(SIGINT)) << child.status();
}

/// A signal that comes in the middle of work: a server with connections ends in order.
task<> serve_until_told(parent_line line) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const net::endpoint where = listener.local_endpoint();
    const auto body = [&](task_group& group) -> task<> {
        group.spawn([](net::tcp_listener& on) -> task<> { co_await serve(on, echo); },
                    std::ref(listener));
        net::tcp_stream client = co_await net::tcp_stream::connect(where);
        line.say("ready ");
        for (;;) {
            const auto sent = co_await as_result(net::write_all(client, as_bytes("ping")));
            std::array<std::byte, 4> into{};
            const auto got = co_await as_result(net::read_exact(client, mutable_bytes(into)));
            if (!sent || !got) co_return;
        }
    };
    co_await with_task_group(body);
    line.say("served ");
}

TEST_P(signals_test, a_busy_server_ends_in_order) {
    child_process child(
        [this](parent_line line) { return run_main(serve_until_told(line), handling()); });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGTERM);
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

TEST_P(signals_test, left_alone_they_have_their_default_action) {
    child_process child([this](parent_line line) {
        run_options options = handling();
        options.signals = signal_policy::leave;
        return run_main(sleep_long(line), options);
    });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGINT);
    EXPECT_TRUE(child.killed_by(SIGINT)) << child.status();
    EXPECT_EQ(child.all_words(), "ready ");
}

task<> wait_on_every_loop(parent_line line) {
    const auto body = [line](task_group& group) -> task<> {
        for (unsigned loop = 0; loop < loop_count(); ++loop)
            group.spawn({.loop = loop}, notice_stop, line, duration::zero());
        co_return;
    };
    co_await with_task_group(body);
}

TEST_P(signals_test, the_loops_of_a_run_stop_and_drain_together) {
    child_process child([this](parent_line line) {
        run_options options = handling(50ms);
        options.loops = 3;
        return run_main(wait_on_every_loop(line), options);
    });
    ASSERT_TRUE(child.heard("ready ready ready"));
    child.signal(SIGTERM);
    const std::string words = child.all_words();
    for (const std::string_view word : {"stop ", "drained ", "unwound "}) {
        int count = 0;
        for (std::size_t at = 0; (at = words.find(word, at)) != std::string::npos; ++at) ++count;
        EXPECT_EQ(count, 3) << words;
    }
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

/// A thread that is no loop waits for a task on loop 1: it belongs to no group of the root task.
task<> wait_beside_a_foreign_task(parent_line line) {
    std::optional<loop_handle> there;
    const auto find_it = [](std::optional<loop_handle>& found) -> task<> {
        found = loop_handle::of_this_loop();
        co_return;
    };
    const auto on_loop_1 = [&](task_group& group) -> task<> {
        group.spawn({.loop = 1}, find_it, std::ref(there));
        co_return;
    };
    co_await with_task_group(on_loop_1);
    std::atomic<bool> over{false};
    std::thread foreign([&] {
        static_cast<void>(sync_wait(*there, finish_on_stop(line)));
        over.store(true);
    });
    static_cast<void>(co_await finish_on_stop(line));
    while (!over.load()) co_await sleep_for(1ms);
    foreign.join();
}

TEST_P(signals_test, a_stop_reaches_what_foreign_threads_wait_for_on_other_loops) {
    child_process child([this](parent_line line) {
        run_options options = handling(1min);
        options.loops = 2;
        return run_main(wait_beside_a_foreign_task(line), options);
    });
    ASSERT_TRUE(child.heard("ready ready "));
    child.signal(SIGTERM);
    EXPECT_EQ(child.all_words(), "ready ready stop stop ");
    EXPECT_TRUE(child.exited_with(0)) << child.status();
}

task<> stick_on_loop_1(parent_line line) {
    const auto body = [line](task_group& group) -> task<> {
        group.spawn({.loop = 1}, get_stuck, line);
        group.spawn({.loop = 0}, sleep_long, line);
        group.spawn({.loop = 2}, sleep_long, line);
        co_return;
    };
    co_await with_task_group(body);
}

TEST_P(signals_test, where_one_loop_is_stuck_the_others_end_and_a_later_signal_kills) {
    child_process child([this](parent_line line) {
        run_options options = handling();
        options.loops = 3;
        return run_main(stick_on_loop_1(line), options);
    });
    ASSERT_TRUE(child.heard("ready ready ready"));
    child.signal(SIGTERM);
    ASSERT_TRUE(child.heard("unwound unwound ")) << "the healthy loops end at the first one";
    EXPECT_FALSE(child.ended()) << "run() waits for the stuck one";
    int sent = 0;
    for (; sent < 3000 && !child.ended(); ++sent) {
        child.signal(SIGTERM);
        ::usleep(20'000);
    }
    ASSERT_LT(sent, 3000) << "it cannot be killed";
    EXPECT_TRUE(child.killed_by(SIGTERM)) << child.status();
}

task<int> stay_until(const bool& told) {
    while (!told) co_await sleep_for(1ms);
    co_return stop_requested() ? 1 : 0;
}

TEST_P(signals_test, a_run_that_leaves_signals_alone_is_not_ended_by_those_of_another_run) {
    child_process child([this](parent_line line) {
        std::optional<loop_handle> there;
        std::atomic<bool> begun{false};
        bool told = false;
        int others = -1;
        std::thread other([&] {
            run_options leave = handling();
            leave.signals = signal_policy::leave;
            const auto body = [&]() -> task<int> {
                there = loop_handle::of_this_loop();
                begun = true;
                co_return co_await stay_until(told);
            };
            others = run(body(), leave);
        });
        while (!begun) std::this_thread::yield();
        const int ours = run_main(sleep_long(line), handling());
        there->post([&told] { told = true; });
        other.join();
        return ours == 0 && others == 0 ? 7 : 1;
    });
    ASSERT_TRUE(child.heard("ready"));
    child.signal(SIGTERM);
    EXPECT_TRUE(child.exited_with(7)) << child.status();
}

// --- dispositions, in this process

using disposition = void (*)(int);

disposition disposition_of(int number) {
    struct sigaction present {};
    ::sigaction(number, nullptr, &present);
    return present.sa_handler;
}

void own_handler(int) {}

task<> look_at_dispositions(std::array<disposition, 2>& seen) {
    co_await yield();
    seen = {disposition_of(SIGINT), disposition_of(SIGTERM)};
}

task<> fail() {
    co_await yield();
    throw std::runtime_error("planned");
}

TEST_P(signals_test, dispositions_are_restored) {
    struct sigaction own {};
    own.sa_handler = &own_handler;
    struct sigaction ignore {};
    ignore.sa_handler = SIG_IGN;
    struct sigaction interrupt_before {};
    struct sigaction terminate_before {};
    ::sigaction(SIGINT, &own, &interrupt_before);
    ::sigaction(SIGTERM, &ignore, &terminate_before);

    std::array<disposition, 2> seen{};
    run(look_at_dispositions(seen), handling());
    EXPECT_NE(seen[0], &own_handler);
    EXPECT_NE(seen[1], SIG_IGN);
    EXPECT_EQ(disposition_of(SIGINT), &own_handler);
    EXPECT_EQ(disposition_of(SIGTERM), SIG_IGN);
    EXPECT_THROW(run(fail(), handling()), std::runtime_error);
    EXPECT_EQ(disposition_of(SIGINT), &own_handler);

    run_options leave = handling();
    leave.signals = signal_policy::leave;
    run(look_at_dispositions(seen), leave);
    EXPECT_EQ(seen[0], &own_handler);
    EXPECT_EQ(seen[1], SIG_IGN);

    ::sigaction(SIGINT, &interrupt_before, nullptr);
    ::sigaction(SIGTERM, &terminate_before, nullptr);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
