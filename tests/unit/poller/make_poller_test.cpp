// What CORO_POLLER and CORO_URING mean, and what is said when they mean nothing.
#include "poller/uring_options.hpp"
#include "runtime/make_poller.hpp"

#include "support/alone.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <optional>
#include <string>

namespace coro::detail {
namespace {

/// Sets a variable for one test and restores it, so that the suite may run under any environment.
class with_variable {
public:
    with_variable(const char* name, const char* value) : name_(name) {
        if (const char* old = std::getenv(name)) old_ = old;
        if (value == nullptr) {
            ::unsetenv(name);
        } else {
            ::setenv(name, value, 1);
        }
    }
    with_variable(const with_variable&) = delete;
    with_variable& operator=(const with_variable&) = delete;
    ~with_variable() {
        if (old_) {
            ::setenv(name_, old_->c_str(), 1);
        } else {
            ::unsetenv(name_);
        }
    }

private:
    const char* name_;
    std::optional<std::string> old_;
};

bool has(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

TEST(uring_environment, changes_what_it_names_and_nothing_else) {
    poller_options options;
    const unsigned bytes = options.lease_buffer_bytes;
    EXPECT_EQ(apply_uring_environment("sq=4,cq=8,buffers=2", options), "");
    EXPECT_EQ(options.ring_entries, 4u);
    EXPECT_EQ(options.completion_entries, 8u);
    EXPECT_EQ(options.lease_buffers, 2u);
    EXPECT_EQ(options.lease_buffers_most, 2u);
    EXPECT_EQ(options.lease_buffer_bytes, bytes);
    EXPECT_EQ(options.disabled_features, 0u);
}

TEST(uring_environment, nothing_is_no_change) {
    poller_options options;
    EXPECT_EQ(apply_uring_environment("", options), "");
    EXPECT_EQ(options.ring_entries, poller_options{}.ring_entries);
}

TEST(uring_environment, disables_features_by_name) {
    poller_options options;
    EXPECT_EQ(apply_uring_environment("disable=buffer_ring+submit_all", options), "");
    EXPECT_EQ(options.disabled_features, uring_buffer_ring | uring_submit_all);
}

TEST(uring_environment, a_mask_takes_away_what_is_newer_than_the_kernel) {
    poller_options of_6_1;
    EXPECT_EQ(apply_uring_environment("mask=6.1", of_6_1), "");
    EXPECT_EQ(of_6_1.disabled_features, uring_no_iowait | uring_no_sqarray);

    poller_options of_6_8;
    EXPECT_EQ(apply_uring_environment("mask=6.8", of_6_8), "");
    EXPECT_EQ(of_6_8.disabled_features, std::uint32_t{uring_no_iowait});

    poller_options of_5_15;
    EXPECT_EQ(apply_uring_environment("mask=5.15", of_5_15), "");
    EXPECT_EQ(of_5_15.disabled_features & uring_wait_argument, 0u);
    EXPECT_NE(of_5_15.disabled_features & uring_registered_ring, 0u);

    poller_options of_6_15;
    EXPECT_EQ(apply_uring_environment("mask=6.15", of_6_15), "");
    EXPECT_EQ(of_6_15.disabled_features, 0u);
}

TEST(uring_environment, mask_and_disable_add_up) {
    poller_options options;
    EXPECT_EQ(apply_uring_environment("mask=6.8,disable=buffer_ring", options), "");
    EXPECT_EQ(options.disabled_features, uring_no_iowait | uring_buffer_ring);
}

struct refusal {
    const char* text;
    const char* bad_part;
    const char* allowed;
};

TEST(uring_environment, names_the_bad_part_and_what_is_allowed_and_changes_nothing) {
    const refusal refusals[] = {
        {"sq=0", "\"0\"", "from 1 to 32768"},
        {"sq=32769", "\"32769\"", "from 1 to 32768"},
        {"sq=-1", "\"-1\"", "from 1 to 32768"},
        {"sq=4x", "\"4x\"", "from 1 to 32768"},
        {"sq=", "\"\"", "from 1 to 32768"},
        {"sq", "\"\"", "from 1 to 32768"},
        {"cq=99999999999999", "\"99999999999999\"", "from 1 to 65536"},
        {"buffers=two", "\"two\"", "from 1 to 32768"},
        {"sq=4,speed=9", "\"speed=9\"", "sq=, cq=, buffers=, disable= and mask="},
        {"sq=4,", "\"\"", "sq=, cq=, buffers=, disable= and mask="},
        {"sq=4,,cq=8", "\"\"", "sq=, cq=, buffers=, disable= and mask="},
        {"sq=4 ,cq=8", "\"4 \"", "from 1 to 32768"},
        {"disable=warp", "\"warp\"", "single_issuer, defer_taskrun"},
        {"disable=buffer_ring+", "\"\"", "single_issuer, defer_taskrun"},
        {"disable=", "\"\"", "single_issuer, defer_taskrun"},
        {"mask=6", "\"6\"", "such as 6.1 or 6.8"},
        {"mask=6.1.2", "\"6.1.2\"", "such as 6.1 or 6.8"},
        {"mask=5.0", "\"5.0\"", "from 5.1 on"},
        {"mask=new", "\"new\"", "such as 6.1 or 6.8"},
        {"sq=8,cq=4", "cq=4", "not below sq=8"},
    };
    for (const refusal& expected : refusals) {
        poller_options options;
        const std::string error = apply_uring_environment(expected.text, options);
        EXPECT_TRUE(error.starts_with("CORO_URING: ")) << expected.text << " gave: " << error;
        EXPECT_TRUE(has(error, expected.bad_part)) << expected.text << " gave: " << error;
        EXPECT_TRUE(has(error, expected.allowed)) << expected.text << " gave: " << error;
        EXPECT_EQ(options.ring_entries, poller_options{}.ring_entries) << expected.text;
        EXPECT_EQ(options.disabled_features, 0u) << expected.text;
    }
}

TEST(make_poller, takes_what_the_program_asks_for) {
    const with_variable poller("CORO_POLLER", nullptr);
    const with_variable uring("CORO_URING", nullptr);
    const made_alone epoll = make_alone(poller_choice::epoll, false, {});
    ASSERT_NE(epoll.instance, nullptr) << epoll.reason;
    EXPECT_EQ(epoll.instance->name(), "epoll");
    EXPECT_EQ(epoll.reason, "epoll: asked for by the program");
    EXPECT_FALSE(epoll.fell_back);

    const made_alone simulation = make_alone(poller_choice::simulation, false, {});
    ASSERT_NE(simulation.instance, nullptr) << simulation.reason;
    EXPECT_EQ(simulation.instance->name(), "simulation");
    EXPECT_EQ(simulation.reason, "simulation: asked for by the program, no seed");
}

TEST(make_poller, the_environment_decides_where_the_program_does_not) {
    const with_variable uring("CORO_URING", nullptr);
    const with_variable poller("CORO_POLLER", "epoll");
    const made_alone automatic = make_alone(poller_choice::automatic, true, {});
    ASSERT_NE(automatic.instance, nullptr) << automatic.reason;
    EXPECT_EQ(automatic.instance->name(), "epoll");
    EXPECT_EQ(automatic.reason, "epoll: asked for by CORO_POLLER");
    EXPECT_FALSE(automatic.fell_back);

    const made_alone decided = make_alone(poller_choice::simulation, false, {});
    ASSERT_NE(decided.instance, nullptr) << decided.reason;
    EXPECT_EQ(decided.instance->name(), "simulation");
}

TEST(make_poller, automatic_always_has_a_poller_and_says_which) {
    const with_variable uring("CORO_URING", nullptr);
    for (const char* value : {static_cast<const char*>(nullptr), "", "automatic"}) {
        const with_variable poller("CORO_POLLER", value);
        const made_alone made = make_alone(poller_choice::automatic, false, {});
        ASSERT_NE(made.instance, nullptr) << made.reason;
        EXPECT_TRUE(made.reason.starts_with(std::string(made.instance->name()) + ": "))
            << made.reason;
        EXPECT_EQ(made.fell_back, made.instance->name() == "epoll") << made.reason;
        if (made.fell_back) {
            EXPECT_TRUE(has(made.reason, "set CORO_POLLER=io_uring to insist")) << made.reason;
        }
    }
}

TEST(make_poller, a_bad_environment_gives_a_sentence_and_no_poller) {
    {
        const with_variable uring("CORO_URING", nullptr);
        const with_variable poller("CORO_POLLER", "kqueue");
        for (const poller_choice choice : {poller_choice::automatic, poller_choice::epoll}) {
            const made_alone made = make_alone(choice, false, {});
            EXPECT_EQ(made.instance, nullptr);
            EXPECT_EQ(made.reason,
                      "CORO_POLLER=\"kqueue\" names no poller: set it to io_uring, epoll, "
                      "automatic or simulation, or unset it");
        }
    }
    const with_variable poller("CORO_POLLER", "epoll");
    const with_variable uring("CORO_URING", "sq=many");
    const made_alone made = make_alone(poller_choice::automatic, false, {});
    EXPECT_EQ(made.instance, nullptr);
    EXPECT_EQ(made.reason,
              "CORO_URING: \"many\" is no value for sq=, allowed is a number from 1 to 32768");
}

}  // namespace
}  // namespace coro::detail
