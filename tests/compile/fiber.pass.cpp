#include <coro/coro.hpp>

#include <functional>
#include <memory>
#include <string>
#include <vector>

struct order {
    std::string text;
    std::vector<int> numbers;
};

// Capturing closures, aggregates, references to arguments: all fine, also on g++ 12.
coro::task<> body(coro::task_group& group) {
    std::string text = "captured";
    auto owned = std::make_unique<int>(1);
    group.spawn_fiber([text, mine = std::move(owned)] { (void)(text.size() + (mine ? 1 : 0)); });
    group.spawn_fiber({.name = "aggregate", .stack_bytes = 1 << 20}, [](order) {},
                      order{"text", {1, 2}});
    group.spawn_fiber([](const order&, std::string&&) {}, order{"text", {}}, std::string("moved"));
    group.spawn_fiber([](std::string& same) { same += "!"; }, std::ref(text));
    const auto named = [text] { return text.size(); };
    std::size_t size = co_await coro::fiber(named);
    size += co_await coro::fiber({.stack_bytes = 1 << 20}, [] { return std::size_t{1}; });
    (void)size;
}

void in_a_fiber() {
    std::string text = "captured";
    const auto make = [text]() -> coro::task<std::size_t> { co_return text.size(); };
    if (coro::await(make()) == 8) text += "!";
    coro::local_task_group group;
    group.spawn_fiber([text] { (void)text.size(); });
    group.join();
}
