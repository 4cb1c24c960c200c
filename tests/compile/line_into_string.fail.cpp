// expect: std::optional<std::(basic_string_view<char>|string_view)
#include <coro/coro.hpp>

#include <string>

coro::task<> main_task(coro::net::buffered_stream& in) {
    std::string line = co_await in.read_line();
}
