// A thread whose system calls a test answers instead of the kernel: by a seccomp(2) filter with a
// listener, which is the thread's alone and ends with it. So the library under test is unchanged,
// and meets kernels older, poorer or more hostile than the one that is there.
#pragma once

#include <linux/seccomp.h>

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace coro_test {

/// A system call that is asked about; if `argument` is not negative, only when the lower half of
/// that argument is `value`.
struct watched_call {
    long number = 0;
    int argument = -1;
    std::uint32_t value = 0;
};

struct asked_call {
    long number = 0;
    std::array<std::uint64_t, 6> arguments{};
};

/// What the thread gets.
struct verdict {
    bool by_kernel = true;  ///< the kernel does what it does
    std::int64_t value = 0; ///< otherwise: a result, or a negated errno

    static verdict kernel() { return {}; }
    static verdict answer(std::int64_t value) { return {false, value}; }
};

/// Runs `body` on a thread of its own and answers its watched calls by `judge`, which runs on the
/// calling thread, in the same address space. Empty, or why this machine does not allow it; `body`
/// has not run then.
[[nodiscard]] std::string run_supervised(const std::vector<watched_call>& watched,
                                         const std::function<verdict(const asked_call&)>& judge,
                                         const std::function<void()>& body);

}  // namespace coro_test
