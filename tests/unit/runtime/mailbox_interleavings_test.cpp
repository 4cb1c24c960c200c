// The mailbox of a loop, its handshake with who sleeps, and its gate, as the library has them
// (src/runtime/mailbox.hpp), in every order in which threads may see each other. And mutants: each
// order that matters is weakened once, and the checker has to say so.
#include "runtime/mailbox.hpp"

#include <array>
#include <memory>
#include <string>

#include <gtest/gtest.h>

#include "support/interleavings.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

namespace model = coro_test::model;

// --- mutants: what the words are is known by their types

enum class shared_word : std::uint8_t { inbox, sleeping, posting };
enum class access : std::uint8_t { load, store, exchange, push, add, sub };

struct mutant {
    const char* name = "as it is";
    shared_word word = shared_word::inbox;
    access how = access::load;
    std::memory_order given = std::memory_order_seq_cst;
    std::memory_order becomes = std::memory_order_seq_cst;
    bool skips_look = false;  ///< the look at the inbox before the sleep
};
mutant active;

template <typename T>
class mutable_word : public model::atomic<T> {
    using base = model::atomic<T>;
    static constexpr shared_word me = std::is_pointer_v<T>     ? shared_word::inbox
                                      : std::is_same_v<T, bool> ? shared_word::sleeping
                                                                : shared_word::posting;
    static std::memory_order now(access how, std::memory_order given) {
        const bool meant = active.word == me && active.how == how && active.given == given;
        return meant ? active.becomes : given;
    }

public:
    using base::base;
    T load(std::memory_order order) const {
        if constexpr (std::is_pointer_v<T>)
            if (active.skips_look && order == std::memory_order_seq_cst) return nullptr;
        return base::load(now(access::load, order));
    }
    void store(T value, std::memory_order order) { base::store(value, now(access::store, order)); }
    T exchange(T value, std::memory_order order) {
        return base::exchange(value, now(access::exchange, order));
    }
    T fetch_add(T value, std::memory_order order) {
        return base::fetch_add(value, now(access::add, order));
    }
    T fetch_sub(T value, std::memory_order order) {
        return base::fetch_sub(value, now(access::sub, order));
    }
    bool compare_exchange_weak(T& expected, T desired, std::memory_order success,
                               std::memory_order failure) {
        return base::compare_exchange_weak(expected, desired, now(access::push, success), failure);
    }
};

struct model_words {
    template <typename T>
    using atomic = mutable_word<T>;
    using mutex = model::mutex;
};

// --- what a loop and its posters do with the mailbox

struct message {
    model::checked<message*> next{nullptr};
    model::checked<int> content{0};
    unsigned poster = 0;
    unsigned number = 0;
};

/// What came of the messages; no thread but the loop's writes to it.
struct arrivals {
    unsigned count = 0;
    std::array<unsigned, 3> next_of{};  ///< by poster

    void note(message& one) {
        model::require(one.content == 42, "a message came without what it carries");
        model::require(one.number == next_of[one.poster], "lost, twice, or out of order");
        ++next_of[one.poster];
        ++count;
    }
};

class loop_model : public model::scenario {
protected:
    void post(message& one) {
        one.content = 42;
        if (!box_.push(one)) return;
        ++wakes_;
        kernel_.set();
    }
    void take_posted() {
        if (!box_.holds_something()) return;
        message* at = box_.take_all();
        while (at != nullptr) {
            message& one = *at;
            at = one.next;
            got_.note(one);
        }
    }

    mailbox<message, model_words> box_;
    model::kernel_flag kernel_;
    arrivals got_;
    unsigned wakes_ = 0;
    unsigned sleeps_ = 0;
};

/// As scheduler::turn() and sleep(), until all came: so many of the first poster and so many of the
/// second. The sleep may end by itself `Naps` times, as by a timer.
template <unsigned First, unsigned Second, unsigned Naps>
class sleeping_loop final : public loop_model {
public:
    model::names called() const override {
        return {{"loop", "poster A", "poster B"}, {"inbox", "sleeping", "posting", "eventfd"}};
    }
    void run(unsigned thread) override {
        if (thread == 0) return turn_until_all_came();
        for (unsigned i = 0; i < (thread == 1 ? First : Second); ++i) {
            message& one = messages_[thread == 1 ? i : First + i];
            one.poster = thread;
            one.number = i;
            post(one);
        }
    }
    void check() override {
        model::require(got_.count == First + Second, "not all came");
        model::require(wakes_ <= sleeps_, "more than one system call for a sleep");
    }

private:
    void turn_until_all_came() {
        for (unsigned naps = 0;;) {
            take_posted();
            if (got_.count == First + Second) return;
            ++sleeps_;
            if (!box_.falls_asleep()) {
                static_cast<void>(kernel_.take());  // a turn without a sleep looks, too
                continue;
            }
            if (naps++ < Naps) static_cast<void>(kernel_.take());
            else kernel_.wait();
            box_.wakes_up();
        }
    }
    std::array<message, First + Second> messages_;
};

