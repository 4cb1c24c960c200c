// The words of include/coro/core/detail/shared_words.hpp in every order in which threads may see
// each other, and weakened once each, where the checker has to say so.
#include <coro/core/detail/shared_words.hpp>

#include <array>
#include <type_traits>

#include <gtest/gtest.h>

#include "support/interleavings.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

namespace model = coro_test::model;

constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto relaxed = std::memory_order_relaxed;

/// What is weakened: exchanges that store this value, or loads and stores of words of one kind.
struct mutant {
    int storing = -1;
    std::memory_order becomes = acq_rel;
    bool only_stores = false;  ///< does not look at what was there
    int loads_of = -1;
    int stores_of = -1;
};
mutant active;

template <typename T, int Kind = 0>
class mutable_word : public model::atomic<T> {
    using base = model::atomic<T>;

public:
    using base::base;
    [[nodiscard]] T load(std::memory_order order) const {
        return base::load(active.loads_of == Kind ? relaxed : order);
    }
    void store(T value, std::memory_order order) {
        base::store(value, active.stores_of == Kind ? relaxed : order);
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

template <int Kind>
struct words_of_kind {
    template <typename T>
    using atomic = mutable_word<T, Kind>;
};
using model_words = words_of_kind<0>;

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

// --- settled_home, live_run

constexpr int homes = 1;
constexpr int places = 2;
/// The ids of loops: the number of the run, and the loop in it.
constexpr std::uint64_t id_of(std::uint64_t run, unsigned loop) { return run << 4 | loop; }

/// An object that no loop owns for longer than its run. Who comes goes on as
/// home_loop::lives_elsewhere() does.
class settling : public model::scenario {
protected:
    enum class found { at_home, elsewhere, of_a_run_that_lives };

    found come(std::uint64_t mine) {
        std::uint64_t home = home_.get();
        for (;;) {
            if (home == mine) return found::at_home;
            if (home >> 4 == mine >> 4) return found::elsewhere;
            if (home != 0 && !has_ended(home >> 4)) return found::of_a_run_that_lives;
            if (home_.settle(home, mine)) return found::at_home;
        }
    }
    bool has_ended(std::uint64_t run) const {
        for (const auto& place : places_)
            if (place.is(run)) return false;
        return true;
    }

    settled_home<std::uint64_t, words_of_kind<homes>> home_{0};
    std::array<live_run<words_of_kind<places>>, 2> places_;
    model::checked<int> state_{0};  ///< plain, and touched at home only
};

/// Loops of one run come first to an object without a home.
class homeless_object final : public settling {
public:
    homeless_object() { static_cast<void>(places_[0].begins(1)); }
    model::names called() const override { return {{"A", "B", "C"}, {"home", "place", "place"}}; }
    void run(unsigned thread) override {
        const found what = come(id_of(1, thread));
        if (what == found::at_home) state_ = 1;
        at_home_[thread] = what == found::at_home;
        model::require(what != found::of_a_run_that_lives, "the run is taken for another one");
    }
    void check() override {
        model::require(at_home_[0] + at_home_[1] + at_home_[2] == 1, "two homes, or none");
    }

private:
    std::array<int, 3> at_home_{};
};

/// A run uses it and ends, while the two loops of another one come. Whoever finds that its run has
/// ended sees what that run has done to it.
class outlived_object final : public settling {
public:
    outlived_object() { static_cast<void>(places_[1].begins(2)); }
    model::names called() const override {
        return {{"first run", "second run, A", "second run, B"}, {"home", "first", "second"}};
    }
    void run(unsigned thread) override {
        if (thread == 0) {
            static_cast<void>(places_[0].begins(1));
            if (come(id_of(1, 0)) == found::at_home) state_ = 1;
            return places_[0].ends();
        }
        const found what = come(id_of(2, thread));
        if (what == found::at_home) state_ = 2;
        at_home_[thread] = what == found::at_home;
    }
    void check() override { model::require(at_home_[1] + at_home_[2] <= 1, "two homes"); }

private:
    std::array<int, 3> at_home_{};
};

TEST_F(shared_words_interleavings, a_home_is_settled_once_and_seen_by_all) {
    expect_sound<homeless_object>();
}

TEST_F(shared_words_interleavings, a_home_is_settled_anew_after_the_end_of_its_run_only) {
    expect_sound<outlived_object>();
}

TEST_F(shared_words_interleavings, who_settles_a_home_anew_must_see_that_its_run_began_and_ended) {
    const char* const why = "a data race";
    expect_found<outlived_object>({.stores_of = places}, why);
    expect_found<outlived_object>({.loads_of = places}, why);
    expect_found<outlived_object>({.loads_of = homes}, why);
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
}}}  // namespace coro::v0::detail
