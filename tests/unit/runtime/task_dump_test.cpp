// The task dump: one line a task, in one format, with the same names from every compiler.
#include <coro/runtime/run.hpp>

#include <string>
#include <vector>

#include <coro/core/when_all.hpp>
#include <coro/core/when_any.hpp>
#include <coro/core/with_cancel_scope.hpp>
#include <coro/runtime/await.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/this_task.hpp>
#include <coro/runtime/with_cleanup.hpp>

#include "unit/core/core_fixture.hpp"

namespace shop {
namespace {

using namespace std::chrono_literals;

coro::task<> serve(int, std::vector<int>) { co_await coro::sleep_for(1h); }
template <typename T>
coro::task<T> generic(T value, void (*)(int)) {
    co_await coro::sleep_for(1h);
    co_return value;
}
struct till {
    coro::task<> open(int) const { co_await coro::sleep_for(1h); }
    coro::task<> operator()(int) const { co_await coro::sleep_for(1h); }
    coro::task<> operator<(int) const { co_await (*this)(1); }
};

}  // namespace
}  // namespace shop

namespace coro_test {
namespace {

class task_dump_test : public core_test {};

std::vector<std::string> lines_of(const std::string& text) {
    std::vector<std::string> lines;
    std::size_t from = 0;
    for (std::size_t end; (end = text.find('\n', from)) != std::string::npos; from = end + 1)
        lines.push_back(text.substr(from, end - from));
    EXPECT_EQ(from, text.size()) << "the last line has no end";
    return lines;
}

/// Replaces `file.cpp:12` by `file.cpp:N`: lines move, the format does not.
std::string without_lines(std::string text) {
    for (std::size_t at = 0; (at = text.find("pp:", at)) != std::string::npos;) {
        at += 3;
        std::size_t end = at;
        while (end < text.size() && text[end] >= '0' && text[end] <= '9') ++end;
        text.replace(at, end - at, "N");
    }
    return text;
}

/// The dump while the children that `fill` spawns wait, without the line of the task that asks.
template <typename Fill>
std::vector<std::string> dump_children(Fill fill) {
    std::string text;
    simulate([](std::string& out, Fill& spawn_all) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            spawn_all(group);
            co_await coro::sleep_for(12ms);
            out = coro::dump_tasks();
            group.cancel();
        };
        co_await coro::with_task_group(body);
    }(text, fill));
    std::vector<std::string> lines = lines_of(without_lines(text));
    if (!lines.empty()) lines.erase(lines.begin());
    return lines;
}

TEST_F(task_dump_test, has_exactly_this_format) {
    std::string text;
    int line = 0;
    simulate([](std::string& out, int& sleeps_at) -> coro::task<> {
        auto body = [&](coro::task_group& group) -> coro::task<> {
            group.spawn({.name = "clerk"}, [](int& mark) -> coro::task<> {
                mark = __LINE__ + 1;
                co_await coro::with_timeout(18s + 12ms, shop::serve(1, {}));
            }, std::ref(sleeps_at));
            co_await coro::sleep_for(12ms);
            out = coro::dump_tasks();
            group.cancel();
        };
        co_await coro::with_task_group(body);
    }(text, line));
    const std::vector<std::string> lines = lines_of(text);
    ASSERT_EQ(lines.size(), 2u) << text;
    EXPECT_EQ(without_lines(lines[0]),
              "#1 main task_dump_test.cpp:N running ← with_task_group"
              " ← coro_test::{anonymous}::task_dump_test_has_exactly_this_format_Test::TestBody::"
              "<lambda> task_dump_test.cpp:N");
    EXPECT_EQ(without_lines(lines[1]),
              "#2 clerk task_dump_test.cpp:N sleep since 12 ms, deadline 18 s"
              " ← coro_test::{anonymous}::task_dump_test_has_exactly_this_format_Test::TestBody::"
              "<lambda>::<lambda>::<lambda> task_dump_test.cpp:N"
              " ← with_task_group"
              " ← coro_test::{anonymous}::task_dump_test_has_exactly_this_format_Test::TestBody::"
              "<lambda> task_dump_test.cpp:N");
    EXPECT_NE(lines[1].find("task_dump_test.cpp:" + std::to_string(line) + " ← with_task_group"),
              std::string::npos)
        << lines[1];
}

struct names {
    static coro::task<> plain() { co_await shop::serve(1, {}); }
    static coro::task<> templated() { (void)co_await shop::generic(1, nullptr); }
    static coro::task<> member() { co_await shop::till().open(1); }
    static coro::task<> call_operator() { co_await shop::till()(1); }
    static coro::task<> comparison() { co_await (shop::till() < 1); }
    static coro::task<> waits_below(coro::task<> below) { co_await std::move(below); }
    template <typename T>
    static coro::task<> templates(std::vector<T>, bool (*)(T)) {
        co_await waits_below(shop::serve(1, {}));
    }
};

