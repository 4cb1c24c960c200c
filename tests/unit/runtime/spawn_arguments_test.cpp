// Arguments of spawn and spawn_fiber live until the child has ended, however the callable is named
// and whatever its parameters are. The children wait before they read; a sanitizer sees the rest.
// compiled alone
#include <array>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <coro/runtime/await.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class spawn_arguments_test : public core_test {};

constexpr const char* words = "text that is too long for a small string";

std::string to_text(std::string_view text) { return std::string(text); }
std::string to_text(std::span<const int> numbers) {
    std::string text;
    for (const int number : numbers) text += std::to_string(number) + ";";
    return text;
}

/// What of the caller's is dead by the time at which a child reads is likely to be overwritten.
void use_the_heap() {
    std::vector<std::string> others;
    for (int i = 0; i < 32; ++i) others.emplace_back(std::string_view(words).size(), 'x');
    EXPECT_EQ(others.size(), 32u);
}

void expect_alive(const std::string& own) { EXPECT_EQ(own, words); }

// --- ways to name a callable. Each takes a parameter of type P, reads it late, and tells `out`.

template <typename P>
coro::task<> function(P parameter, std::string& out) {
    co_await coro::sleep_for(1ms);
    out = to_text(parameter);
}
template <typename P>
coro::task<> noexcept_function(P parameter, std::string& out) noexcept {
    co_await coro::sleep_for(1ms);
    out = to_text(parameter);
}
template <typename P>
constexpr auto lambda = [](P parameter, std::string& out) -> coro::task<> {
    co_await coro::sleep_for(1ms);
    out = to_text(parameter);
};
template <typename P>
constexpr auto noexcept_mutable_lambda = [](P parameter,
                                            std::string& out) mutable noexcept -> coro::task<> {
    co_await coro::sleep_for(1ms);
    out = to_text(parameter);
};
template <typename P>
struct functor {
    coro::task<> operator()(P parameter, std::string& out) const& {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    }
};
template <typename P>
class functor_with_state {
public:
    functor_with_state() : own_(words) {}
    coro::task<> operator()(P parameter, std::string& out) && {
        co_await coro::sleep_for(1ms);
        expect_alive(own_);
        out = to_text(parameter);
    }

private:
    std::string own_;
};
template <typename P>
struct overloaded {
    coro::task<> operator()(P parameter, std::string& out) const {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    }
    coro::task<> operator()() const { co_return; }
};
template <typename P>
class session {
public:
    session() : own_(words) {}
    coro::task<> run(P parameter, std::string& out) {
        co_await coro::sleep_for(1ms);
        expect_alive(own_);
        out = to_text(parameter);
    }
    coro::task<> run_const(P parameter, std::string& out) const noexcept {
        co_await coro::sleep_for(1ms);
        expect_alive(own_);
        out = to_text(parameter);
    }

private:
    std::string own_;
};

/// The children of one body, and what each of them read. Each cell of the matrix is one call of
/// spawn and no more, because this file has hundreds.
class readers {
public:
    explicit readers(coro::task_group& of, std::deque<std::string>& texts)
        : group(of), texts_(texts) {}

    std::reference_wrapper<std::string> out() { return texts_.emplace_back(); }

    coro::task_group& group;

private:
    std::deque<std::string>& texts_;
};

/// What the children read that `spawn` has spawned.
std::deque<std::string> read_by_children_of(const std::function<void(readers&)>& spawn) {
    std::deque<std::string> texts;
    simulate([](const std::function<void(readers&)>& begin,
                std::deque<std::string>& out) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            readers children(group, out);
            begin(children);
            use_the_heap();
            co_return;
        };
        co_await coro::with_task_group(body);
    }(spawn, texts));
    return texts;
}
void expect_read(std::size_t children, const std::string& expected,
                 const std::function<void(readers&)>& spawn) {
    EXPECT_EQ(read_by_children_of(spawn), std::deque<std::string>(children, expected));
}

template <typename P, typename Argument>
void spawn_every_callable(readers& to, const Argument& argument) {
    static session<P> held;
    coro::task_group& group = to.group;
    group.spawn(function<P>, Argument(argument), to.out());
    group.spawn(&function<P>, Argument(argument), to.out());
    group.spawn(noexcept_function<P>, Argument(argument), to.out());
    group.spawn(lambda<P>, Argument(argument), to.out());
    group.spawn(noexcept_mutable_lambda<P>, Argument(argument), to.out());
    group.spawn(functor<P>(), Argument(argument), to.out());
    group.spawn(functor_with_state<P>(), Argument(argument), to.out());
    group.spawn(overloaded<P>(), Argument(argument), to.out());
    group.spawn(std::function<coro::task<>(P, std::string&)>(lambda<P>), Argument(argument),
                to.out());
    group.spawn(&session<P>::run, &held, Argument(argument), to.out());
    group.spawn(&session<P>::run, std::ref(held), Argument(argument), to.out());
    group.spawn(&session<P>::run, std::make_shared<session<P>>(), Argument(argument), to.out());
    group.spawn(&session<P>::run, session<P>(), Argument(argument), to.out());
    group.spawn(&session<P>::run_const, session<P>(), Argument(argument), to.out());
    group.spawn(&session<P>::run_const, std::cref(held), Argument(argument), to.out());
}
template <typename P, typename Argument>
void expect_read_by_every_callable(const Argument& argument, const std::string& expected) {
    expect_read(15, expected,
                [&](readers& children) { spawn_every_callable<P>(children, argument); });
}

