// What it costs to keep bytes that a long record waits for, counted in copied bytes.
#include <coro/net/detail/read_buffer.hpp>

#include <array>
#include <cstddef>

#include <gtest/gtest.h>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr std::size_t limit = std::size_t{64} * 1024;

/// Reads a record of `needed` bytes past the leases, `step` bytes an arrival, and returns how many
/// unread bytes were moved to another place meanwhile.
std::size_t copied_bytes(std::size_t needed, std::size_t first, std::size_t step) {
    read_buffer buffer(socket_ref{}, limit);
    const mutable_bytes room = buffer.spill_room(first);
    buffer.arrived(first);
    const std::byte* end = room.data() + first;
    std::size_t copied = 0;
    for (;;) {
        const mutable_bytes next = counted_request::direct(buffer, needed);
        if (next.empty() || copied > 4 * needed) return copied;  // enough to fail
        if (next.data() != end) copied += buffer.size();
        const std::size_t came = next.size() < step ? next.size() : step;
        buffer.arrived(came);
        end = next.data() + came;
    }
}

TEST(read_buffer_test, single_bytes_behind_a_large_part_of_a_record_copy_it_a_few_times_only) {
    const std::size_t needed = std::size_t{1} << 20;
    for (const std::size_t first : {limit, std::size_t{400'000}, needed - 20'000}) {
        // Doubling copies all of it once, and half of it before that, and so on.
        EXPECT_LE(copied_bytes(needed, first, 1), 2 * needed) << first;
    }
}

TEST(read_buffer_test, arrivals_of_any_size_copy_each_byte_twice_at_most) {
    const std::size_t needed = std::size_t{4} << 20;
    for (const std::size_t step :
         std::array<std::size_t, 6>{1'000, 1'460, 4'095, 4'096, 16'384, 65'536}) {
        EXPECT_LE(copied_bytes(needed, 1, step), 2 * needed) << step;
    }
}

/// A peer that announces much and sends little makes us hold little.
TEST(read_buffer_test, what_is_held_follows_what_has_come) {
    read_buffer buffer(socket_ref{}, limit);
    EXPECT_EQ(buffer.spill_room(100).size(), 100u);
    buffer.arrived(100);
    for (std::size_t had = buffer.size(); had < (std::size_t{1} << 20); had = buffer.size()) {
        const mutable_bytes room = counted_request::direct(buffer, std::size_t{64} << 20);
        EXPECT_LE(room.size(), had < 16'384 ? 16'384 : had);
        buffer.arrived(room.size());
    }
}

}  // namespace
}}}  // namespace coro::v0::detail
