// Where a vectored request is cut: by counts of slices and bytes.
#include "poller/slice_cut.hpp"

#include <climits>
#include <cstddef>
#include <vector>

#include <gtest/gtest.h>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr std::size_t kib = 1024;

std::vector<io_slice> slices_of(const std::vector<std::size_t>& sizes) {
    std::vector<io_slice> slices;
    for (const std::size_t size : sizes) slices.push_back({nullptr, size});
    return slices;
}
std::vector<std::size_t> sizes_of(const std::vector<io_slice>& slices) {
    std::vector<std::size_t> sizes;
    for (const io_slice& each : slices) sizes.push_back(each.size);
    return sizes;
}

/// What one request takes of slices of these sizes. Afterwards they must be as before.
std::vector<std::size_t> cut(const std::vector<std::size_t>& sizes) {
    std::vector<io_slice> slices = slices_of(sizes);
    slice_cut cutting;
    const std::size_t count = cutting.make(slices);
    std::vector<std::size_t> taken = sizes_of(slices);
    taken.resize(count);
    cutting.undo();
    EXPECT_EQ(sizes_of(slices), sizes) << "the slices of the owner were not given back";
    return taken;
}

using sizes = std::vector<std::size_t>;

TEST(slice_cut, takes_all_that_fits) {
    EXPECT_EQ(cut({}), sizes{});
    EXPECT_EQ(cut({0}), sizes{0});
    EXPECT_EQ(cut({1, 2, 3}), (sizes{1, 2, 3}));
    EXPECT_EQ(cut({100 * kib, 156 * kib}), (sizes{100 * kib, 156 * kib}));
}

TEST(slice_cut, shortens_the_slice_in_which_256_kib_end) {
    EXPECT_EQ(cut({1000 * kib}), sizes{256 * kib});
    EXPECT_EQ(cut({4, 1000 * kib, 7}), (sizes{4, 256 * kib - 4}));
    EXPECT_EQ(cut({100 * kib, 100 * kib, 100 * kib}), (sizes{100 * kib, 100 * kib, 56 * kib}));
}

TEST(slice_cut, ends_between_two_slices_without_an_empty_one) {
    EXPECT_EQ(cut({256 * kib, 1}), sizes{256 * kib});
    EXPECT_EQ(cut({100 * kib, 156 * kib, 1, 1}), (sizes{100 * kib, 156 * kib}));
}

TEST(slice_cut, takes_no_more_slices_than_the_kernel) {
    EXPECT_EQ(cut(sizes(3000, 1)).size(), std::size_t{UIO_MAXIOV});
}

TEST(slice_cut, can_be_made_again_for_what_it_was_made_for) {
    std::vector<io_slice> slices = slices_of({4, 1000 * kib});
    slice_cut cutting;
    EXPECT_EQ(cutting.make(slices), 2u);
    cutting.undo();
    EXPECT_EQ(cutting.make(slices), 2u);
    EXPECT_EQ(slices[1].size, 256 * kib - 4);
    cutting.undo();
    EXPECT_EQ(slices[1].size, 1000 * kib);
}

}  // namespace
}}}  // namespace coro::v0::detail