TEST_F(task_dump_test, function_names_are_the_same_from_every_compiler) {
    const auto lines = dump_children([](coro::task_group& group) {
        group.spawn(names::plain);
        group.spawn(names::templated);
        group.spawn(names::member);
        group.spawn(names::call_operator);
        group.spawn(names::comparison);
        group.spawn(names::templates<std::pair<int, char>>({}, nullptr));
    });
    ASSERT_EQ(lines.size(), 6u);
    const char* caller[] = {"::names::plain ", "::names::templated ", "::names::member ",
                            "::names::call_operator ", "::till::operator< ",
                            "::names::waits_below "};
    for (std::size_t i = 0; i < 6; ++i) {
        const std::size_t arrow = lines[i].find(" ← ");
        ASSERT_NE(arrow, std::string::npos) << lines[i];
        const std::string named =
            lines[i].substr(arrow, lines[i].find(" task_dump", arrow) - arrow + 1);
        EXPECT_TRUE(named.ends_with(caller[i])) << lines[i];
        EXPECT_EQ(named.find('('), std::string::npos) << named;
        EXPECT_EQ(named.find("task<"), std::string::npos) << named;
    }
    EXPECT_NE(lines[5].find("::names::templates task_dump_test.cpp:N"), std::string::npos)
        << lines[5];
}

TEST_F(task_dump_test, frames_of_the_library_appear_by_their_public_names_or_not_at_all) {
    const auto lines = dump_children([](coro::task_group& group) {
        group.spawn([]() -> coro::task<> {
            co_await coro::with_cleanup(shop::serve(1, {}), sleep_task(0ms));
        });
        group.spawn([]() -> coro::task<> {
            (void)co_await coro::with_cancel_scope(
                [](coro::cancel_scope&) -> coro::task<> { co_await shop::serve(1, {}); });
        });
        group.spawn([]() -> coro::task<> {  // waits for the children of a group of its own
            co_await coro::with_task_group([](coro::task_group& inner) -> coro::task<> {
                inner.spawn(shop::serve, 1, std::vector<int>());
                co_return;
            });
        });
    });
    ASSERT_EQ(lines.size(), 4u);
    for (const std::string& line : lines) {
        EXPECT_EQ(line.find("_coroutine"), std::string::npos) << line;
        EXPECT_EQ(line.find("coro::"), std::string::npos) << line;
        EXPECT_EQ(line.find("with_cleanup.hpp"), std::string::npos) << line;
        EXPECT_EQ(line.find("task_group.hpp"), std::string::npos) << line;
    }
    EXPECT_NE(lines[0].find(" sleep since 12 ms ← with_cleanup ← "), std::string::npos) << lines[0];
    EXPECT_NE(lines[2].find(" join of 1 children since 12 ms ← with_task_group"),
              std::string::npos)
        << lines[2];
    EXPECT_NE(lines[1].find("<lambda> task_dump_test.cpp:N ← with_cancel_scope ← "),
              std::string::npos)
        << lines[1];
}

TEST_F(task_dump_test, branches_name_what_they_wait_on_and_who_awaits_them) {
    const auto lines = dump_children([](coro::task_group& group) {
        group.spawn([]() -> coro::task<> {
            mailbox box;
            (void)co_await coro::when_any(box.take(), shop::generic(1, nullptr),
                                          coro::when_all(coro::sleep_for(1h)));
        });
    });
    ASSERT_EQ(lines.size(), 5u);
    EXPECT_NE(lines[0].find("#2 task_dump_test.cpp:N when_any of 3, 3 left since 12 ms "
                            "← with_task"),
              std::string::npos)
        << lines[0];
    EXPECT_NE(lines[1].find("#3 task_dump_test.cpp:N take since 12 ms ← with_task_group"),
              std::string::npos)
        << lines[1];
    EXPECT_NE(lines[2].find("#4 task_dump_test.cpp:N sleep since 12 ms ← "), std::string::npos);
    EXPECT_NE(lines[3].find("#5 task_dump_test.cpp:N when_all of 1, 1 left"), std::string::npos);
    EXPECT_NE(lines[4].find("#6 task_dump_test.cpp:N sleep since 12 ms ← with_task_group"),
              std::string::npos)
        << lines[4];
}

TEST_F(task_dump_test, says_ready_and_cancelled) {
    std::string text;
    simulate([](std::string& out) -> coro::task<> {
        auto body = [&out](coro::task_group& group) -> coro::task<> {
            group.spawn({.name = "new"}, sleep_task(1ms));
            group.cancel();
            out = coro::dump_tasks();
            co_return;
        };
        co_await coro::with_task_group(body);
    }(text));
    const std::vector<std::string> lines = lines_of(text);
    ASSERT_EQ(lines.size(), 2u) << text;
    EXPECT_NE(lines[1].find("#2 new core_fixture.hpp:"), std::string::npos) << lines[1];
    EXPECT_NE(lines[1].find(" ready, cancelled ← with_task_group"), std::string::npos) << lines[1];
}

