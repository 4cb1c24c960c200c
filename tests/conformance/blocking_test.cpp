// blocking(): calls on threads of their own, and every way in which one ends.
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <coro/base/report.hpp>
#include <coro/runtime/blocking.hpp>

#include "net_test_support.hpp"
#include "support/extreme_spans.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class blocking_test : public world_test {
protected:
    [[nodiscard]] run_options options() const {
        run_options how;
        how.poller = GetParam();
        how.strict = insists(GetParam());
        return how;
    }
};
INSTANTIATE_TEST_SUITE_P(all_worlds, blocking_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);
class blocking_thread_test : public blocking_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, blocking_thread_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Holds whoever passes it until it is opened. Shared, because a call may outlive its task.
class gate {
public:
    void pass() {
        std::unique_lock lock(guard_);
        ++inside_;
        changed_.notify_all();
        changed_.wait(lock, [this] { return open_; });
    }
    void open() {
        const std::lock_guard lock(guard_);
        open_ = true;
        changed_.notify_all();
    }
    void wait_for(int inside) {
        std::unique_lock lock(guard_);
        changed_.wait(lock, [&] { return inside_ >= inside; });
    }

private:
    std::mutex guard_;
    std::condition_variable changed_;
    int inside_ = 0;
    bool open_ = false;
};

int add(int one, int two) { return one + two; }

TEST_P(blocking_test, answers_values_and_exceptions) {
    const auto body = []() -> task<> {
        EXPECT_EQ(co_await blocking(add, 20, 22), 42);
        const auto text = co_await blocking([](std::string from) { return from + "!"; }, "hello");
        EXPECT_EQ(text, "hello!");
        const auto moved = co_await blocking([](std::unique_ptr<int> from) { return from; },
                                             std::make_unique<int>(7));
        EXPECT_EQ(*moved, 7);
        bool called = false;
        co_await blocking([&called] { called = true; });
        EXPECT_TRUE(called);
        bool thrown = false;
        try {
            co_await blocking([]() -> int { throw std::runtime_error("in there"); });
        } catch (const std::runtime_error& error) {
            thrown = std::string(error.what()) == "in there";
        }
        EXPECT_TRUE(thrown);
    };
    run(body(), options());
}

constexpr std::string_view long_text = "text that is too long for a small string";

std::string from_view(std::string_view text) { return std::string(text); }
std::string from_reference(const std::string& text) noexcept { return text; }
std::string from_rvalue(std::string&& text) { return std::move(text); }
int sum_of(std::span<const int> numbers) {
    return std::accumulate(numbers.begin(), numbers.end(), 0);
}
struct reader {
    template <typename Text>
    std::string operator()(const Text& text) const {
        return prefix + std::string(text);
    }
    std::string member(std::string_view text) const { return prefix + std::string(text); }
    std::string prefix = "a prefix that is too long for a small string ";
};

TEST_P(blocking_test, arguments_live_as_long_as_the_call) {
    const auto body = []() -> task<> {
        const std::string text(long_text);
        EXPECT_EQ(co_await blocking(from_view, std::string(long_text)), text);
        EXPECT_EQ(co_await blocking(from_reference, std::string(long_text)), text);
        EXPECT_EQ(co_await blocking(from_reference, long_text.data()), text);
        EXPECT_EQ(co_await blocking(from_rvalue, text), text);
        const std::vector<int> numbers(3, 2);
        EXPECT_EQ(co_await blocking(sum_of, numbers), 6);
        const auto generic = [](const auto& read) { return std::string(read); };
        EXPECT_EQ(co_await blocking(generic, std::string(long_text)), text);
        const auto forwarding = [](auto&& read) { return std::string(read); };
        EXPECT_EQ(co_await blocking(forwarding, std::string(long_text)), text);
        const reader named;
        EXPECT_EQ(co_await blocking(named, std::string(long_text)), named.prefix + text);
        EXPECT_EQ(co_await blocking(&reader::member, &named, std::string(long_text)),
                  named.prefix + text);
        std::string changed;
        const auto change = [](std::string& out) { out = long_text; };
        co_await blocking(change, std::ref(changed));
        EXPECT_EQ(changed, text);
    };
    run(body(), options());
}

