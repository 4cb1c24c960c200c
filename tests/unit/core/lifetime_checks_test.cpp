// What the compile-time checks see: closures, captures, aggregates.
#include <coro/core/detail/lifetime_checks.hpp>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include <coro/core/task.hpp>
#include <coro/runtime/sleep.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class lifetime_checks_test : public core_test {};

struct functor {
    int operator()() const { return 1; }
};
template <typename T>
struct named_lambda {};  // a name with brackets at its end is no closure

struct owning_aggregate {
    std::string text;
};
struct trusted {
    std::string text;
};
struct plain_options {
    int depth = 1;
    const char* name = nullptr;
};
class with_constructor {
public:
    explicit with_constructor(std::string t) : text(std::move(t)) {}
    std::string text;
};

}  // namespace
}  // namespace coro_test

template <>
inline constexpr bool coro::trusted_aggregate<coro_test::trusted> = true;

namespace coro_test {
namespace {

template <typename T>
constexpr bool seen_as_closure(const T&) {
    return coro::detail::is_closure<T>();
}
template <typename T>
bool capturing(coro::task<T>& made) {
    return coro::detail::task_access::promise(made).capturing_closure;
}

TEST_F(lifetime_checks_test, closures_are_recognised_and_nothing_else_is) {
    int value = 1;
    EXPECT_TRUE(seen_as_closure([] {}));
    EXPECT_TRUE(seen_as_closure([value] { return value; }));
    EXPECT_TRUE(seen_as_closure([&value](int, std::map<int, functor>) mutable { return ++value; }));
    EXPECT_TRUE(seen_as_closure([](auto...) noexcept {}));
    EXPECT_FALSE(seen_as_closure(functor()));
    EXPECT_FALSE(seen_as_closure(named_lambda<functor>()));
    EXPECT_FALSE(seen_as_closure(std::function<void()>()));
    auto inner = [] {};
    EXPECT_FALSE(seen_as_closure(std::vector<decltype(inner)>()));
    EXPECT_FALSE(seen_as_closure(value));
}

template <typename U>
coro::task<> capturing_in_a_template(U value) {
    auto body = [value](U, std::pair<int, U>) -> coro::task<> {
        (void)value;
        co_return;
    };
    auto made = body(value, {});
    EXPECT_TRUE(capturing(made));
    co_return;
}

TEST_F(lifetime_checks_test, the_task_of_a_capturing_lambda_knows_that) {
    const dropped_tasks dropped;
    int value = 1;
    auto by_value = [value]() -> coro::task<int> { co_return value; };
    auto by_reference = [&value](int) -> coro::task<> {
        ++value;
        co_return;
    };
    auto changing = [value]() mutable -> coro::task<> {
        ++value;
        co_return;
    };
    auto generic = [value](auto...) -> coro::task<> {
        (void)value;
        co_return;
    };
    auto capturing_nothing = [](functor) -> coro::task<> { co_return; };
    auto first = by_value();
    auto second = by_reference(1);
    auto third = changing();
    auto fourth = generic(1, 2);
    auto fifth = capturing_nothing(functor());
    EXPECT_TRUE(capturing(first));
    EXPECT_TRUE(capturing(second));
    EXPECT_TRUE(capturing(third));
    EXPECT_TRUE(capturing(fourth));
    EXPECT_FALSE(capturing(fifth));
    auto function = sleep_task(1ms);
    EXPECT_FALSE(capturing(function));
    simulate([](int copied) -> coro::task<> {  // inside of a coroutine g++ writes other names
        auto nested = [copied]() -> coro::task<> {
            (void)copied;
            co_return;
        };
        auto made = nested();
        EXPECT_TRUE(capturing(made));
        co_await capturing_in_a_template(copied);
    }(value));
}

TEST_F(lifetime_checks_test, aggregates_are_unsafe_where_the_compiler_destroys_them_twice) {
    constexpr bool faulty = CORO_DOUBLE_DESTROY != 0;
    EXPECT_EQ(coro::detail::unsafe_aggregate<owning_aggregate>, faulty);
    EXPECT_FALSE(coro::detail::unsafe_aggregate<owning_aggregate&>);
    EXPECT_FALSE(coro::detail::unsafe_aggregate<trusted>);
    EXPECT_FALSE(coro::detail::unsafe_aggregate<plain_options>);
    EXPECT_FALSE(coro::detail::unsafe_aggregate<with_constructor>);
    EXPECT_FALSE(coro::detail::unsafe_aggregate<std::string>);

    const std::string text = "long enough to be on the heap, whatever the library does";
    auto owns = [text] { return text.size(); };
    auto refers = [&text] { return text.size(); };
    EXPECT_EQ(coro::detail::unsafe_closure_temporary<decltype(owns)>, faulty);
    EXPECT_FALSE(coro::detail::unsafe_closure_temporary<decltype(owns)&>);
    EXPECT_FALSE(coro::detail::unsafe_closure_temporary<decltype(refers)>);
    EXPECT_FALSE(coro::detail::unsafe_closure_temporary<std::function<void()>>);
}

}  // namespace
}  // namespace coro_test
