// What loans rest on: where a frame begins, and what an argument refers to.
#include <coro/core/detail/loan.hpp>

#include <array>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class loan_test : public core_test {};

struct alignas(32) wide {
    int value = 1;
};

template <typename T>
coro::task<T> make(T value) {
    co_return value;
}

template <typename T>
void expect_known_offset(coro::task<T> made) {
    auto& promise = coro::detail::task_access::promise(made);
    const auto* const frame =
        static_cast<const char*>(coro::detail::task_access::frame(made).address());
    EXPECT_EQ(reinterpret_cast<const char*>(&promise) - frame, promise.offset_in_frame);
}

TEST_F(loan_test, a_promise_knows_where_its_frame_begins) {
    const unstarted_tasks_expected dropped;
    expect_known_offset(make(1));
    expect_known_offset(make(std::string("text")));
    expect_known_offset(make(wide()));
    expect_known_offset(sleep_task(1ms));
}

template <typename T>
constexpr bool refers = coro::detail::referring<T>;

TEST_F(loan_test, references_pointers_and_views_refer_and_what_owns_does_not) {
    EXPECT_TRUE(refers<std::reference_wrapper<int>>);
    EXPECT_TRUE(refers<int*>);
    EXPECT_TRUE(refers<const volatile void*>);
    EXPECT_TRUE(refers<std::string_view>);
    EXPECT_TRUE((refers<std::span<const int>>));
    EXPECT_FALSE(refers<void (*)()>);
    EXPECT_FALSE(refers<std::reference_wrapper<void()>>);
    EXPECT_FALSE(refers<std::string>);
    EXPECT_FALSE(refers<std::vector<int>>);
    EXPECT_FALSE(refers<std::unique_ptr<int>>);
    EXPECT_FALSE(refers<int>);
}

TEST_F(loan_test, the_address_is_that_of_the_object_or_of_the_first_element) {
    int number = 1;
    const std::array<int, 3> numbers{1, 2, 3};
    EXPECT_EQ(coro::detail::referent(std::ref(number)), &number);
    EXPECT_EQ(coro::detail::referent(&number), &number);
    EXPECT_EQ(coro::detail::referent(std::span(numbers)), numbers.data());
    EXPECT_EQ(coro::detail::referent(numbers), nullptr);  // it has its elements itself
    EXPECT_EQ(coro::detail::referent(std::string_view()), nullptr);
}

coro::task<> read_late(int& number) {
    co_await coro::yield();
    number += 1;
}
std::size_t loans_here() {
    std::size_t count = 0;
    auto& loans = coro::detail::current->loans;
    for (auto* at = loans.front(); at != nullptr; at = loans.next(*at)) ++count;
    return count;
}

