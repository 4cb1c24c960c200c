// Tasks in tables: whoever hands on a task need not have made it.
#include <functional>
#include <map>
#include <stdexcept>
#include <string>
#include <utility>

#include <coro/core/task.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

class task_table_test : public core_test {};

using route = std::function<coro::task<std::string>(std::string)>;

coro::task<std::string> greet(std::string name) {
    co_await coro::yield();
    co_return "hello " + name;
}
coro::task<std::string> hand_on(std::string name) { return greet(std::move(name)); }

struct counter {
    coro::task<std::string> count(std::string name) {
        co_await coro::sleep_for(1ms);
        ++calls;
        co_return name + " " + std::to_string(calls);
    }
    int calls = 0;
};

class handler {
public:
    virtual ~handler() = default;
    virtual coro::task<std::string> handle(std::string name) = 0;
};
class shouter final : public handler {
public:
    coro::task<std::string> handle(std::string name) override { return hand_on(name + "!"); }
};

coro::task<std::string> fail(std::string name) {
    co_await coro::yield();
    throw std::runtime_error("no " + name);
}

coro::task<std::string> dispatch(const std::map<std::string, route>& routes, std::string path) {
    const auto found = routes.find(path);
    if (found == routes.end()) co_return "404";
    std::string answer;
    try {
        answer = co_await found->second("bob");
    } catch (const std::runtime_error& error) {
        answer = error.what();
    }
    co_return answer;
}

TEST_F(task_table_test, a_router_calls_what_it_was_given) {
    counter visits;
    shouter loud;
    std::map<std::string, route> routes;
    routes.emplace("/coroutine", greet);
    routes.emplace("/function", hand_on);
    routes.emplace("/bound", std::bind_front(&counter::count, &visits));
    routes.emplace("/lambda", [&visits](std::string name) { return visits.count(name + "?"); });
    routes.emplace("/body", [&visits](std::string name) -> coro::task<std::string> {
        co_return name + " was here after " + std::to_string(visits.calls);
    });
    routes.emplace("/virtual", std::bind_front(&handler::handle, std::ref<handler>(loud)));
    routes.emplace("/fail", fail);
    EXPECT_EQ(simulate(dispatch(routes, "/coroutine")), "hello bob");
    EXPECT_EQ(simulate(dispatch(routes, "/function")), "hello bob");
    EXPECT_EQ(simulate(dispatch(routes, "/bound")), "bob 1");
    EXPECT_EQ(simulate(dispatch(routes, "/lambda")), "bob? 2");
    EXPECT_EQ(simulate(dispatch(routes, "/body")), "bob was here after 2");
    EXPECT_EQ(simulate(dispatch(routes, "/virtual")), "hello bob!");
    EXPECT_EQ(simulate(dispatch(routes, "/fail")), "no bob");
    EXPECT_EQ(simulate(dispatch(routes, "/nobody")), "404");
}

}  // namespace
}  // namespace coro_test
