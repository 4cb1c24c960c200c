// Each sentence of misuse names the line of the program and the task. The tables here and in
// misuse_place_io_test.cpp hold all sentences that a program can meet;
// tests/tools/misuse_table_test.py looks that none is missing.
#include "misuse_table.hpp"

namespace misuse_tests {
namespace {

const misuse of_tasks[] = {
    {"moved_from_task", "a task that was moved from was awaited", says::the_await,
     [] {
         in_task([]() -> task<> {
             task<int> work = one();
             const task<int> taken = std::move(work);
             static_cast<void>(co_await std::move(work));
         });
     }},
    {"moved_from_task_in_a_fiber", "a task that was moved from was awaited", says::or_later,
     [] {
         in_fiber([] {
             task<int> work = one();
             const task<int> taken = std::move(work);
             static_cast<void>(coro::await(std::move(work)));
         });
     }},
    {"started_task", "a task was awaited that had been started before: it runs once",
     says::the_await,
     [] {
         in_task([]() -> task<> {
             task<int> work = one();
             static_cast<void>(co_await std::move(work));
             static_cast<void>(co_await std::move(work));
         });
     }},
    {"task_that_runs", "a task was destroyed while it runs; cancel its scope and await its end",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             std::optional<task<>> work;
             const auto destroy = [](std::optional<task<>>& from) -> task<> {
                 co_await coro::yield();
                 from.reset();
             };
             work.emplace(destroy(work));
             co_await std::move(*work);
         });
     }},
    {"run_of_a_moved_from_task", "run of a task that was moved from", says::no_task,
     [] {
         task<int> work = one();
         const task<int> taken = std::move(work);
         coro::run(std::move(work));
     }},
    {"run_of_a_started_task", "run of a task that had been started before: it runs once",
     says::no_task,
     [] {
         task<int> work = one();
         const auto start = [](task<int>& inner) -> task<> {
             static_cast<void>(co_await std::move(inner));
         };
         coro::run(start(work));
         coro::run(std::move(work));
     }},
    {"run_in_run", "run() inside of run() on one thread: co_await the task instead",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             coro::run(one());
             co_return;
         });
     }},
    {"sync_wait_in_a_loop", "sync_wait would block this loop: co_await the task instead",
     says::no_await,
     [] { in_fiber([] { coro::sync_wait(coro::loop_handle::of_this_loop(), one()); }); }},
    {"sync_wait_of_a_moved_from_task", "sync_wait for a task that was moved from", says::no_task,
     [] {
         in_task([]() -> task<> {
             const coro::loop_handle loop = coro::loop_handle::of_this_loop();
             std::thread other([&] {
                 task<int> work = one();
                 const task<int> taken = std::move(work);
                 coro::sync_wait(loop, std::move(work));
             });
             other.join();
             co_return;
         });
     }},
    {"sync_wait_of_a_started_task",
     "sync_wait for a task that had been started before: it runs once", says::no_task,
     [] {
         in_task([]() -> task<> {
             const coro::loop_handle loop = coro::loop_handle::of_this_loop();
             task<int> work = one();
             static_cast<void>(co_await std::move(work));
             std::thread other([&] { coro::sync_wait(loop, std::move(work)); });
             other.join();
         });
     }},
    {"await_in_a_task", "coro::await outside of a fiber: in a coroutine say co_await; start a "
                        "fiber with task_group::spawn_fiber or coro::fiber",
     says::the_line,
     [] {
         in_task([]() -> task<> {
             coro::await(coro::yield());
             co_return;
         });
     }},
    {"await_in_a_static", "coro::await in the initialiser of a local static: the next task that "
                          "comes there stops this loop for ever; wait first, and initialise then",
     says::the_line,
     [] {
         in_fiber([] {
             coro::await(coro::yield());
             coro::detail::static_begins();  // as coro::checked_statics does
             coro::await(coro::yield());
         });
     }},
    {"when_any_of_nothing", "when_any of an empty list would never end", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::vector<task<int>> none;
             static_cast<void>(co_await coro::when_any(std::move(none)));
         });
     }},
    {"when_any_beyond_its_end", "when_any has no branch of this index", says::or_later,
     [] {
         in_task([]() -> task<> {
             std::vector<task<int>> some;
             some.push_back(one());
             auto first = co_await coro::when_any(std::move(some));
             static_cast<void>(first.get(1));
         });
     }},
    {"value_of_an_error", "the value of a result that holds an error was read", says::or_later,
     [] {
         in_task([]() -> task<> {
             const coro::result<int> none = coro::io_error(coro::errc::busy, "read");
             static_cast<void>(*none);
             co_return;
         });
     }},
    {"error_of_a_value", "the error of a result that holds a value was read", says::no_task,
     [] {
         const coro::result<int> one_value = 1;
         static_cast<void>(one_value.error());
     }},
    {"outside_of_a_loop", "this needs a running loop: call it inside of coro::run", says::no_task,
     [] { static_cast<void>(coro::now()); }},
    {"outside_of_a_task", "this belongs into a task: call it inside of coro::run", says::no_task,
     [] { static_cast<void>(coro::stop_requested()); }},
    {"in_a_post", "this belongs into a task: call it inside of coro::run", says::no_task,
     [] {
         in_task([]() -> task<> {
             const coro::loop_handle loop = coro::loop_handle::of_this_loop();
             loop.post([] { static_cast<void>(coro::stop_requested()); });
             co_await coro::sleep_for(1h);
         });
     }},
};

