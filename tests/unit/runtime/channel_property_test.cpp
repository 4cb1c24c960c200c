// channel under random schedules: against a model, and in time; nothing is lost or doubled.
#include <coro/runtime/channel.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include <coro/core/as_result.hpp>
#include <coro/runtime/run.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/timeout.hpp>

#include "unit/runtime/waiting_fixture.hpp"

namespace coro {
namespace {

using namespace waiting_tests;

// --- random schedules against a model that says exactly who sends and receives what

/// What became of an operation; what was received stands as its own number, from 0.
enum outcome : int { pending = -1, sent = -2, refused = -3, withdrawn = -4, ended = -5 };

/// The channel as it is specified. Every operation has a number, which is also what it sends.
struct channel_model {
    std::size_t capacity = 0;
    bool closed = false;
    std::deque<int> queue{};
    std::deque<int> senders{};
    std::deque<int> receivers{};
    std::map<int, int> outcomes{};

    static int pop(std::deque<int>& from) {
        const int first = from.front();
        from.pop_front();
        return first;
    }
    bool try_send(int item) {
        if (closed || (receivers.empty() && queue.size() == capacity)) return false;
        if (receivers.empty()) queue.push_back(item);
        else outcomes[pop(receivers)] = item;
        return true;
    }
    void send(int id) {
        outcomes[id] = closed ? refused : try_send(id) ? sent : pending;
        if (outcomes[id] == pending) senders.push_back(id);
    }
    std::optional<int> try_receive() {
        if (queue.empty() && senders.empty()) return std::nullopt;
        if (!senders.empty()) {
            outcomes[senders.front()] = sent;
            queue.push_back(pop(senders));
        }
        return pop(queue);
    }
    void receive(int id) {
        outcomes[id] = try_receive().value_or(closed ? ended : pending);
        if (outcomes[id] == pending) receivers.push_back(id);
    }
    void withdraw(int id) {
        if (std::erase(senders, id) + std::erase(receivers, id) == 1) outcomes[id] = withdrawn;
    }
    void close() {
        closed = true;
        while (!receivers.empty()) outcomes[pop(receivers)] = ended;
        while (!senders.empty()) outcomes[pop(senders)] = refused;
    }
};

struct party {
    explicit party(int number) : id(number), item(boxed(number)) {}
    int id;
    box item;  ///< what it sends; stays here unless it is sent
    cancel_scope* scope = nullptr;
    int became = pending;
};

class channel_world {
public:
    explicit channel_world(std::uint64_t seed)
        : random_(seed), pipe_(random_() % 4), model_{.capacity = pipe_.capacity()} {}

    task<> play(task_group& group) {
        for (int step = 0; step < 150 && !failed(); ++step) {
            switch (random_() % 16) {
                case 0: case 1: case 2: case 3: co_await arrive(group, send); break;
                case 4: case 5: case 6: case 7: co_await arrive(group, receive); break;
                case 8: case 9: case 10: cancel_one(); break;
                case 11: try_send(1000 + step); break;
                case 12: try_receive(); break;
                case 13: if (random_() % 8 == 0) close(); break;
                default: co_await settle();
            }
            EXPECT_EQ(pipe_.size(), model_.queue.size());
        }
        close();
        co_await settle();
        if (failed()) group.cancel();
        while (!model_.queue.empty()) try_receive();
        EXPECT_FALSE(pipe_.try_receive());
    }

private:
    static task<int> send(channel_world& world, party& me) {
        const auto done = co_await as_result(world.pipe_.send(std::move(me.item)));
        co_return done.has_value() ? sent : refused;
    }
    static task<int> receive(channel_world& world, party&) {
        const auto got = co_await world.pipe_.receive();
        co_return got ? **got : ended;
    }
    using action = task<int> (*)(channel_world&, party&);

    static task<> act(channel_world& world, party& me, action what) {
        const auto body = [&](task_group& group) -> task<> {
            me.scope = &group.scope();
            me.became = withdrawn;  // unless it says otherwise
            me.became = co_await what(world, me);
        };
        co_await with_task_group(body);
        me.scope = nullptr;
    }

    task<> arrive(task_group& group, action what) {
        co_await settle();  // those who hold a grant go on before the newcomer
        party& fresh = parties_.emplace_back(static_cast<int>(parties_.size()));
        group.spawn(act, std::ref(*this), std::ref(fresh), what);
        if (what == send) model_.send(fresh.id);
        else model_.receive(fresh.id);
        co_await settle();
    }

