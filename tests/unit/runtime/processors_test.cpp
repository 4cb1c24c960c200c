// Control group limits out of planted files, and the real answers for plausibility.
#include "runtime/processors.hpp"

#include <map>
#include <optional>
#include <string>
#include <thread>

#include <gtest/gtest.h>
#include <sched.h>

namespace coro::detail {
namespace {

using files = std::map<std::string, std::string>;

std::optional<unsigned> limit_of(files planted) {
    const file_reader read = [](const std::string& path, void* user) -> std::optional<std::string> {
        const auto& all = *static_cast<files*>(user);
        const auto found = all.find(path);
        if (found == all.end()) return std::nullopt;
        return found->second;
    };
    return control_group_limit(read, &planted);
}

TEST(processors, reads_cpu_max) {
    const auto processors = [](std::string_view text) -> unsigned {
        const auto quota = parse_cpu_max(text);
        return quota ? quota->processors() : 0;
    };
    EXPECT_EQ(processors("200000 100000\n"), 2u);
    EXPECT_EQ(processors("250000 100000"), 2u);
    EXPECT_EQ(processors("50000 100000\n"), 1u);
    EXPECT_EQ(processors("0 100000\n"), 1u);
    EXPECT_EQ(processors("18446744073709551615 1\n"), 4294967295u);
    for (const char* none : {"max 100000\n", "", "\n", "100000", "100000 0\n", "x y\n",
                             "-1 100000\n", "1e5 100000\n", "99999999999999999999 1\n"}) {
        EXPECT_EQ(processors(none), 0u) << none;
    }
}

TEST(processors, reads_the_files_of_version_1) {
    ASSERT_TRUE(parse_cfs("400000\n", "100000\n"));
    EXPECT_EQ(parse_cfs("400000\n", "100000\n")->processors(), 4u);
    EXPECT_FALSE(parse_cfs("-1\n", "100000\n"));
    EXPECT_FALSE(parse_cfs("100000\n", "0\n"));
    EXPECT_FALSE(parse_cfs("", ""));
}

TEST(processors, finds_the_control_group) {
    const std::string_view mixed =
        "12:cpuset:/a\n4:cpu,cpuacct:/docker/b\n1:name=systemd:/c\n0::/user.slice/d:e\n";
    EXPECT_EQ(control_group(mixed, ""), "/user.slice/d:e");
    EXPECT_EQ(control_group(mixed, "cpu"), "/docker/b");
    EXPECT_EQ(control_group(mixed, "cpuacct"), "/docker/b");
    EXPECT_EQ(control_group(mixed, "memory"), std::nullopt);
    EXPECT_EQ(control_group("0::/", "cpu"), std::nullopt);
    EXPECT_EQ(control_group("0::/", ""), "/");
    EXPECT_EQ(control_group("", ""), std::nullopt);
    EXPECT_EQ(control_group("nonsense\n\n::\n", ""), std::nullopt);
}

TEST(processors, takes_the_smallest_limit_on_the_way_up) {
    EXPECT_EQ(limit_of({}), std::nullopt);
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "0::/a/b\n"}}), std::nullopt);
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "0::/a/b\n"},
                        {"/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"},
                        {"/sys/fs/cgroup/a/cpu.max", "300000 100000\n"}}),
              3u);
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "0::/a/b\n"},
                        {"/sys/fs/cgroup/a/b/cpu.max", "200000 100000\n"},
                        {"/sys/fs/cgroup/a/cpu.max", "900000 100000\n"}}),
              2u);
    // In a container: the host's path leads nowhere, the mount's root is our own group.
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "0::/docker/0123\n"},
                        {"/sys/fs/cgroup/cpu.max", "400000 100000\n"}}),
              4u);
}

TEST(processors, knows_version_1_and_mixed_mounts) {
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "3:cpu,cpuacct:/x\n0::/y\n"},
                        {"/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "150000\n"},
                        {"/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "50000\n"},
                        {"/sys/fs/cgroup/unified/y/cpu.max", "500000 100000\n"}}),
              3u);
    EXPECT_EQ(limit_of({{"/proc/self/cgroup", "3:cpu,cpuacct:/x\n"},
                        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n"},
                        {"/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"},
                        {"/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "-1\n"},
                        {"/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n"}}),
              2u);
}

TEST(processors, of_this_machine_are_at_least_one_and_obey_affinity) {
    EXPECT_GE(available_processors(), 1u);
    std::thread([] {  // a thread of its own, because affinity is the thread's
        cpu_set_t mine;
        ASSERT_EQ(::sched_getaffinity(0, sizeof mine, &mine), 0);
        const unsigned allowed = available_processors();
        EXPECT_LE(allowed, static_cast<unsigned>(CPU_COUNT(&mine)));
        std::size_t first = 0;
        while (!CPU_ISSET(first, &mine)) ++first;
        CPU_ZERO(&mine);
        CPU_SET(first, &mine);
        ASSERT_EQ(::sched_setaffinity(0, sizeof mine, &mine), 0);
        EXPECT_EQ(available_processors(), 1u);
    }).join();
}

TEST(processors, involuntary_switches_never_go_down) {
    const std::uint64_t before = involuntary_switches();
    EXPECT_GE(involuntary_switches(), before);
}

}  // namespace
}  // namespace coro::detail
