// The words of include/coro/core/shared_words.hpp in every order in which threads may see each
// other, and weakened once each, where the checker has to say so.
#include <coro/core/shared_words.hpp>

#include <array>
#include <type_traits>

#include <gtest/gtest.h>

#include "support/interleavings.hpp"

namespace coro::inline v0::detail {
namespace {

namespace model = coro_test::model;

constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;

/// What is weakened: exchanges that store this value, or the settling of a home.
struct mutant {
    int storing = -1;
    std::memory_order becomes = acq_rel;
    bool only_stores = false;  ///< does not look at what was there
    bool settling = false;
};
mutant active;

template <typename T>
class mutable_word : public model::atomic<T> {
    using base = model::atomic<T>;

public:
    using base::base;
    bool compare_exchange_strong(T& expected, T desired, std::memory_order success,
                                 std::memory_order failure) {
        if (!active.settling)
            return base::compare_exchange_strong(expected, desired, success, failure);
        return base::compare_exchange_strong(expected, desired, active.becomes,
                                             std::memory_order_relaxed);
    }
    T exchange(T value, std::memory_order order) {
        if (to_int(value) != active.storing) return base::exchange(value, order);
        if (!active.only_stores) return base::exchange(value, active.becomes);
        base::store(value, active.becomes);
        return value;
    }

private:
    static int to_int(T value) {
        if constexpr (std::is_pointer_v<T>) return value != nullptr;
        else return static_cast<int>(value);
    }
};

struct model_words {
    template <typename T>
    using atomic = mutable_word<T>;
};

class shared_words_interleavings : public testing::Test {
protected:
    void SetUp() override { active = {}; }
    void TearDown() override { active = {}; }

    template <typename Scenario>
    static void expect_sound() {
        const model::findings found = model::explore<Scenario>();
        EXPECT_EQ(found.failure, "");
        EXPECT_TRUE(found.complete);
        std::printf("%llu executions\n", static_cast<unsigned long long>(found.executions));
    }
    template <typename Scenario>
    static void expect_found(const mutant& weaker, const char* why) {
        active = weaker;
        const model::findings found = model::explore<Scenario>();
        EXPECT_EQ(found.failure.find(why), 0u) << found.failure << found.executions;
        active = {};
    }
};

// --- message_flag

/// Two loops have news for an object of a third one, and one message between them. The object goes
/// on when it has all news: if a message stood for news that it does not see, it never does.
class two_announcers final : public model::scenario {
public:
    model::names called() const override {
        return {{"home", "loop A", "loop B"},
                {"under way", "posted", "wake-up", "news of A", "news of B"}};
    }
    void run(unsigned thread) override {
        if (thread != 0) {
            news_[thread - 1].store(1, std::memory_order_relaxed);
            if (flag_.sets_out()) post();
            return;
        }
        for (int seen = 0; seen != 2;) {
            wake_up_.wait();
            if (posted_.exchange(0, acquire) == 0) continue;
            flag_.arrives();
            seen = 0;
            for (const auto& one : news_) seen += one.load(std::memory_order_relaxed);
        }
    }

private:
    /// A message that is under way must not be posted a second time.
    void post() {
        model::require(posted_.exchange(1, acq_rel) == 0, "posted twice");
        wake_up_.set();
    }
    message_flag<model_words> flag_;
    model::atomic<int> posted_{0};
    model::kernel_flag wake_up_;
    std::array<model::atomic<int>, 2> news_{model::atomic<int>(0), model::atomic<int>(0)};
};

TEST_F(shared_words_interleavings, a_message_under_way_stands_for_those_after_it) {
    expect_sound<two_announcers>();
}

TEST_F(shared_words_interleavings, a_message_that_does_not_look_when_it_arrives_misses_news) {
    const char* const why = "nobody goes on";
    expect_found<two_announcers>({.storing = 0, .becomes = release, .only_stores = true}, why);
    expect_found<two_announcers>({.storing = 0, .becomes = release}, why);
    expect_found<two_announcers>({.storing = 1, .becomes = acquire}, why);
}

// --- settled_home

struct some_loop {
    model::checked<int> made{0};
};

/// Loops of one run come first to an object without a home, as home_loop::is_elsewhere() does. Each
/// has written to its own loop before, and whoever is elsewhere goes on to use the home.
class homeless_object final : public model::scenario {
public:
    model::names called() const override { return {{"A", "B", "C"}, {"home", "run"}}; }
    void run(unsigned thread) override {
        some_loop& mine = loops_[thread];
        mine.made = 1;
        some_loop* home = home_.get();
        if (home == nullptr && home_.settle(home, &mine, 7)) home = &mine;
        model::require(home != nullptr && home_.known() == home, "no home, or another one");
        model::require(home_.run() == 7, "the home has a number that is not its run's");
        model::require(home->made == 1, "a home that is not seen as it was made");
        seen_[thread] = home;
    }
    void check() override {
        model::require(seen_[0] == seen_[1] && seen_[1] == seen_[2], "two homes");
    }

private:
    std::array<some_loop, 3> loops_;
    settled_home<some_loop, model_words> home_{nullptr, 0};
    std::array<some_loop*, 3> seen_{};
};

TEST_F(shared_words_interleavings, a_home_is_settled_once_and_seen_by_all) {
    expect_sound<homeless_object>();
}

TEST_F(shared_words_interleavings, who_finds_a_home_must_acquire_what_its_finder_released) {
    expect_found<homeless_object>({.becomes = acquire, .settling = true}, "a data race");
    expect_found<homeless_object>({.becomes = release, .settling = true}, "a data race");
}

// --- job_state

/// A thread executes a job; its waiter leaves it behind at some moment, or reads the answer.
class job_left_behind final : public model::scenario {
public:
    model::names called() const override {
        return {{"waiter", "pool"}, {"state", "news"}};
    }
    void run(unsigned thread) override {
        if (thread == 1) {
            answer_ = 42;
            if (!state_.ends()) return free();
            model::require(!freed_, "told of a job that was freed");
            return news_.set();
        }
        waiters_own_ = 1;  // whoever frees the job writes over all of it
        if (state_.is_abandoned()) return;
        news_.wait();
        model::require(answer_ == 42, "there is no answer");
        free();
    }
    void check() override { model::require(freed_, "never freed"); }

private:
    void free() {
        model::require(!freed_, "freed twice");
        freed_ = true;
        waiters_own_ = 0;
        answer_ = 0;
    }
    job_state<model_words> state_;
    model::kernel_flag news_;
    model::checked<int> waiters_own_{0};
    model::checked<int> answer_{0};
    bool freed_ = false;
};

TEST_F(shared_words_interleavings, a_job_is_freed_once_and_by_who_came_second) {
    expect_sound<job_left_behind>();
}

TEST_F(shared_words_interleavings, who_comes_second_must_see_what_the_first_did) {
    constexpr int ended = 1;
    constexpr int abandoned = 2;
    expect_found<job_left_behind>({.storing = ended, .becomes = release}, "a data race");
    expect_found<job_left_behind>({.storing = ended, .becomes = acquire}, "a data race");
    expect_found<job_left_behind>({.storing = abandoned, .becomes = release}, "a data race");
    expect_found<job_left_behind>({.storing = abandoned, .becomes = acquire}, "a data race");
}

}  // namespace
}  // namespace coro::inline v0::detail