constexpr const char* of_another_loop =
    "a task_group or cancel_scope was used outside of its loop: post to its loop instead "
    "(loop_handle::post)";

/// Has `touch` touch a group, or a scope, of loop 0 on loop 1.
void group_elsewhere(void (*touch)(coro::task_group& group)) {
    const auto main = [](void (*use)(coro::task_group& group)) -> task<> {
        const auto body = [use](coro::task_group& group) -> task<> {
            const auto child = [](coro::task_group& of, void (*how)(coro::task_group&)) -> task<> {
                how(of);
                co_return;
            };
            group.spawn({.name = "culprit", .loop = 1}, child, std::ref(group), use);
            co_return;
        };
        co_await coro::with_task_group(body);
    };
    coro::run(main(touch), {.loops = 2});
}
void scope_elsewhere(void (*touch)(coro::cancel_scope& scope)) {
    const auto main = [](void (*use)(coro::cancel_scope& scope)) -> task<> {
        const auto body = [use](coro::cancel_scope& scope) -> task<> {
            const auto in_group = [&](coro::task_group& group) -> task<> {
                const auto child = [](coro::cancel_scope& of,
                                      void (*how)(coro::cancel_scope&)) -> task<> {
                    how(of);
                    co_return;
                };
                group.spawn({.name = "culprit", .loop = 1}, child, std::ref(scope), use);
                co_return;
            };
            co_await coro::with_task_group(in_group);
        };
        co_await coro::with_cancel_scope(body);
    };
    coro::run(main(touch), {.loops = 2});
}

