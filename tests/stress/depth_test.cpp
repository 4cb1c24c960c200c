// The stack stays bounded at full count in every build mode, sanitizers included: ten million
// awaits that need not wait, a million frames deep, and what passes up through the frames.
#include <algorithm>
#include <cstdint>
#include <stdexcept>

#include <coro/coro.hpp>
#include <coro/runtime/event.hpp>

#include "conformance/net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

using namespace conformance;

constexpr int ten_million = 10'000'000;
constexpr int million = 1'000'000;
/// An exception is caught and thrown again in each frame, which takes a sanitizer 60 us.
constexpr int unwound_frames = sanitized ? million / 50 : million;
/// 64 starts in place, and some room for what sanitizers put around each.
constexpr std::uintptr_t most_stack = 256 * 1024;

/// How much stack was between the highest and the lowest look.
class stack_gauge {
public:
    __attribute__((noinline)) void look() noexcept {
        const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
        low_ = std::min(low_, here);
        high_ = std::max(high_, here);
    }
    [[nodiscard]] std::uintptr_t spread() const noexcept { return high_ - low_; }

private:
    std::uintptr_t low_ = UINTPTR_MAX;
    std::uintptr_t high_ = 0;
};

class depth_test : public ::testing::TestWithParam<poller_choice> {
protected:
    template <typename Body>
    void measure(Body body) {
        stack_gauge gauge;
        run_options options;
        options.poller = GetParam();
        options.strict = insists(GetParam());
        options.signals = signal_policy::leave;
        run(body(gauge), options);
        EXPECT_LT(gauge.spread(), most_stack);
        std::printf("%ju bytes of stack\n", static_cast<std::uintmax_t>(gauge.spread()));
    }
};
INSTANTIATE_TEST_SUITE_P(real_worlds, depth_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

task<int> answer_at_once(stack_gauge& gauge, int n) {
    gauge.look();
    co_return n & 1;
}

TEST_P(depth_test, ten_million_children_that_end_at_once) {
    measure([](stack_gauge& gauge) -> task<> {
        long sum = 0;
        for (int i = 0; i < ten_million; ++i) sum += co_await answer_at_once(gauge, i);
        EXPECT_EQ(sum, ten_million / 2);
    });
}

TEST_P(depth_test, ten_million_waits_that_are_granted_already) {
    measure([](stack_gauge& gauge) -> task<> {
        event set;
        set.set();
        for (int i = 0; i < ten_million; ++i) {
            co_await set.wait();
            gauge.look();
        }
    });
}

enum class at_bottom : std::uint8_t { answer, wait, fail };

task<int> descend(stack_gauge& gauge, int depth, at_bottom what) {
    gauge.look();
    if (depth > 0) {
        const int below = co_await descend(gauge, depth - 1, what);
        gauge.look();
        co_return below + 1;
    }
    if (what == at_bottom::fail) throw std::runtime_error("from the bottom");
    if (what == at_bottom::wait) co_await sleep_for(std::chrono::hours(1));
    co_return 0;
}

TEST_P(depth_test, a_million_frames_deep_and_back) {
    measure([](stack_gauge& gauge) -> task<> {
        EXPECT_EQ(co_await descend(gauge, million, at_bottom::answer), million);
    });
}

TEST_P(depth_test, a_cancellation_passes_up_through_a_million_frames) {
    measure([](stack_gauge& gauge) -> task<> {
        const auto ended = co_await move_on_after(std::chrono::milliseconds(1),
                                                  descend(gauge, unwound_frames, at_bottom::wait));
        EXPECT_FALSE(ended.has_value());
    });
}

TEST_P(depth_test, an_exception_passes_up_through_a_million_frames) {
    measure([](stack_gauge& gauge) -> task<> {
        try {
            co_await descend(gauge, unwound_frames, at_bottom::fail);
            ADD_FAILURE() << "no exception";
        } catch (const std::runtime_error& error) {
            EXPECT_STREQ(error.what(), "from the bottom");
        }
    });
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
