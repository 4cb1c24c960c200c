// The looks that the fixtures of this folder take at what is left do find something.
#include <fstream>
#include <optional>

#include <gtest/gtest-spi.h>

#include "net_test_support.hpp"
#include "support/leftovers.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

TEST(detector_test, canary_run_in_sees_a_descriptor_that_stays_open) {
    std::ifstream kept;
    const auto body = [&]() -> task<> {
        kept.open("/proc/self/stat");
        co_return;
    };
    EXPECT_NONFATAL_FAILURE(run_in(poller_choice::simulation, body), "descriptors leaked");
}

task<> never_awaited() { co_return; }

TEST(detector_test, canary_run_in_sees_a_frame_that_stays) {
    const coro_test::unstarted_tasks_expected dropped;
    std::optional<task<>> kept;
    const auto body = [&]() -> task<> {
        kept.emplace(never_awaited());
        co_return;
    };
    EXPECT_NONFATAL_FAILURE(run_in(poller_choice::simulation, body), " frames before, ");
}

class poller_detector_test : public poller_fixture {};
INSTANTIATE_TEST_SUITE_P(all_worlds, poller_detector_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(poller_detector_test, canary_the_end_of_a_world_counts_descriptors) {
    std::ifstream kept("/proc/self/stat");
    EXPECT_NONFATAL_FAILURE(restart({}), "descriptors leaked");
    kept.close();  // one less than there were when the second world began
    EXPECT_NONFATAL_FAILURE(restart({}), "descriptors leaked");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
