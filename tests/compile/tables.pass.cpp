// Whoever returns a task need not have made it: tables, wrappers and plain functions that hand one
// on compile without a mark and without a warning.
#pragma GCC diagnostic error "-Wpedantic"
#pragma GCC diagnostic error "-Wconversion"
#pragma GCC diagnostic error "-Wshadow"
#include <coro/coro.hpp>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace {

coro::task<std::string> greet(std::string name) { co_return "hello " + name; }
coro::task<std::string> refer(const std::string& name) { co_return "hello " + name; }
coro::task<std::string_view> view(std::string_view name) { co_return name; }
coro::task<> nothing() { co_return; }

// 1: a plain function that hands on what another one made, by value, reference and view.
coro::task<std::string> plain(std::string name) { return greet(std::move(name)); }
coro::task<std::string> plain_reference(const std::string& name) { return refer(name); }
coro::task<std::string_view> plain_view(std::string_view name) { return view(name); }
coro::task<> chosen(bool which) { return which ? nothing() : coro::task<>(nothing()); }

// 2: a virtual function.
struct handler {
    virtual ~handler() = default;
    virtual coro::task<std::string> handle(std::string name) = 0;
};
struct greeter final : handler {
    coro::task<std::string> handle(std::string name) override { return greet(std::move(name)); }
};

// 3: member functions, static and not; an operator; a function object.
struct session {
    coro::task<std::string> run(std::string name) const { return greet(std::move(name)); }
    coro::task<std::string> coroutine(std::string name) const { co_return prefix + name; }
    static coro::task<> close() { return nothing(); }
    coro::task<std::string> operator()(std::string name) const { return run(std::move(name)); }
    std::string prefix = "hello ";
};

// 4: a wrapper that can only be moved, as std::move_only_function is.
template <typename Signature>
class move_only_function;
template <typename Result, typename... Args>
class move_only_function<Result(Args...)> {
public:
    template <typename Function>
        requires(!std::is_same_v<std::remove_cvref_t<Function>, move_only_function>)
    explicit move_only_function(Function function)
        : held_(std::make_unique<holder<Function>>(std::move(function))) {}
    Result operator()(Args... args) { return held_->call(std::forward<Args>(args)...); }

private:
    struct base {
        virtual ~base() = default;
        virtual Result call(Args... args) = 0;
    };
    template <typename Function>
    struct holder final : base {
        explicit holder(Function&& function) : function_(std::move(function)) {}
        Result call(Args... args) override { return function_(std::forward<Args>(args)...); }
        Function function_;
    };
    std::unique_ptr<base> held_;
};

// 5: a template that adds something around what it calls.
template <typename Function, typename... Args>
auto counted(int& calls, Function&& function, Args&&... args) {
    ++calls;
    return std::invoke(std::forward<Function>(function), std::forward<Args>(args)...);
}

// 6: somebody who keeps tasks.
class kept {
public:
    explicit kept(coro::task<std::string> work) : work_(std::move(work)) {}
    coro::task<std::string> release() { return std::move(work_); }

private:
    coro::task<std::string> work_;
};

}  // namespace

coro::task<> main_task() {
    co_await plain("a");
    co_await plain_reference("a");
    co_await plain_view("a");
    co_await chosen(true);
    const auto some = std::make_unique<greeter>();
    handler& base = *some;
    co_await base.handle("a");
    const session one;
    co_await one.run("a");
    co_await one.coroutine("a");
    co_await one("a");
    co_await session::close();

    // 7: std::function around a function, a coroutine, a lambda and a function object.
    const std::function<coro::task<std::string>(std::string)> from_function = plain;
    const std::function<coro::task<std::string>(std::string)> from_coroutine = greet;
    const std::function<coro::task<std::string>(std::string)> from_object = one;
    const std::function<coro::task<std::string>(const session&, std::string)> from_member =
        &session::run;
    const std::function<coro::task<>()> from_nothing = nothing;
    co_await from_function("a");
    co_await from_coroutine("a");
    co_await from_object("a");
    co_await from_member(one, "a");
    co_await from_nothing();

    // 8: std::invoke, std::bind_front, std::mem_fn.
    co_await std::invoke(greet, std::string("a"));
    co_await std::invoke(&session::run, one, std::string("a"));
    const auto bound = std::bind_front(&session::run, &one);
    co_await bound("a");
    const auto bound_name = std::bind_front(greet, std::string("a"));
    co_await bound_name();
    const auto member = std::mem_fn(&session::run);
    co_await member(one, "a");

    // 9: lambdas that hand on, and one that is a coroutine.
    const auto hands_on = [&one](std::string name) { return one.run(std::move(name)); };
    co_await hands_on("a");
    const auto declared = [](const std::string& name) -> coro::task<std::string> {
        return greet(name);
    };
    co_await declared("a");
    const auto itself = [](std::string name) -> coro::task<std::string> { co_return name; };
    co_await itself("a");

    // 10: tables: of functions, of pointers, of members, of variants; of tasks.
    std::map<std::string, std::function<coro::task<std::string>(std::string)>> routes;
    routes.emplace("plain", plain);
    routes.emplace("bound", bound);
    routes["lambda"] = hands_on;
    const auto found = routes.find("plain");
    if (found != routes.end()) co_await found->second("a");
    const std::vector<coro::task<std::string> (*)(std::string)> pointers{plain, greet};
    for (const auto& each : pointers) co_await each("a");
    std::vector<coro::task<std::string>> waiting;
    waiting.push_back(greet("a"));
    waiting.push_back(plain("a"));
    co_await coro::when_all(std::move(waiting));

    // 11: wrappers of one's own.
    move_only_function<coro::task<std::string>(std::string)> owned(plain);
    co_await owned("a");
    int calls = 0;
    co_await counted(calls, greet, "a");
    kept keeper(greet("a"));
    co_await keeper.release();
}