    /// Cancels one that waits, or one that was granted and does not know it yet.
    void cancel_one() {
        if (parties_.empty()) return;
        party& one = parties_[parties_.size() - 1 - random_() % std::min(parties_.size(), 8UL)];
        if (one.scope == nullptr) return;
        one.scope->cancel();
        model_.withdraw(one.id);
    }

    void try_send(int item) {
        EXPECT_EQ(pipe_.try_send(boxed(item)), model_.try_send(item));
    }
    void try_receive() {
        const auto got = pipe_.try_receive();
        const auto expected = model_.try_receive();
        EXPECT_EQ(got.has_value(), expected.has_value());
        if (got && expected) {
            EXPECT_EQ(**got, *expected);
        }
    }

    void close() {
        pipe_.close();
        model_.close();
    }

    /// Lets everybody run who can, and those to whom they then grant something; and compares.
    task<> settle() {
        co_await yield();
        co_await yield();
        for (const party& one : parties_) {
            const int expected = model_.outcomes[one.id];
            const int became = one.scope != nullptr ? pending : one.became;
            if (became == expected && (one.item == nullptr) == (expected == sent)) continue;
            ADD_FAILURE() << "party " << one.id << " became " << became << ", not " << expected;
        }
    }

    std::mt19937_64 random_;
    channel<box> pipe_;
    channel_model model_;
    std::deque<party> parties_;
};

TEST(channel_property, follows_the_model_under_random_schedules) {
    for (std::uint64_t seed = 1; seed <= 300 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed]() -> task<> {
            channel_world world(seed);
            const auto body = [&](task_group& group) -> task<> { co_await world.play(group); };
            co_await with_task_group(body);
        });
    }
}

// --- random schedules in time: what was sent is what was received, each sender's in order

struct market {
    explicit market(std::uint64_t seed) : random(seed), pipe(random() % 4) {}
    duration span(int most) {
        return std::chrono::microseconds(250) * static_cast<int>(random() % unsigned(most));
    }
    std::mt19937_64 random;
    channel<box> pipe;
    std::vector<int> delivered;
    std::vector<int> received;
    int late = 0;
};

task<> produce(market& in, int first) {
    for (int i = first; i < first + 20 && !in.pipe.is_closed(); ++i) {
        if (in.random() % 2 == 0) co_await sleep_for(in.span(6));
        box item = boxed(i);
        try {
            if (in.random() % 3 == 0) co_await in.pipe.send(std::move(item));
            else if (!co_await move_on_after(in.span(8), in.pipe.send(std::move(item)))) ++in.late;
        } catch (const io_error& error) {
            EXPECT_EQ(error.code(), errc::closed);
        }
        if (item == nullptr) in.delivered.push_back(i);
        else EXPECT_EQ(*item, i);
    }
}

task<> consume(market& in) {
    std::map<int, int> last;  // of each producer
    for (;;) {
        if (in.random() % 2 == 0) co_await sleep_for(in.span(6));
        const auto got = co_await move_on_after(in.span(8), in.pipe.receive());
        if (!got) {
            ++in.late;
            continue;
        }
        if (!*got) co_return;
        const int item = ***got;
        in.received.push_back(item);
        EXPECT_GT(item, std::exchange(last[item / 100], item));
    }
}

TEST(channel_property, neither_loses_nor_doubles_items_under_random_timeouts) {
    int late = 0;
    for (std::uint64_t seed = 1; seed <= 300 && !failed(); ++seed) {
        SCOPED_TRACE(seed);
        simulate([seed, &late]() -> task<> {
            market all(seed);
            const auto trade = [&](task_group& producers) -> task<> {
                for (int i = 1; i <= 3; ++i) producers.spawn(produce, std::ref(all), i * 100);
                if (all.random() % 4 != 0) co_return;
                co_await sleep_for(all.span(60));
                all.pipe.close();
            };
            const auto body = [&](task_group& consumers) -> task<> {
                for (auto i = 1 + all.random() % 3; i != 0; --i)
                    consumers.spawn(consume, std::ref(all));
                co_await with_task_group(trade);
                all.pipe.close();
            };
            co_await with_task_group(body);
            std::ranges::sort(all.delivered);
            std::ranges::sort(all.received);
            EXPECT_EQ(all.received, all.delivered);
            late += all.late;
        });
    }
    EXPECT_GT(late, 300);  // the deadlines did matter
}

}  // namespace
}  // namespace coro