TEST_P(blocking_thread_test, arguments_live_as_long_as_a_call_that_is_left_behind) {
    const auto held = std::make_shared<gate>();
    const auto read = std::make_shared<std::string>();
    const auto late = [](std::shared_ptr<gate> at, std::string_view text, const std::string& more,
                         std::shared_ptr<std::string> out) {
        at->pass();
        *out = std::string(text) + more;
        at->pass();
    };
    const auto body = [&]() -> task<> {
        const auto call = [](decltype(late) f, std::shared_ptr<gate> at,
                             std::shared_ptr<std::string> out) -> task<> {
            co_await blocking(f, at, std::string(long_text), std::string(long_text), out);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(call, late, held, read);
            co_await yield();
            held->wait_for(1);
            group.cancel();
        };
        co_await with_task_group(in_group);
        held->open();
    };
    run(body(), options());
    held->wait_for(2);
    EXPECT_EQ(*read, std::string(long_text) + std::string(long_text));
}

TEST_P(blocking_thread_test, the_loop_goes_on_meanwhile) {
    const auto body = []() -> task<> {
        const auto held = std::make_shared<gate>();
        const auto loop_thread = std::this_thread::get_id();
        std::thread::id other;
        const auto in_group = [&](task_group& group) -> task<> {
            const auto call = [](std::shared_ptr<gate> at, std::thread::id& where) -> task<> {
                const auto pass = [at] {
                    at->pass();
                    return std::this_thread::get_id();
                };
                where = co_await blocking(pass);
            };
            group.spawn(call, held, std::ref(other));
            co_await sleep_for(5ms);  // the loop turns, timers fire
            held->open();
        };
        co_await with_task_group(in_group);
        EXPECT_NE(other, loop_thread);
        EXPECT_NE(other, std::thread::id());
    };
    run(body(), options());
}

TEST_P(blocking_thread_test, many_at_once_use_the_threads_there_are) {
    std::atomic<int> inside{0};
    std::atomic<int> most{0};
    const auto body = [&]() -> task<> {
        const auto in_group = [&](task_group& group) -> task<> {
            const auto call = [](std::atomic<int>& now_in, std::atomic<int>& top) -> task<> {
                co_await blocking([&] {
                    const int mine = now_in.fetch_add(1) + 1;
                    int seen = top.load();
                    while (seen < mine && !top.compare_exchange_weak(seen, mine)) {
                    }
                    std::this_thread::sleep_for(1ms);
                    now_in.fetch_sub(1);
                });
            };
            for (int i = 0; i < 100; ++i) group.spawn(call, std::ref(inside), std::ref(most));
            co_return;
        };
        co_await with_task_group(in_group);
    };
    run_options how = options();
    how.blocking_threads = 3;
    run(body(), how);
    EXPECT_LE(most.load(), 3);
    EXPECT_EQ(inside.load(), 0);
}

TEST_P(blocking_thread_test, a_full_queue_is_an_error_at_once) {
    const auto body = []() -> task<> {
        const auto held = std::make_shared<gate>();
        const auto in_group = [&](task_group& group) -> task<> {
            const auto call = [](std::shared_ptr<gate> at) -> task<> {
                const auto pass = [at] { at->pass(); };
                co_await blocking(pass);
            };
            for (int i = 0; i < 3; ++i) group.spawn(call, held);
            co_await sleep_for(1ms);
            held->wait_for(1);
            const auto one_more = [&]() -> task<> { co_await blocking([] {}); };
            const auto refused = co_await as_result(one_more());
            EXPECT_FALSE(refused.has_value());
            EXPECT_EQ(refused.error(), errc::limit_exceeded);
            EXPECT_STREQ(refused.error().what(),
                         "blocking (2 calls wait already: raise run_options::blocking_queue = 2, "
                         "or run_options::blocking_threads = 1): limit exceeded");
            held->open();
        };
        co_await with_task_group(in_group);
    };
    run_options how = options();
    how.blocking_threads = 1;
    how.blocking_queue = 2;
    run(body(), how);
}