TEST_F(loan_test, only_what_may_end_before_the_child_is_noted) {
    simulate([]() -> coro::task<> {
        int outer = 0;
        auto body = [&outer, kept = 0](coro::task_group& group) mutable -> coro::task<> {
            static int global = 0;
            const auto on_heap = std::make_unique<int>(0);
            int own = 0;
            group.spawn(read_late, std::ref(outer));
            group.spawn(read_late, std::ref(kept));  // the closure is the group's
            group.spawn(read_late, std::ref(global));
            group.spawn(read_late, std::ref(*on_heap));
            EXPECT_EQ(loans_here(), 0u);
            group.spawn(read_late, std::ref(own));
            EXPECT_EQ(loans_here(), 1u);
            group.spawn(read_late, std::ref(own));
            group.spawn([](int* number) -> coro::task<> { co_await read_late(*number); }, &own);
            EXPECT_EQ(loans_here(), 3u);
            co_await group.join();
            EXPECT_EQ(loans_here(), 0u);
            EXPECT_EQ(own, 3);
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(outer, 1);
    }());
}

// --- a frame whose loans have ended looks at nobody else's

coro::detail::task_promise_base& running_frame() {
    return static_cast<coro::detail::task_promise_base&>(*coro::detail::current->running->leaf);
}
/// Lends to `count` children, each with two references, and waits for them.
coro::task<> lend_and_join(unsigned count) {
    const auto body = [](coro::task_group& group, unsigned children) -> coro::task<> {
        int own = 0;
        int other = 0;
        for (unsigned child = 0; child < children; ++child)
            group.spawn(
                [](int& number, const int* more) -> coro::task<> {
                    co_await read_late(number);
                    number += *more;
                },
                std::ref(own), &other);
        EXPECT_EQ(running_frame().lends, 2 * children);
        co_await group.join();
        EXPECT_EQ(running_frame().lends, 0u);
        EXPECT_EQ(own, static_cast<int>(children));
    };
    const auto called = [&body, count](coro::task_group& group) { return body(group, count); };
    co_await coro::with_task_group(called);
}

TEST_F(loan_test, a_frame_counts_its_loans_down_when_its_children_end) {
    simulate([]() -> coro::task<> {
        const auto body = [](coro::task_group& group) -> coro::task<> {
            int own = 0;
            group.spawn(
                [](int& number) -> coro::task<> {
                    co_await coro::sleep_for(1ms);
                    ++number;
                },
                std::ref(own));
            for (const unsigned count : {0u, 1u, 5u}) co_await lend_and_join(count);
            EXPECT_EQ(loans_here(), 1u);
            EXPECT_EQ(running_frame().lends, 1u);
            co_await group.join();
            EXPECT_EQ(own, 1);
        };
        co_await coro::with_task_group(body);
    }());
}

constexpr auto full = std::numeric_limits<std::uint16_t>::max();

TEST_F(loan_test, a_count_that_is_full_stays_and_the_frame_is_looked_for) {
    simulate([]() -> coro::task<> {
        const auto body = [](coro::task_group& group) -> coro::task<> {
            int own = 0;
            for (unsigned child = 0; child < full + 3u; ++child)
                group.spawn(read_late, std::ref(own));
            EXPECT_EQ(running_frame().lends, full);
            co_await group.join();
            EXPECT_EQ(loans_here(), 0u);
            EXPECT_EQ(running_frame().lends, full);
            EXPECT_EQ(own, full + 3);
        };
        co_await coro::with_task_group(body);
    }());
}

// --- arguments of which a task keeps a copy of its own

coro::task<> keep_name(std::string name, int number, std::string& out) {
    co_await coro::yield();
    out = name + std::to_string(number);
}
/// All that is spawned with is gone when this returns.
void spawn_and_return(coro::task_group& group, std::string& out) {
    std::array<char, 64> name{};
    int number = 7;
    std::string("a name too long for a string without memory ").copy(name.data(), name.size());
    char* const text = name.data();
    group.spawn(keep_name, text, std::ref(number), std::ref(out));
    group.spawn(
        [](const std::string& kept, std::string_view nothing) -> coro::task<> {
            co_await coro::yield();
            EXPECT_EQ(kept.size() + nothing.size(), 44u);
        },
        text, std::string_view(text, 0));
    name.fill('x');
}

TEST_F(loan_test, a_parameter_that_owns_what_it_is_made_of_borrows_nothing) {
    std::string out;
    simulate([](std::string& to) -> coro::task<> {
        auto body = [&to](coro::task_group& group) -> coro::task<> {
            spawn_and_return(group, to);
            EXPECT_EQ(loans_here(), 0u);
            co_return;
        };
        co_await coro::with_task_group(body);
    }(out));
    EXPECT_EQ(out, "a name too long for a string without memory 7");
}

TEST_F(loan_test, a_function_object_may_own_a_lambda_that_captures) {
    std::string out;
    simulate([](std::string& to) -> coro::task<> {
        auto body = [&to](coro::task_group& group) -> coro::task<> {
            std::function<coro::task<>(std::string&)> give =
                [text = std::string("a text too long for a string without memory")](
                    std::string& into) -> coro::task<> {
                co_await coro::yield();
                into = text;
            };
            group.spawn(give, std::ref(to));
            co_return;
        };
        co_await coro::with_task_group(body);
    }(out));
    EXPECT_EQ(out, "a text too long for a string without memory");
}

// --- the name of a borrower

struct lender_slot {
    std::optional<coro::task<>> lender;
};
/// Owns the lender, and a name; the name ends first.
class last_owner {
public:
    last_owner(std::shared_ptr<lender_slot> slot, std::unique_ptr<std::string> name) noexcept
        : slot_(std::move(slot)), name_(std::move(name)) {}

private:
    std::shared_ptr<lender_slot> slot_;
    std::unique_ptr<std::string> name_;
};
coro::task<> borrow_late(int&, last_owner) { co_await coro::sleep_for(1ms); }
coro::task<> lend_own(coro::task_group& group, std::shared_ptr<lender_slot> slot) {
    int own = 1;
    auto name = std::make_unique<std::string>("a name that its task owns, too long to be small");
    const char* const text = name->c_str();
    last_owner last(std::move(slot), std::move(name));
    group.spawn({.name = text}, borrow_late, std::ref(own), std::move(last));
    co_await coro::yield();
    EXPECT_EQ(own, 1);
}
/// The frame of the lender ends with the parameters of the borrower.
coro::task<> give_the_lender_away() {
    const auto body = [](coro::task_group& group) -> coro::task<> {
        auto slot = std::make_shared<lender_slot>();
        slot->lender.emplace(lend_own(group, slot));
        co_await std::move(*slot->lender);
        slot.reset();
        co_await group.join();
    };
    co_await coro::with_task_group(body);
}

using loan_death_test = loan_test;

TEST_F(loan_death_test, a_frame_whose_count_is_full_aborts_as_well) {
    EXPECT_DEATH(simulate([]() -> coro::task<> {
                     const auto body = [](coro::task_group& group) -> coro::task<> {
                         int own = 0;
                         running_frame().lends = full;
                         group.spawn(read_late, std::ref(own));
                         co_await coro::yield();
                         group.spawn(read_late, std::ref(own));
                     };
                     co_await coro::with_task_group(body);
                 }()),
                 "variable of its own: [a-z_:{}]*read_late");
}

TEST_F(loan_death_test, a_name_that_ended_with_its_task_is_not_read) {
    EXPECT_DEATH(simulate(give_the_lender_away()),
                 "variable of its own: [a-z_:{}]*borrow_late");
}

}  // namespace
}  // namespace coro_test
