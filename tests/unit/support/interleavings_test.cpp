// The checker of interleavings finds what is wrong, and finds nothing where nothing is.
#include "support/interleavings.hpp"

#include <set>
#include <string>

#include <gtest/gtest.h>

namespace coro_test::model {
namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto total = std::memory_order_seq_cst;

struct orders {
    std::memory_order store;
    std::memory_order load;
    bool fenced = false;
};

/// Each of two threads stores its word and loads the other's.
class store_buffering final : public scenario {
public:
    explicit store_buffering(orders how) : how_(how) {}
    names called() const override { return {{"left", "right"}, {"x", "y"}}; }
    void run(unsigned thread) override {
        (thread == 0 ? x_ : y_).store(1, how_.store);
        if (how_.fenced) fence(total);
        got_[thread] = (thread == 0 ? y_ : x_).load(how_.load);
    }
    void check() override { require(got_[0] + got_[1] != 0, "neither has seen the other"); }

private:
    orders how_;
    atomic<int> x_{0};
    atomic<int> y_{0};
    std::array<int, 2> got_{};
};

findings explore_store_buffering(orders how) {
    return explore([how] { return std::make_unique<store_buffering>(how); });
}

TEST(interleavings, store_buffering_needs_the_total_order) {
    EXPECT_NE(explore_store_buffering({release, acquire}).failure, "");
    EXPECT_NE(explore_store_buffering({total, acquire}).failure, "");
    EXPECT_NE(explore_store_buffering({release, total}).failure, "");
    for (const orders how : {orders{total, total}, orders{relaxed, relaxed, true}}) {
        const findings found = explore_store_buffering(how);
        EXPECT_EQ(found.failure, "");
        EXPECT_TRUE(found.complete);
    }
}

/// One writes plainly and says so; the other reads when it has been told.
class message_passing final : public scenario {
public:
    explicit message_passing(orders how) : how_(how) {}
    names called() const override { return {{"writer", "reader"}, {"told"}}; }
    void run(unsigned thread) override {
        if (thread == 0) {
            data_ = 42;
            if (how_.fenced) fence(release);
            told_.store(1, how_.store);
        } else if (told_.load(how_.load) == 1) {
            if (how_.fenced) fence(acquire);
            require(data_ == 42, "the message is not there");
        }
    }

private:
    orders how_;
    checked<int> data_{0};
    atomic<int> told_{0};
};

findings explore_message_passing(orders how) {
    return explore([how] { return std::make_unique<message_passing>(how); });
}

TEST(interleavings, a_message_needs_release_and_acquire) {
    for (const orders how : {orders{relaxed, acquire}, orders{release, relaxed}}) {
        const findings found = explore_message_passing(how);
        EXPECT_NE(found.failure.find("a data race"), std::string::npos) << found.failure;
        EXPECT_NE(found.failure.find("reader: told is 1"), std::string::npos) << found.failure;
    }
    EXPECT_EQ(explore_message_passing({release, acquire}).failure, "");
    EXPECT_EQ(explore_message_passing({relaxed, relaxed, true}).failure, "");
}

/// The same through a third: what he read he passes on, and a read-modify-write in between keeps
/// what was released.
class passed_on final : public scenario {
public:
    explicit passed_on(std::memory_order between) : between_(between) {}
    names called() const override { return {{"writer", "adder", "reader"}, {"count"}}; }
    void run(unsigned thread) override {
        if (thread == 0) {
            data_ = 42;
            count_.store(1, release);
        } else if (thread == 1) {
            if (between_ == relaxed) count_.fetch_add(1, relaxed);
            else if (count_.load(relaxed) == 1) count_.store(2, relaxed);
        } else if (count_.load(acquire) == 2) {
            require(data_ == 42, "the message is not there");
        }
    }

private:
    std::memory_order between_;
    checked<int> data_{0};
    atomic<int> count_{0};
};

TEST(interleavings, a_read_modify_write_continues_a_release_and_a_store_does_not) {
    const auto explore_with = [](std::memory_order between) {
        return explore([between] { return std::make_unique<passed_on>(between); }).failure;
    };
    EXPECT_EQ(explore_with(relaxed), "");
    EXPECT_NE(explore_with(total).find("a data race"), std::string::npos);
}

/// Two readers of two words that two writers store: do they agree on who was first?
class two_witnesses final : public scenario {
public:
    explicit two_witnesses(orders how) : how_(how) {}
    names called() const override {
        return {{"writer of x", "writer of y", "x first", "y first"}, {"x", "y"}};
    }
    void run(unsigned thread) override {
        if (thread < 2) return (thread == 0 ? x_ : y_).store(1, how_.store);
        atomic<int>& first = thread == 2 ? x_ : y_;
        atomic<int>& second = thread == 2 ? y_ : x_;
        const bool seen = first.load(how_.load) == 1;
        got_[thread - 2] = seen && second.load(how_.load) == 0;
    }
    void check() override { require(!got_[0] || !got_[1], "they do not agree"); }

private:
    orders how_;
    atomic<int> x_{0};
    atomic<int> y_{0};
    std::array<bool, 2> got_{};
};

TEST(interleavings, only_the_total_order_is_one_for_all) {
    const auto explore_with = [](orders how) {
        return explore([how] { return std::make_unique<two_witnesses>(how); }).failure;
    };
    EXPECT_NE(explore_with({release, acquire}), "");
    EXPECT_EQ(explore_with({total, total}), "");
}

/// Goes to sleep unless there is work already; the look and the sleep are two steps.
class sleeps_over final : public scenario {
public:
    names called() const override { return {{"worker", "poster"}, {"work", "asleep", "flag"}}; }
    void run(unsigned thread) override {
        if (thread == 0) {
            if (work_.load() != 0) return;
            asleep_.store(1);
            flag_.wait();
        } else {
            work_.store(1);
            if (asleep_.load() == 1) flag_.set();
        }
    }

private:
    atomic<int> work_{0};
    atomic<int> asleep_{0};
    kernel_flag flag_;
};

TEST(interleavings, a_lost_wake_up_is_told_with_its_steps) {
    for (const limits within : {limits{}, limits{.preemptions = 1}}) {
        const findings found = explore<sleeps_over>(within);
        const std::string& told = found.failure;
        EXPECT_EQ(told.find("nobody goes on"), 0u) << told;
        const std::size_t looked = told.find("worker: work is 0, seq_cst");
        const std::size_t posted = told.find("poster: work = 1, seq_cst");
        const std::size_t slept = told.find("worker: sleeps on flag");
        EXPECT_NE(slept, std::string::npos) << told;
        EXPECT_LT(looked, posted) << told;
        EXPECT_LT(looked, slept) << told;
    }
    EXPECT_TRUE(explore<sleeps_over>({.preemptions = 0}).failure.empty())
        << "undisturbed, nobody sleeps over it";
}

class plain_counter final : public scenario {
public:
    explicit plain_counter(bool locked) : locked_(locked) {}
    names called() const override { return {{"one", "other"}, {"lock"}}; }
    void run(unsigned) override {
        if (locked_) lock_.lock();
        count_ = count_ + 1;
        if (locked_) lock_.unlock();
    }
    void check() override { require(count_ == 2, "an update was lost"); }

private:
    bool locked_;
    mutex lock_;
    checked<int> count_{0};
};

TEST(interleavings, a_data_race_is_found_and_a_lock_removes_it) {
    const auto explore_with = [](bool locked) {
        return explore([locked] { return std::make_unique<plain_counter>(locked); });
    };
    EXPECT_EQ(explore_with(false).failure.find("a data race"), 0u);
    EXPECT_EQ(explore_with(true).failure, "");
    EXPECT_EQ(explore_with(true).executions, 2u) << "who has the lock first";
}

/// Steps that touch different words: one order stands for all.
class strangers final : public scenario {
public:
    names called() const override { return {{"one", "two", "three"}, {}}; }
    void run(unsigned thread) override {
        for (int i = 0; i < 3; ++i) words_[thread].fetch_add(1);
    }
    void check() override {
        for (const atomic<int>& one : words_) require(one.load() == 3, "a step was left out");
    }

private:
    std::array<atomic<int>, 3> words_{atomic<int>(0), atomic<int>(0), atomic<int>(0)};
};

/// Steps on one word: each order counts. Notes which have come.
class rivals final : public scenario {
public:
    explicit rivals(std::set<std::string>& seen) : seen_(seen) {}
    names called() const override { return {{"a", "b", "c"}, {"last"}}; }
    void run(unsigned thread) override {
        for (int i = 0; i < 2; ++i) order_[word_.fetch_add(1)] = static_cast<char>('a' + thread);
    }
    void check() override { seen_.emplace(order_.data(), 6); }

private:
    std::set<std::string>& seen_;
    atomic<unsigned> word_{0};
    std::array<char, 6> order_{};
};

TEST(interleavings, each_is_run_once) {
    EXPECT_EQ(explore<strangers>().executions, 1u);
    EXPECT_EQ(explore<strangers>({.preemptions = 0}).executions, 6u) << "3! orders of the threads";
    std::set<std::string> seen;
    const findings all = explore([&] { return std::make_unique<rivals>(seen); });
    EXPECT_EQ(seen.size(), 90u) << "6! / 2!^3";
    EXPECT_EQ(all.executions, 90u);
    seen.clear();
    const findings few = explore([&] { return std::make_unique<rivals>(seen); },
                                 {.preemptions = 1});
    EXPECT_TRUE(few.complete);
    EXPECT_EQ(few.executions, seen.size()) << "each once";
    EXPECT_LT(seen.size(), 90u);
}

// --- nothing is left out that differs

/// A random program of a few loads, stores and additions on two words.
struct instruction {
    unsigned what = 0;
    unsigned word = 0;
    std::memory_order order = relaxed;
};
using program = std::array<std::array<instruction, 3>, 3>;

program random_program(std::uint32_t seed) {
    const auto next = [&seed](unsigned of) {
        seed = seed * 1664525u + 1013904223u;
        return (seed >> 16) % of;
    };
    constexpr std::array loads{relaxed, acquire, total};
    constexpr std::array stores{relaxed, release, total};
    program made;
    for (auto& thread : made) {
        for (instruction& one : thread) {
            one.what = next(7);
            one.word = next(2);
            one.order = one.what < 3 ? loads[next(3)] : stores[next(3)];
        }
    }
    return made;
}

/// Notes what all its loads answered, and what the words were at the end.
class random_scenario final : public scenario {
public:
    random_scenario(const program& of, std::set<std::string>& seen) : program_(of), seen_(seen) {}
    names called() const override { return {{"a", "b", "c"}, {"x", "y"}}; }
    void run(unsigned thread) override {
        for (unsigned i = 0; i < 3; ++i) {
            const instruction& one = program_[thread][i];
            atomic<int>& on = words_[one.word];
            const int value = static_cast<int>(thread * 3 + i + 1);
            char& got = got_[thread * 3 + i];
            if (one.what < 3) got = static_cast<char>('0' + on.load(one.order));
            else if (one.what < 5) on.store(value, one.order);
            else if (one.what == 5) got = static_cast<char>('0' + on.exchange(value, one.order));
            else fence(total);
        }
    }
    void check() override {
        std::string all(got_.begin(), got_.end());
        for (const atomic<int>& one : words_) all += std::to_string(one.load()) + ",";
        seen_.insert(std::move(all));
    }

private:
    const program& program_;
    std::set<std::string>& seen_;
    std::array<atomic<int>, 2> words_{atomic<int>(0), atomic<int>(0)};
    std::array<char, 9> got_{};
};

TEST(interleavings, what_is_left_out_repeats_what_was_run) {
    std::uint64_t with_sleep = 0;
    std::uint64_t without = 0;
    const std::uint32_t programs = switches_are_slow ? 3 : 20;
    for (std::uint32_t seed = 1; seed <= programs; ++seed) {
        const program made = random_program(seed);
        const auto outcomes = [&](const limits& within, std::uint64_t& executions) {
            std::set<std::string> seen;
            const auto make = [&] { return std::make_unique<random_scenario>(made, seen); };
            const findings found = explore(make, within);
            EXPECT_EQ(found.failure, "");
            EXPECT_TRUE(found.complete);
            executions += found.executions;
            return seen;
        };
        const auto some = outcomes({}, with_sleep);
        const auto all = outcomes({.preemptions = 9}, without);  // more than there are steps
        EXPECT_EQ(some, all) << "program " << seed;
        EXPECT_GT(all.size(), 1u);
    }
    EXPECT_LT(with_sleep * 2, without);
}

class endless final : public scenario {
public:
    names called() const override { return {{"spinner"}, {"word"}}; }
    void run(unsigned) override {
        while (word_.load() == 0) {
        }
    }

private:
    atomic<int> word_{0};
};

TEST(interleavings, what_does_not_end_is_told) {
    EXPECT_EQ(explore<endless>().failure.find("it does not end"), 0u);
}

}  // namespace
}  // namespace coro_test::model
