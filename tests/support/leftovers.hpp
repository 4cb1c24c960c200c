// What a test may leave behind: looked for after every test of every program (see main.cpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace coro_test {

/// What is alive in the process while no loop runs.
struct leftovers {
    std::int64_t frames = 0;        ///< coroutine frames
    std::size_t descriptors = 0;    ///< open files
    std::size_t receives = 0;       ///< buffers that the kernel may still write into
    unsigned unstarted = 0;         ///< tasks that died unstarted, told to the report hook so far

    static leftovers count();
};

/// What there is more (or less) of than `before`, a line each; empty if nothing. Frames are named
/// by their creation sites, as far as they were made while frames are tracked.
std::string left_since(const leftovers& before);

/// Switches on, or off, the two registries that know more than numbers: the creation sites of
/// frames, and the ranges of pending receives, which each block that is given back is held against.
/// For the time of a test that counts allocations or makes millions of frames they are off.
void watch_memory(bool on);

/// While it lives, tasks that die unstarted and are told to the report hook are intended.
class unstarted_tasks_expected {
public:
    unstarted_tasks_expected() noexcept;
    unstarted_tasks_expected(const unstarted_tasks_expected&) = delete;
    unstarted_tasks_expected& operator=(const unstarted_tasks_expected&) = delete;
    ~unstarted_tasks_expected();

private:
    unsigned before_;
};

}  // namespace coro_test