/// Makes every thread that is started ask for more memory than there are addresses.
class no_more_threads {
public:
    no_more_threads() {
        ::pthread_getattr_default_np(&before_);
        pthread_attr_t beyond = before_;
        EXPECT_EQ(::pthread_attr_setstacksize(&beyond, std::size_t{1} << 56), 0);
        EXPECT_EQ(::pthread_setattr_default_np(&beyond), 0);
    }
    no_more_threads(const no_more_threads&) = delete;
    no_more_threads& operator=(const no_more_threads&) = delete;
    ~no_more_threads() { ::pthread_setattr_default_np(&before_); }

private:
    pthread_attr_t before_;
};

TEST_P(blocking_thread_test, without_a_thread_the_error_names_what_to_raise) {
    const auto text_of = [](const run_options& how) {
        std::string text;
        const auto body = [&]() -> task<> {
            const auto call = []() -> task<> { co_await blocking([] {}); };
            const auto refused = co_await as_result(call());
            EXPECT_FALSE(refused.has_value());
            EXPECT_EQ(refused.error(), errc::limit_exceeded);
            text = refused.error().what();
        };
        run(body(), how);
        return text;
    };
    run_options how = options();
    how.blocking_threads = 0;
    EXPECT_EQ(text_of(how), "blocking (there is no thread to call it: raise "
                            "run_options::blocking_threads = 0): limit exceeded");
    const no_more_threads shortage;
    how.blocking_threads = 7;
    EXPECT_EQ(text_of(how), "blocking (the system starts no thread for it, and none is there yet, "
                            "run_options::blocking_threads = 7: raise the limits of the process, "
                            "ulimit -u and -v): limit exceeded");
}

TEST_P(blocking_thread_test, cancelled_before_it_began_it_is_not_called) {
    std::atomic<int> called{0};
    const auto body = [&]() -> task<> {
        const auto held = std::make_shared<gate>();
        const auto in_group = [&](task_group& group) -> task<> {
            const auto call = [](std::shared_ptr<gate> at) -> task<> {
                const auto pass = [at] { at->pass(); };
                co_await blocking(pass);
            };
            group.spawn(call, held);
            co_await yield();
            held->wait_for(1);
            const auto behind = [&]() -> task<> {
                co_await blocking([&called] { called.fetch_add(1); });
            };
            const bool in_time = co_await move_on_after(2ms, behind());
            EXPECT_FALSE(in_time);
            held->open();
        };
        co_await with_task_group(in_group);
        co_await blocking([] {});
    };
    run_options how = options();
    how.blocking_threads = 1;
    run(body(), how);
    EXPECT_EQ(called.load(), 0);
}

TEST_P(blocking_thread_test, cancelled_while_it_runs_it_is_left_behind_and_waited_for_at_the_end) {
    const auto finished = std::make_shared<std::atomic<bool>>(false);
    const auto held = std::make_shared<gate>();
    const auto body = [&]() -> task<> {
        const auto call = [](std::shared_ptr<gate> at,
                             std::shared_ptr<std::atomic<bool>> over) -> task<> {
            const auto pass = [at, over] {
                at->pass();
                std::this_thread::sleep_for(20ms);
                over->store(true);
            };
            co_await blocking(pass);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn(call, held, finished);
            co_await yield();
            held->wait_for(1);
            group.cancel();
        };
        co_await with_task_group(in_group);
        EXPECT_FALSE(finished->load());
        held->open();
    };
    run(body(), options());
    EXPECT_TRUE(finished->load()) << "run() returned before it";
}

TEST_P(blocking_thread_test, one_that_never_returns_is_named_and_left_at_the_end) {
    std::string told;
    set_report_hook(
        [](const report_event& event, void* user) noexcept {
            *static_cast<std::string*>(user) += std::string(event.verb) + " " +
                                                std::string(event.task) + ": " +
                                                std::string(event.text);
        },
        &told);
    const auto held = std::make_shared<gate>();
    const auto body = [&]() -> task<> {
        const auto call = [](std::shared_ptr<gate> at) -> task<> {
            const auto pass = [at] { at->pass(); };
            co_await blocking(pass);
        };
        const auto in_group = [&](task_group& group) -> task<> {
            group.spawn({.name = "stuck reader"}, call, held);
            co_await yield();
            held->wait_for(1);
            group.cancel();
        };
        co_await with_task_group(in_group);
    };
    run_options how = options();
    how.blocking_limit = 10ms;
    run(body(), how);
    set_report_hook(nullptr, nullptr);
    EXPECT_NE(told.find("blocking stuck reader"), std::string::npos) << told;
    EXPECT_NE(told.find("blocking_test.cpp:"), std::string::npos) << told;
    held->open();
    // Its thread goes on with nothing that belonged to the run; wait until it has let go of `held`.
    while (held.use_count() > 1) std::this_thread::yield();
}