TEST_F(spawn_arguments_test, values_are_read_by_every_callable) {
    expect_read_by_every_callable<std::string>(std::string(words), words);
    expect_read_by_every_callable<const std::string>(std::string(words), words);
    expect_read_by_every_callable<std::string>(words, words);
}
TEST_F(spawn_arguments_test, views_are_read_by_every_callable) {
    expect_read_by_every_callable<std::string_view>(std::string(words), words);
}
TEST_F(spawn_arguments_test, spans_are_read_by_every_callable) {
    expect_read_by_every_callable<std::span<const int>>(std::vector<int>{1, 2, 3}, "1;2;3;");
    expect_read_by_every_callable<std::span<const int>>(std::array<int, 3>{4, 5, 6}, "4;5;6;");
}
TEST_F(spawn_arguments_test, const_references_are_read_by_every_callable) {
    expect_read_by_every_callable<const std::string&>(std::string(words), words);
    expect_read_by_every_callable<const std::string&>(words, words);
}
TEST_F(spawn_arguments_test, rvalue_references_are_read_by_every_callable) {
    expect_read_by_every_callable<std::string&&>(std::string(words), words);
}
TEST_F(spawn_arguments_test, what_std_ref_names_is_read_by_every_callable) {
    std::string outlives = words;
    expect_read_by_every_callable<std::string&>(std::ref(outlives), words);
    expect_read_by_every_callable<const std::string&>(std::ref(outlives), words);
    expect_read_by_every_callable<std::string_view>(std::string_view(outlives), words);
}

// --- templates: what they take is found out by the call

struct template_functor {
    template <typename T>
    coro::task<> operator()(const T& parameter, std::string& out) const {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    }
};
struct forwarding_functor {
    template <typename T>
    coro::task<> operator()(T&& parameter, std::string& out) {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    }
};

template <typename Argument>
void expect_read_by_every_template(const Argument& argument, const std::string& expected) {
    const auto by_value = [](auto parameter, std::string& out) -> coro::task<> {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    };
    const auto by_forwarding = [](auto&&... parameters) noexcept -> coro::task<> {
        co_await coro::sleep_for(1ms);
        const auto tell = [](const auto& read, std::string& out) { out = to_text(read); };
        tell(parameters...);
    };
    const auto by_reference = [](const auto& parameter, std::string& out) -> coro::task<> {
        co_await coro::sleep_for(1ms);
        out = to_text(parameter);
    };
    expect_read(5, expected, [&](readers& to) {
        coro::task_group& group = to.group;
        group.spawn(template_functor(), Argument(argument), to.out());
        group.spawn(forwarding_functor(), Argument(argument), to.out());
        group.spawn(by_value, Argument(argument), to.out());
        group.spawn(by_forwarding, Argument(argument), to.out());
        group.spawn(by_reference, Argument(argument), to.out());
    });
}

TEST_F(spawn_arguments_test, every_argument_is_read_by_every_template) {
    expect_read_by_every_template(std::string(words), words);
    expect_read_by_every_template(std::vector<int>{1, 2, 3}, "1;2;3;");
    std::string outlives = words;
    expect_read_by_every_template(std::string_view(outlives), words);
}

// --- what is moved in, and when it ends

/// Counts the copies and the objects that live.
class counted {
public:
    explicit counted(int& copies, int& alive) : copies_(&copies), alive_(&alive) { ++alive; }
    counted(const counted& other) : copies_(other.copies_), alive_(other.alive_) {
        ++*copies_;
        ++*alive_;
    }
    counted(counted&& other) noexcept : copies_(other.copies_), alive_(other.alive_) { ++*alive_; }
    counted& operator=(const counted&) = delete;
    ~counted() { --*alive_; }

private:
    int* copies_;
    int* alive_;
};