const misuse of_groups[] = {
    {"spawn_of_a_moved_from_task", "spawn of a task that was moved from", says::or_later,
     [] {
         in_task([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 task<> work = nothing();
                 group.spawn(std::move(work));
                 group.spawn(std::move(work));
                 co_return;
             };
             co_await coro::with_task_group(children);
         });
     }},
    {"spawn_of_a_started_task", "spawn of a task that had been started before: it runs once",
     says::or_later,
     [] {
         in_task([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 task<> work = nothing();
                 co_await std::move(work);
                 group.spawn(std::move(work));
             };
             co_await coro::with_task_group(children);
         });
     }},
    {"spawn_of_a_capturing_body",
     "spawn of the body of a lambda with captures, which die before it: pass the captured values "
     "as arguments of spawn", says::the_line,
     [] {
         in_task([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 int value = 1;
                 const auto capturing = [value]() -> task<> {
                     static_cast<void>(value);
                     co_return;
                 };
                 group.spawn(capturing());
                 co_return;
             };
             co_await coro::with_task_group(children);
         });
     }},
    {"spawn_after_the_end",
     "spawn into a task group that has ended: its children must be spawned before "
     "with_task_group returns", says::or_later,
     [] {
         in_fiber([] {
             coro::local_task_group group;
             coro::task_group* const ended = &group;
             group.spawn(nothing());
             group.join();
             ended->spawn(nothing());
         });
     }},
    {"spawn_from_another_loop",
     "spawn into a task group of another loop: only tasks of its own loop may spawn",
     says::or_later,
     [] {
         in_another_loop<coro::task_group>(
             [](task<> (*touch)(coro::task_group&)) -> task<> {
                 const auto children = [&](coro::task_group& group) -> task<> {
                     group.spawn({.name = "culprit", .loop = 1}, touch, std::ref(group));
                     co_return;
                 };
                 co_await coro::with_task_group(children);
             },
             [](coro::task_group& group) -> task<> {
                 group.spawn(nothing());
                 co_return;
             });
     }},
    {"cancel_of_a_group_of_another_loop", of_another_loop, says::or_later,
     [] { group_elsewhere([](coro::task_group& group) { group.cancel(); }); }},
    {"request_stop_of_a_group_of_another_loop", of_another_loop, says::or_later,
     [] { group_elsewhere([](coro::task_group& group) { group.request_stop(); }); }},
    {"is_cancelled_of_a_group_of_another_loop", of_another_loop, says::or_later,
     [] { group_elsewhere([](coro::task_group& group) { (void)group.is_cancelled(); }); }},
    {"size_of_a_group_of_another_loop", of_another_loop, says::or_later,
     [] { group_elsewhere([](coro::task_group& group) { (void)group.size(); }); }},
    {"cancel_of_a_scope_of_another_loop", of_another_loop, says::or_later,
     [] { scope_elsewhere([](coro::cancel_scope& scope) { scope.cancel(); }); }},
    {"stop_of_a_scope_of_another_loop", of_another_loop, says::or_later,
     [] { scope_elsewhere([](coro::cancel_scope& scope) { (void)scope.stop_requested(); }); }},
    {"deadline_of_a_scope_of_another_loop", of_another_loop, says::or_later,
     [] { scope_elsewhere([](coro::cancel_scope& scope) { (void)scope.deadline(); }); }},
    {"cancel_of_a_group_by_a_thread", of_another_loop, says::no_task,
     [] {
         in_task([]() -> task<> {
             const auto body = [](coro::task_group& group) -> task<> {
                 std::thread([&group] { group.cancel(); }).join();
                 co_return;
             };
             co_await coro::with_task_group(body);
         });
     }},
    {"spawn_onto_no_loop",
     "spawn onto a loop that this run does not have: spawn_options.loop must be below "
     "loop_count()", says::or_later,
     [] {
         in_task([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 group.spawn({.loop = 7}, nothing);
                 co_return;
             };
             co_await coro::with_task_group(children);
         });
     }},
    {"join_by_a_child",
     "join of a task group outside of its body: a child would wait for itself", says::the_await,
     [] {
         coro::run([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 const auto child = [](coro::task_group& of) -> task<> { co_await of.join(); };
                 group.spawn({.name = "culprit"}, child, std::ref(group));
                 co_return;
             };
             co_await coro::with_task_group(children);
         }());
     }},
    {"two_joins", "two joins of a task group at once", says::the_await,
     [] {
         in_task([]() -> task<> {
             const auto children = [](coro::task_group& group) -> task<> {
                 group.spawn([]() -> task<> { co_await coro::sleep_for(20s); });
                 co_await coro::when_all(group.join(), group.join());
             };
             co_await coro::with_task_group(children);
         });
     }},
    {"join_after_the_end", "join of a task group that has ended", says::the_await,
     [] {
         in_fiber([] {
             coro::local_task_group group;
             group.join();
             coro::await(static_cast<coro::task_group&>(group).join());
         });
     }},
    {"local_group_in_a_static",
     "a local_task_group in the initialiser of a local static: its fiber would wait there; wait "
     "first, and initialise then",
     says::or_later,
     [] {
         in_fiber([] {
             coro::await(coro::yield());
             coro::detail::static_begins();
             const coro::local_task_group group;
         });
     }},
    {"local_group_in_a_task",
     "a local_task_group outside of a fiber: in a coroutine use with_task_group", says::or_later,
     [] {
         in_task([]() -> task<> {
             const coro::local_task_group group;
             co_return;
         });
     }},
    {"local_group_joined_twice", "a local_task_group was joined twice", says::or_later,
     [] {
         in_fiber([] {
             coro::local_task_group group;
             group.spawn(nothing());
             group.join();
             group.join();
         });
     }},
    {"local_group_of_another_fiber",
     "a local_task_group was joined or destroyed outside of the fiber that made it",
     says::no_await,
     [] {
         coro::run(coro::fiber([] {
             coro::local_task_group group;
             coro::local_task_group other;
             other.spawn_fiber({.name = "culprit"}, [&group] { group.join(); });
             other.join();
         }));
     }},
};