class mailbox_interleavings : public testing::Test {
protected:
    void SetUp() override { active = {}; }
    void TearDown() override { active = {}; }

    template <typename Scenario>
    static void expect_sound(model::limits within = {}) {
        within.few_where_slow = true;
        const model::findings found = model::explore<Scenario>(within);
        EXPECT_EQ(found.failure, "");
        EXPECT_TRUE(found.complete) << "left off after " << found.executions;
        std::printf("%llu executions\n", static_cast<unsigned long long>(found.executions));
    }
};

TEST_F(mailbox_interleavings, one_poster_against_a_loop_that_goes_to_sleep) {
    expect_sound<sleeping_loop<1, 0, 0>>();
    expect_sound<sleeping_loop<2, 0, 0>>();
    expect_sound<sleeping_loop<2, 0, 1>>();
}

TEST_F(mailbox_interleavings, two_posters_against_a_loop_that_goes_to_sleep) {
    expect_sound<sleeping_loop<1, 1, 0>>();
    expect_sound<sleeping_loop<1, 1, 1>>({.preemptions = 3});
    expect_sound<sleeping_loop<2, 1, 0>>({.preemptions = 2});
}

// --- the end of a loop

/// Foreign threads post through the gate; the loop closes it, and goes.
class closing_loop final : public loop_model {
public:
    model::names called() const override {
        return {{"loop", "poster A", "poster B"},
                {"inbox", "sleeping", "posting", "eventfd", "gate", "closed"}};
    }
    void post(message& one) {  // for the gate
        model::require(alive_, "posted to a loop that has gone");
        loop_model::post(one);
    }
    void run(unsigned thread) override {
        if (thread == 0) {
            take_posted();
            if (box_.falls_asleep()) {
                static_cast<void>(kernel_.take());
                box_.wakes_up();
            }
            gate_.close();
            take_posted();
            alive_ = false;
            return;
        }
        const unsigned count = thread == 1 ? 2 : 1;
        for (unsigned i = 0; i < count; ++i) {
            message& one = messages_[thread == 1 ? i : 2];
            one.poster = thread;
            one.number = i;
            if (gate_.post(one)) ++accepted_;
            else return;  // handed back: it is still the poster's
        }
    }
    void check() override {
        model::require(gate_.has_ended() && gate_.is_closed(), "the gate is open");
        model::require(got_.count == accepted_, "not each that was taken has come");
        model::require(wakes_ <= 1, "more than one system call for a sleep");
    }

private:
    model::checked<bool> alive_{true};
    std::array<message, 3> messages_;
    unsigned accepted_ = 0;
    basic_loop_gate<closing_loop, model_words> gate_{*this};
};

TEST_F(mailbox_interleavings, at_the_end_of_a_loop_each_message_comes_or_is_handed_back) {
    expect_sound<closing_loop>({.preemptions = 3});
}

/// Loops of one run look at the gate without its lock, and all have stopped before one goes.
class team_mate final : public loop_model {
public:
    model::names called() const override {
        return {{"loop", "other loop"},
                {"inbox", "sleeping", "posting", "eventfd", "gate", "closed", "stopped"}};
    }
    void post(message& one) { loop_model::post(one); }
    void run(unsigned thread) override {
        if (thread == 0) {
            take_posted();
            gate_.close();
            take_posted();
        } else {
            for (unsigned i = 0; i < 2 && !gate_.is_closed(); ++i) {
                messages_[i].number = i;
                post(messages_[i]);
                ++accepted_;
            }
        }
    }
    void check() override {  // all have stopped: finish_loop()
        take_posted();
        model::require(got_.count == accepted_, "not each that was taken has come");
    }

private:
    std::array<message, 2> messages_;
    unsigned accepted_ = 0;
    basic_loop_gate<team_mate, model_words> gate_{*this};
};

