// What stands in for an aggregate that owns memory: a constructor, a reference, a promise.
#include <coro/coro.hpp>

#include <string>
#include <utility>

class with_constructor {
public:
    explicit with_constructor(std::string text) : name(std::move(text)) {}
    std::string name;
};
struct trivially_destructible {
    const char* name = nullptr;
    int depth = 0;
};
struct owning {
    std::string name;
};
struct never_braced {
    std::string name;
};
template <>
inline constexpr bool coro::trusted_aggregate<never_braced> = true;

coro::task<> take(with_constructor, trivially_destructible, const owning&, never_braced) {
    co_return;
}
coro::task<> main_task() {
    never_braced named{"named"};
    const owning kept{"kept"};
    co_await take(with_constructor("x"), {.name = "y", .depth = 1}, kept, std::move(named));
}
