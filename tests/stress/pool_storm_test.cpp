// A pool between loops. Tasks of all of them come, are cancelled and give back at random. Meanwhile
// the pool is cleared, resized and suspended; at last it is closed under them.
#include <algorithm>
#include <array>
#include <atomic>
#include <functional>

#include <coro/coro.hpp>
#include <coro/service/connection_pool.hpp>

#include "stress/race_support.hpp"
#include "stress/storm_support.hpp"

namespace coro { inline namespace v0 { namespace detail::stress {
namespace {

class pool_storm : public storm_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, pool_storm, ::testing::ValuesIn(conformance::real_worlds()),
                         conformance::parameter_name);

/// What the connections of a storm have in common.
struct storm_server {
    std::atomic<int> alive{0};
    std::atomic<int> most_alive{0};
};

/// One user at a time, on one loop at a time: the thread sanitizer looks at `uses`.
class storm_connection {
public:
    explicit storm_connection(storm_server& at) : at_(&at), loop_(loop_index()) {
        const int now_alive = at.alive.fetch_add(1) + 1;
        int most = at.most_alive.load();
        while (most < now_alive && !at.most_alive.compare_exchange_weak(most, now_alive)) {}
    }
    storm_connection(storm_connection&& other) noexcept
        : uses(other.uses), at_(std::exchange(other.at_, nullptr)), loop_(other.loop_) {}
    storm_connection& operator=(storm_connection&&) = delete;
    ~storm_connection() {
        if (at_ != nullptr) at_->alive.fetch_sub(1);
    }

    class parted;
    parted detach() &&;
    void use() {
        EXPECT_EQ(loop_, loop_index());
        ++uses;
    }

    long uses = 0;

private:
    storm_server* at_;
    unsigned loop_;
};

class storm_connection::parted {
public:
    explicit parted(storm_connection&& from) noexcept : inner_(std::move(from)) {}
    storm_connection attach() {
        inner_.loop_ = loop_index();
        return std::move(inner_);
    }

private:
    storm_connection inner_;
};

storm_connection::parted storm_connection::detach() && {
    EXPECT_EQ(loop_, loop_index());
    return parted(std::move(*this));
}

using storm_pool = connection_pool<storm_connection>;

task<> use_once(storm_pool& pool, dice& random) {
    auto lease = co_await pool.acquire();
    lease->use();
    if (random.below(2) == 0) co_await sleep_for(random.up_to(50us));
    lease->use();
    if (random.below(20) == 0) lease.discard();
}

task<> come_and_go(storm_pool& pool) {
    const auto one = [](storm_pool& of, unsigned seed) -> task<> {
        dice random(seed);
        for (int i = 0; i < 200; ++i) {
            const duration patience = random.below(3) == 0 ? random.up_to(100us) : 1h;
            static_cast<void>(
                co_await as_result(move_on_after(patience, use_once(of, random))));
        }
    };
    const auto several = [&](task_group& group) -> task<> {
        for (unsigned i = 0; i < 4; ++i) group.spawn(one, std::ref(pool), loop_index() * 10 + i);
        co_return;
    };
    co_await with_task_group(several);
}

task<> disturb(storm_pool& pool) {
    dice random(99);
    for (;;) {
        co_await sleep_for(random.up_to(2ms));
        switch (random.below(4)) {
            case 0: pool.clear(); break;
            case 1: pool.resize(1 + random.below(4)); break;
            case 2:
                pool.suspend();
                co_await sleep_for(random.up_to(200us));
                break;
            default: static_cast<void>(pool.stats());
        }
        pool.resume();
    }
}

TEST_P(pool_storm, tasks_of_all_loops_share_a_pool_that_changes) {
    for (int round = 0; round < 3; ++round) {
        storm_server server;
        const auto connector = [&server]() -> task<storm_connection> {
            co_await sleep_for(20us);
            co_return storm_connection(server);
        };
        const bool closed_under_them = round == 2;
        const auto body = [&](storm_pool& pool) -> task<> {
            const auto with_trouble = [&](task_group& group) -> task<> {
                group.spawn(disturb, std::ref(pool));
                if (closed_under_them) {
                    group.spawn(on_each_loop(come_and_go, std::ref(pool)));
                    co_await sleep_for(3ms);
                    pool.close();
                } else {
                    co_await on_each_loop(come_and_go, std::ref(pool));
                    EXPECT_EQ(pool.stats().active, 0U);
                    EXPECT_EQ(pool.stats().waiting, 0U);
                    EXPECT_GT(pool.stats().acquired, storm_loops * 100);
                }
                group.cancel();
            };
            co_await with_task_group(with_trouble);
        };
        const auto main = [&]() -> task<> {
            co_await with_connection_pool(connector, {.max_size = 3, .min_idle = 1}, body);
        };
        storm(main);
        EXPECT_EQ(server.alive.load(), 0);
        EXPECT_LE(server.most_alive.load(), 4);  // the most that resize() says
    }
}

}  // namespace
}}}  // namespace coro::v0::detail::stress