TEST_F(mailbox_interleavings, loops_of_a_run_that_ends_lose_no_message_of_each_other) {
    expect_sound<team_mate>();
}

/// A thread whose work alone keeps the loop alive: the loop may go as soon as it has run that.
class last_post final : public loop_model {
public:
    model::names called() const override {
        return {{"loop", "poster"}, {"inbox", "sleeping", "posting", "eventfd"}};
    }
    void run(unsigned thread) override {
        if (thread == 1) {
            box_.poster_enters();
            model::require(alive_, "posted to a loop that has gone");
            post(message_);
            model::require(alive_, "the loop went while a thread was inside of a post");
            box_.poster_leaves();
            return;
        }
        while (got_.count == 0) {
            take_posted();
            if (got_.count != 0) break;
            if (box_.falls_asleep()) {
                kernel_.wait();
                box_.wakes_up();
            }
        }
        // The destructor asks again and again. That it was answered `yes` changes nothing, so the
        // executions in which it never was are all there are.
        if (!box_.has_poster()) alive_ = false;
    }

private:
    model::checked<bool> alive_{true};
    message message_;
};

TEST_F(mailbox_interleavings, a_loop_does_not_go_while_a_thread_is_inside_of_a_post) {
    expect_sound<last_post>();
}

// --- mutants

template <typename Scenario>
void expect_found(const mutant& weaker, const char* why) {
    active = weaker;
    const model::findings found = model::explore<Scenario>({.preemptions = 2});
    EXPECT_EQ(found.failure.find(why), 0u)
        << weaker.name << ": " << found.failure << found.executions << " executions";
    active = {};
}

TEST_F(mailbox_interleavings, without_one_of_its_orders_a_wake_up_is_lost) {
    using enum shared_word;
    constexpr auto total = std::memory_order_seq_cst;
    constexpr auto acq_rel = std::memory_order_acq_rel;
    constexpr auto acquire = std::memory_order_acquire;
    constexpr auto release = std::memory_order_release;
    const std::array<mutant, 5> mutants{{
        {"the push is no part of the total order", inbox, access::push, total, acq_rel},
        {"the poster's look at sleeping is not", sleeping, access::load, total, acquire},
        {"that the loop sleeps is not", sleeping, access::store, total, release},
        {"the loop's look at the inbox is not", inbox, access::load, total, acquire},
        {.name = "the loop does not look", .skips_look = true},
    }};
    for (const mutant& weaker : mutants)
        expect_found<sleeping_loop<1, 0, 0>>(weaker, "nobody goes on");
}

TEST_F(mailbox_interleavings, without_one_of_its_orders_a_message_or_a_loop_is_touched_by_two) {
    using enum shared_word;
    constexpr auto relaxed = std::memory_order_relaxed;
    expect_found<sleeping_loop<1, 1, 0>>({"what was taken is not acquired", inbox, access::exchange,
                                          std::memory_order_acquire, relaxed},
                                         "a data race");
    expect_found<last_post>({"a poster leaves without a release", posting, access::sub,
                             std::memory_order_release, relaxed},
                            "a data race");
    expect_found<last_post>({"the loop does not acquire that he left", posting, access::load,
                             std::memory_order_acquire, relaxed},
                            "a data race");
}

/// Not each order that is weakened is missed: this one costs nothing where it is.
TEST_F(mailbox_interleavings, the_exchange_of_sleeping_could_be_relaxed) {
    active = {"the exchange is no part of the total order", shared_word::sleeping, access::exchange,
              std::memory_order_seq_cst, std::memory_order_relaxed};
    expect_sound<sleeping_loop<2, 0, 1>>();
}

/// The steps that a lost wake-up is told with.
TEST_F(mailbox_interleavings, a_lost_wake_up_names_who_slept_over_what) {
    active = {.name = "the loop does not look", .skips_look = true};
    const std::string told = model::explore<sleeping_loop<1, 0, 0>>().failure;
    const std::size_t pushed = told.find("poster A: inbox is 0, becomes &1, seq_cst");
    EXPECT_NE(pushed, std::string::npos) << told;
    EXPECT_NE(told.rfind("loop: sleeps on eventfd"), std::string::npos) << told;
}

}  // namespace
}}}  // namespace coro::v0::detail
