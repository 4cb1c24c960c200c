// What happened in a simulated run, as text and as a number that two runs can be compared by.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include <coro/runtime/loop_handle.hpp>
#include <coro/runtime/sleep.hpp>

namespace coro_test {

/// One line for each event, in order, with its loop and its virtual time. All loops of a simulation
/// run on one thread.
class run_trace {
public:
    void note(std::string_view what, std::size_t number) {
        std::array<char, 96> line{};
        const auto at = coro::now().time_since_epoch().count();
        std::snprintf(line.data(), line.size(), "%u %lld %.*s %zu\n", coro::loop_index(),
                      static_cast<long long>(at), static_cast<int>(what.size()), what.data(),
                      number);
        text += line.data();
    }
    /// FNV-1a, 64 bits.
    [[nodiscard]] std::uint64_t hash() const {
        std::uint64_t sum = 0xcbf29ce484222325u;
        for (const char each : text) {
            sum ^= static_cast<unsigned char>(each);
            sum *= 0x100000001b3u;
        }
        return sum;
    }

    std::string text;
};

}  // namespace coro_test
