// Ends the program with one sentence; uses nothing that could fail or allocate.
#include <coro/base/assert.hpp>

#include <cstdio>
#include <cstdlib>

namespace coro::inline v0::detail {

void assertion_failed(const char* file, int line, const char* sentence) noexcept {
    std::fprintf(stderr, "coro: %s:%d: %s\n", file, line, sentence);
    std::fflush(stderr);
    std::abort();
}

}  // namespace coro::inline v0::detail
