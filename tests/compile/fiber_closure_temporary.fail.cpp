// expect: name the lambda first [g++ only]
#include <coro/coro.hpp>

#include <string>

coro::task<> body(std::string text) {
    co_await coro::fiber([text] { (void)text.size(); });
}