TEST_F(spawn_arguments_test, arguments_are_moved_in_and_end_with_the_child) {
    simulate([]() -> coro::task<> {
        int copies = 0;
        int alive = 0;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            const auto by_reference = [](const counted&, int& others) -> coro::task<> {
                co_await coro::sleep_for(1ms);
                EXPECT_EQ(others, 1);
            };
            const auto by_value = [](counted) -> coro::task<> { co_await coro::sleep_for(3ms); };
            group.spawn(by_reference, counted(copies, alive), std::ref(alive));
            EXPECT_EQ(alive, 1);
            co_await coro::sleep_for(2ms);
            EXPECT_EQ(alive, 0);
            group.spawn(by_value, counted(copies, alive));
            EXPECT_EQ(alive, 1);
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(copies, 0);
        EXPECT_EQ(alive, 0);
        const counted original(copies, alive);
        auto copying = [&original](coro::task_group& group) -> coro::task<> {
            group.spawn([](const counted&) -> coro::task<> { co_return; }, original);
            co_return;
        };
        co_await coro::with_task_group(copying);
        EXPECT_EQ(copies, 1);
        EXPECT_EQ(alive, 1);
    }());
}

TEST_F(spawn_arguments_test, a_task_goes_before_the_arguments_that_it_refers_to) {
    class reader {
    public:
        explicit reader(const std::string& text, std::string& out) : text_(text), out_(out) {}
        reader(const reader&) = delete;
        reader& operator=(const reader&) = delete;
        ~reader() { out_ = text_; }

    private:
        const std::string& text_;
        std::string& out_;
    };
    const auto child = [](const std::string& text, std::string& out) -> coro::task<> {
        const reader at_the_end(text, out);
        co_await coro::sleep_for(1h);
    };
    simulate([](auto callable) -> coro::task<> {
        std::string out;
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn(callable, std::string(words), std::ref(out));
            co_await coro::yield();
            group.cancel();
        };
        co_await coro::with_task_group(body);
        EXPECT_EQ(out, words);
    }(child));
}

coro::task<> later(const long& number, const std::string& text, std::string& out) {
    co_await coro::sleep_for(1ms);
    out = std::to_string(number) + text;
}

TEST_F(spawn_arguments_test, what_is_made_of_an_argument_lives_as_long) {
    const auto half_known = [](auto number, const std::string& text,
                               std::string& out) -> coro::task<> {
        co_await coro::sleep_for(1ms);
        out = std::to_string(number) + text;
    };
    expect_read(2, std::string("7") + words, [&](readers& to) {
        to.group.spawn(later, 7, words, to.out());
        to.group.spawn(half_known, 7, words, to.out());
    });
}

struct alignas(64) aligned {
    int value = 7;
};

TEST_F(spawn_arguments_test, arguments_keep_their_alignment) {
    simulate([]() -> coro::task<> {
        co_await coro::with_task_group([](coro::task_group& group) -> coro::task<> {
            group.spawn([](const aligned& argument) -> coro::task<> {
                co_await coro::yield();
                EXPECT_EQ(reinterpret_cast<std::uintptr_t>(&argument) % 64, 0u);
                EXPECT_EQ(argument.value, 7);
            }, aligned());
            co_return;
        });
    }());
}

TEST_F(spawn_arguments_test, what_the_call_itself_throws_leaves_spawn) {
    simulate([]() -> coro::task<> {
        auto body = [](coro::task_group& group) -> coro::task<> {
            const auto refuse = [](const std::string& text) -> coro::task<> {
                throw std::runtime_error(text);
            };
            EXPECT_THROW(group.spawn(refuse, std::string(words)), std::runtime_error);
            EXPECT_EQ(group.size(), 0u);
            co_return;
        };
        co_await coro::with_task_group(body);
    }());
}

// --- what it costs

coro::task<> by_value(std::string, int) { co_return; }
coro::task<> with_a_view(std::string_view) { co_return; }

TEST_F(spawn_arguments_test, a_child_whose_parameters_are_known_has_no_frame_beside_its_own) {
    simulate([]() -> coro::task<> {
        std::string out;
        co_await coro::with_task_group([&out](coro::task_group& group) -> coro::task<> {
            const auto before = coro::current_loop_stats().frames;
            group.spawn(by_value, std::string(words), 1);
            EXPECT_EQ(coro::current_loop_stats().frames, before + 1);
            group.spawn(with_a_view, std::string(words));
            EXPECT_EQ(coro::current_loop_stats().frames, before + 2);
            group.spawn(&session<std::string>::run, session<std::string>(), std::string(words),
                        std::ref(out));
            EXPECT_EQ(coro::current_loop_stats().frames, before + 3);
            co_return;
        });
    }());
}

template <typename Function, typename... Kept>
constexpr bool at_once = coro::detail::spawned_call<Function, Kept...>::at_once;

