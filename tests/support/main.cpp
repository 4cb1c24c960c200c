// main() of all test programs: GoogleTest's, and a look after each test at what it left behind.
#include <csignal>

#include <gtest/gtest.h>

#include "support/leftovers.hpp"

namespace {

class leftover_listener final : public testing::EmptyTestEventListener {
    void OnTestStart(const testing::TestInfo&) override {
        coro_test::watch_memory(true);
        before_ = coro_test::leftovers::count();
    }
    void OnTestEnd(const testing::TestInfo&) override {
        const std::string found = coro_test::left_since(before_);
        EXPECT_EQ(found, "") << "the test left something behind";
        coro_test::watch_memory(false);
    }

    coro_test::leftovers before_;
};

}  // namespace

int main(int argc, char** argv) {
    std::signal(SIGINT, SIG_DFL);  // also where a shell without jobs has started us
    testing::InitGoogleTest(&argc, argv);
    testing::UnitTest::GetInstance()->listeners().Append(new leftover_listener);
    return RUN_ALL_TESTS();
}