TEST_F(task_dump_test, spans_are_in_the_unit_that_can_be_read) {
    const auto lines = dump_children([](coro::task_group& group) {
        for (const auto limit :
             {coro::duration(500us) + 12ms, coro::duration(9s), coro::duration(1h)})
            group.spawn([](coro::duration span) -> coro::task<> {
                (void)co_await coro::move_on_after(span, coro::sleep_for(2h));
            }, limit);
    });
    ASSERT_EQ(lines.size(), 3u);
    EXPECT_NE(lines[0].find("deadline 500 us"), std::string::npos) << lines[0];
    EXPECT_NE(lines[1].find("deadline 8988 ms"), std::string::npos) << lines[1];
    EXPECT_NE(lines[2].find("deadline 3599 s"), std::string::npos) << lines[2];
}

/// Three frames deep: `lend` notes its number, and waits in what it awaits.
struct desk {
    std::uint32_t number = 0;
    int line = 0;
    coro::task<> lend() {
        number = coro::current_task_number();
        co_await wait();
    }
    coro::task<> wait() {
        line = __LINE__ + 1;
        co_await coro::sleep_for(20ms);
    }
    coro::task<> open() { co_await lend(); }
};

TEST_F(task_dump_test, a_number_leads_to_the_line_of_the_dump_while_its_task_lives) {
    std::string line;
    std::string all;
    std::string after = "?";
    std::string nobody = "?";
    desk office;
    simulate([&]() -> coro::task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
            group.spawn(sleep_task(1h));
            group.spawn(&desk::open, &office);
            co_await coro::sleep_for(12ms);
            line = coro::dump_task(office.number);
            all = coro::dump_tasks();
            nobody = coro::dump_task(1000) + coro::dump_task(0);
            co_await coro::sleep_for(12ms);
            after = coro::dump_task(office.number);
            group.cancel();
        });
    }());
    EXPECT_EQ(office.number, 3u);
    EXPECT_EQ(line.find("#3 task_dump_test.cpp:" + std::to_string(office.line) +
                        " sleep since 12 ms ← coro_test::{anonymous}::desk::lend "),
              0u)
        << line;
    EXPECT_NE(line.find("::desk::open task_dump_test.cpp:"), std::string::npos) << line;
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    EXPECT_NE(all.find("\n" + line + "\n"), std::string::npos) << all;
    EXPECT_EQ(after, "");
    EXPECT_EQ(nobody, "");
}

TEST_F(task_dump_test, the_task_that_asks_finds_its_own_line) {
    std::string line;
    simulate([](std::string& out) -> coro::task<> {
        out = coro::dump_task(coro::current_task_number());
        co_return;
    }(line));
    EXPECT_EQ(without_lines(line).find("#1 main task_dump_test.cpp:N running"), 0u) << line;
}

TEST_F(task_dump_test, branches_have_numbers_of_their_own) {
    std::uint32_t whole = 0;
    std::uint32_t first = 0;
    std::uint32_t second = 0;
    std::string line;
    std::string ended = "?";
    simulate([&]() -> coro::task<> {
        whole = coro::current_task_number();
        auto note = [](std::uint32_t& number, coro::duration span) -> coro::task<> {
            number = coro::current_task_number();
            co_await coro::sleep_for(span);
        };
        auto look = [&]() -> coro::task<> {
            co_await coro::sleep_for(12ms);
            line = coro::dump_task(second);
            ended = coro::dump_task(first);
        };
        (void)co_await coro::when_any(coro::when_all(note(first, 1ms), note(second, 1h)), look());
    }());
    EXPECT_EQ(whole, 1u);
    EXPECT_NE(first, whole);
    EXPECT_NE(second, whole);
    EXPECT_NE(first, second);
    EXPECT_EQ(without_lines(line).find("#" + std::to_string(second) +
                                       " main task_dump_test.cpp:N sleep since 12 ms"),
              0u)
        << line;
    EXPECT_EQ(ended, "");
}

TEST_F(task_dump_test, a_fiber_has_a_number_too) {
    std::uint32_t number = 0;
    std::string line;
    std::string after = "?";
    simulate([&]() -> coro::task<> {
        co_await coro::with_task_group([&](coro::task_group& group) -> coro::task<> {
            group.spawn_fiber(
                [](std::uint32_t& mine) {
                    mine = coro::current_task_number();
                    coro::await(coro::sleep_for(20ms));
                },
                std::ref(number));
            co_await coro::sleep_for(12ms);
            line = coro::dump_task(number);
            co_await coro::sleep_for(12ms);
            after = coro::dump_task(number);
        });
    }());
    EXPECT_EQ(number, 2u);
    EXPECT_EQ(without_lines(line).find("#2 task_dump_test.cpp:N sleep since 12 ms"), 0u) << line;
    EXPECT_EQ(after, "");
}

}  // namespace
}  // namespace coro_test