TEST_F(spawn_arguments_test, parameters_that_own_what_they_get_need_nothing_kept) {
    using value = decltype(&by_value);
    using view = decltype(&with_a_view);
    using text = std::string;
    using named = std::reference_wrapper<std::string>;
    EXPECT_TRUE((at_once<value, text, int>));
    EXPECT_TRUE((at_once<value, text, char>));
    EXPECT_FALSE((at_once<value, const char*, int>));
    EXPECT_FALSE((at_once<view, text>));
    EXPECT_TRUE((at_once<view, std::string_view>));
    EXPECT_TRUE((at_once<coro::task<> (*)(const text&), named>));
    EXPECT_FALSE((at_once<coro::task<> (*)(const text&), text>));
    EXPECT_FALSE((at_once<coro::task<> (*)(const text&) noexcept, text>));
    EXPECT_FALSE((at_once<coro::task<> (*)(text&&), text>));
    EXPECT_FALSE((at_once<coro::task<> (*)(const long&), int>));
    EXPECT_TRUE((at_once<std::decay_t<decltype(lambda<text>)>, text, named>));
    EXPECT_FALSE((at_once<std::decay_t<decltype(lambda<std::string_view>)>, text, named>));
    EXPECT_TRUE((at_once<std::decay_t<decltype(noexcept_mutable_lambda<text>)>, text, named>));
    EXPECT_TRUE((at_once<functor<text>, text, named>));
    EXPECT_FALSE((at_once<functor_with_state<text>, text, named>));
    EXPECT_FALSE((at_once<overloaded<text>, text, named>));
    EXPECT_FALSE((at_once<template_functor, text, named>));
    EXPECT_FALSE((at_once<decltype(&session<text>::run), session<text>*, text, named>));
}

// --- fibers

template <typename P>
void fiber_function(P parameter, std::string& out) {
    coro::await(coro::sleep_for(1ms));
    out = to_text(parameter);
}
template <typename P>
void noexcept_fiber_function(P parameter, std::string& out) noexcept {
    coro::await(coro::sleep_for(1ms));
    out = to_text(parameter);
}
template <typename P>
class fiber_functor {
public:
    fiber_functor() : own_(words) {}
    void operator()(P parameter, std::string& out) {
        coro::await(coro::sleep_for(1ms));
        expect_alive(own_);
        out = to_text(parameter);
    }
    void operator()() const {}
    void member(P parameter, std::string& out) const {
        coro::await(coro::sleep_for(1ms));
        expect_alive(own_);
        out = to_text(parameter);
    }

private:
    std::string own_;
};

template <typename P, typename Argument>
void expect_read_by_every_fiber(const Argument& argument, const std::string& expected) {
    const auto lambda_of_one_type = [](P parameter, std::string& out) {
        coro::await(coro::sleep_for(1ms));
        out = to_text(parameter);
    };
    using functor = fiber_functor<P>;
    expect_read(6, expected, [&](readers& to) {
        coro::task_group& group = to.group;
        group.spawn_fiber(fiber_function<P>, Argument(argument), to.out());
        group.spawn_fiber(noexcept_fiber_function<P>, Argument(argument), to.out());
        group.spawn_fiber(functor(), Argument(argument), to.out());
        group.spawn_fiber(&functor::member, functor(), Argument(argument), to.out());
        group.spawn_fiber(&functor::member, std::make_shared<functor>(), Argument(argument),
                          to.out());
        group.spawn_fiber(lambda_of_one_type, Argument(argument), to.out());
    });
}

template <typename Argument>
void expect_read_by_every_fiber_template(const Argument& argument, const std::string& expected) {
    const auto by_reference = [](const auto& parameter, std::string& out) {
        coro::await(coro::sleep_for(1ms));
        out = to_text(parameter);
    };
    const auto by_forwarding = [](auto&& parameter, std::string& out) {
        coro::await(coro::sleep_for(1ms));
        out = to_text(parameter);
    };
    expect_read(2, expected, [&](readers& to) {
        to.group.spawn_fiber(by_reference, Argument(argument), to.out());
        to.group.spawn_fiber(by_forwarding, Argument(argument), to.out());
    });
}

TEST_F(spawn_arguments_test, fibers_read_what_they_were_given) {
    expect_read_by_every_fiber<std::string>(std::string(words), words);
    expect_read_by_every_fiber<std::string_view>(std::string(words), words);
    expect_read_by_every_fiber<const std::string&>(std::string(words), words);
    expect_read_by_every_fiber<const std::string&>(words, words);
    expect_read_by_every_fiber<std::string&&>(std::string(words), words);
    expect_read_by_every_fiber<std::span<const int>>(std::vector<int>{1, 2, 3}, "1;2;3;");
    std::string outlives = words;
    expect_read_by_every_fiber<std::string&>(std::ref(outlives), words);
    expect_read_by_every_fiber_template(std::string(words), words);
    expect_read_by_every_fiber_template(std::vector<int>{1, 2, 3}, "1;2;3;");
}

}  // namespace
}  // namespace coro_test