// --- the tests

INSTANTIATE_TEST_SUITE_P(tasks, misuse_place_death_test, testing::ValuesIn(of_tasks), name_of);
INSTANTIATE_TEST_SUITE_P(groups, misuse_place_death_test, testing::ValuesIn(of_groups), name_of);

std::string escaped(std::string_view text) {
    std::string pattern;
    for (const char c : text) {
        if (std::string_view("().[]*+?^$|{}\\").find(c) != std::string_view::npos) pattern += '\\';
        pattern += c;
    }
    return pattern;
}

TEST_P(misuse_place_death_test, names_the_line_and_the_task) {
    const std::string site = "misuse_[a-z_]+\\.[ch]pp:[0-9]+";
    const std::string in = "in misuse_tests::.*\\)";
    const std::string culprit = " \\(task \"culprit\", #[0-9]+(, loop 1)?, ";
    std::string place;
    switch (GetParam().place) {
        case says::the_await: place = site + culprit + in; break;
        case says::or_later: place = site + " or later" + culprit + in; break;
        case says::the_line: place = site + culprit + in; break;
        case says::no_task: place = "\\(outside of any task\\)"; break;
        case says::no_await: place = "before the first await" + culprit + "a fiber\\)"; break;
    }
    EXPECT_DEATH(GetParam().program(), "coro: " + place + ": " + escaped(GetParam().sentence));
}

std::string at_line(unsigned line) {
    return "coro: misuse_place_test\\.cpp:" + std::to_string(line) +
           "( or later)? \\(task \"main\"";
}

constexpr unsigned line_of_refused_await = __LINE__ + 5;
task<> await_what_was_moved_from() {
    co_await coro::yield();
    task<int> work = one();
    const task<int> taken = std::move(work);
    static_cast<void>(co_await std::move(work));
    co_await coro::yield();
}

constexpr unsigned line_of_refused_await_in_a_fiber = __LINE__ + 5;
void await_what_was_moved_from_in_a_fiber() {
    coro::await(coro::yield());
    task<int> work = one();
    const task<int> taken = std::move(work);
    static_cast<void>(coro::await(std::move(work)));
    coro::await(coro::yield());
}

constexpr unsigned line_of_refused_server = __LINE__ + 5;
task<> serve_nobody() {
    co_await coro::yield();
    auto listener = tcp_listener::bind(endpoint::loopback(0));
    const auto handler = [](tcp_stream) -> task<> { co_return; };
    co_await coro::serve(listener, handler, {.limits = {.connections = 0}});
}

/// In a task, in a fiber, and when a coroutine of the library's own finds the mistake.
TEST(misuse_line_death, names_the_await_that_is_refused) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(coro::run(await_what_was_moved_from()), at_line(line_of_refused_await));
    EXPECT_DEATH(coro::run(coro::fiber(await_what_was_moved_from_in_a_fiber)),
                 at_line(line_of_refused_await_in_a_fiber));
    EXPECT_DEATH(coro::run(serve_nobody()), at_line(line_of_refused_server));
}

TEST(misuse_line_death, our_own_line_stands_at_the_end) {
    EXPECT_DEATH(static_cast<void>(coro::now()), " \\[this_strand\\.hpp:[0-9]+\\]\n$");
}

}  // namespace
}  // namespace misuse_tests
