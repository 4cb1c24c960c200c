// expect: g\+\+ 12 may destroy an aggregate with a non-trivial destructor twice [g++ only]
#include <coro/coro.hpp>

#include <string>

struct options {
    std::string name;
    int depth = 0;
};
coro::task<> work(options) { co_return; }