/// Opens a gate at the end of a thread of the pool: an idle one ends when the run does.
struct opened_by_thread_end {
    std::shared_ptr<gate> which;
    opened_by_thread_end() = default;
    opened_by_thread_end(const opened_by_thread_end&) = delete;
    opened_by_thread_end& operator=(const opened_by_thread_end&) = delete;
    ~opened_by_thread_end() {
        if (which != nullptr) which->open();
    }
};

/// Leaves a call behind that passes `held` and then says so. `opened_at_the_end`: the end of the
/// run opens the gate, when it has let its idle threads go and waits for the call.
task<> leave_behind(std::shared_ptr<gate> held, std::atomic<bool>& ended, bool opened_at_the_end) {
    const auto in_group = [&](task_group& group) -> task<> {
        const auto call = [](std::shared_ptr<gate> at, std::atomic<bool>& over) -> task<> {
            const auto pass = [at, &over] {
                at->pass();
                over = true;
            };
            co_await blocking(pass);
        };
        group.spawn(call, held, std::ref(ended));
        co_await yield();
        held->wait_for(1);
        const auto idle = [held, opened_at_the_end] {
            static thread_local opened_by_thread_end at_the_end;
            if (opened_at_the_end) at_the_end.which = held;
        };
        co_await blocking(idle);  // on a thread of its own, because the other one is busy
        group.cancel();
    };
    co_await with_task_group(in_group);
}

TEST_P(blocking_thread_test, a_limit_of_its_end_means_what_each_span_means) {
    coro_test::for_each_extreme_span([&](const char* name, auto span,
                                         coro_test::span_meaning meaning) {
        SCOPED_TRACE(name);
        const bool no_limit = meaning == coro_test::span_meaning::no_limit;
        std::string told;
        set_report_hook(  // run() itself may report as well: that it fell back to epoll
            [](const report_event& event, void* user) noexcept {
                if (event.verb == "blocking") *static_cast<std::string*>(user) += event.text;
            },
            &told);
        std::atomic<bool> ended{false};
        const auto held = std::make_shared<gate>();
        run_options how = options();
        how.blocking_limit = span;
        run(leave_behind(held, ended, no_limit), how);
        set_report_hook(nullptr, nullptr);
        EXPECT_EQ(ended, no_limit);
        EXPECT_EQ(told.empty(), no_limit) << told;
        held->open();
        // A thread that was left goes on; it must not outlive what it refers to.
        while (held.use_count() > 1) std::this_thread::yield();
    });
}

/// Deadlines that strike before, while and after: each call ends once, and nothing is lost.
TEST_P(blocking_thread_test, races_with_deadlines_end_each_call_once) {
    std::atomic<int> called{0};
    int answered = 0;
    int given_up = 0;
    const auto body = [&]() -> task<> {
        for (int i = 0; i < 400; ++i) {
            const auto call = [&]() -> task<> {
                co_await blocking([&called] { called.fetch_add(1); });
            };
            // One limit of 0 and one far off, so that each outcome is sure.
            const duration limit = i == 399 ? duration(1h) : duration(i % 100 * 1'000);
            const bool in_time = co_await move_on_after(limit, call());
            if (in_time) ++answered;
            else ++given_up;
        }
    };
    run_options how = options();
    how.blocking_threads = 2;
    run(body(), how);
    EXPECT_EQ(answered + given_up, 400);
    EXPECT_GE(called.load(), answered);
    EXPECT_GT(answered, 0);
    EXPECT_GT(given_up, 0);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
