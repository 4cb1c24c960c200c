// Every public operation × every suspension point × every poller × every way to end it: the outcome
// is the documented one, nothing that was taken is lost, and nothing leaks. See matrix_support.hpp.
#include <cstdio>
#include <map>
#include <optional>

#include "matrix_support.hpp"

namespace coro::inline v0::detail::conformance {
namespace {

struct operation_line {
    std::string_view name;
    std::string_view category;
};

constexpr operation_line listed[] = {
#define CORO_OPERATION(name, category) {#name, category},
#include "operations.def"
#undef CORO_OPERATION
};

std::vector<point> all_points() {
    std::vector<point> points = synchronisation_points();
    for (auto* const more : {combinator_points, stream_points, buffered_points, service_points}) {
        for (const point& each : more()) points.push_back(each);
    }
    return points;
}

/// operation -> ending -> how many cases passed or failed.
using table = std::map<std::string_view, std::map<ending, int>>;

/// The cells of `listed` × endings in which there is no case.
template <typename Lines>
std::vector<std::string> empty_cells(const table& counts, const Lines& lines) {
    std::vector<std::string> empty;
    for (const operation_line& line : lines) {
        if (line.category == "loops") continue;
        for (const ending how : all_endings) {
            const auto row = counts.find(line.name);
            if (row != counts.end() && row->second.contains(how) && row->second.at(how) > 0)
                continue;
            empty.push_back(std::string(line.name) + ": " + std::string(ending_name(how)));
        }
    }
    return empty;
}

void print(const table& counts, poller_choice world) {
    std::printf("%-44s", world_name(world).c_str());
    for (const ending how : all_endings) std::printf("%12s", ending_name(how).data());
    std::printf("\n");
    for (const operation_line& line : listed) {
        if (line.category == "loops") continue;
        std::printf("%-44s", line.name.data());
        for (const ending how : all_endings) {
            const auto row = counts.find(line.name);
            std::printf("%12d", row == counts.end() ? 0 : row->second.at(how));
        }
        std::printf("\n");
    }
    std::fflush(stdout);
}

class matrix_test : public ::testing::TestWithParam<poller_choice> {};
INSTANTIATE_TEST_SUITE_P(all_worlds, matrix_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(matrix_test, every_operation_ends_in_every_way) {
    table counts;
    // For work on one driver: CORO_MATRIX=mutex runs the operations whose names contain it.
    const char* const only = std::getenv("CORO_MATRIX");
    for (const point& each : all_points()) {
        if (only != nullptr && each.operation.find(only) == std::string_view::npos) continue;
        for (const ending how : all_endings) {
            for (const case_kind& kind : kinds_of(how)) {
                ++counts[each.operation][how];
                for (const std::string& wrong : run_case(each, kind, GetParam()))
                    ADD_FAILURE() << each.operation << " (" << each.where << "), "
                                  << to_text(kind) << ": " << wrong;
            }
        }
    }
    if (only != nullptr) return;
    print(counts, GetParam());
    for (const std::string& cell : empty_cells(counts, listed))
        ADD_FAILURE() << "no case in the cell " << cell;
}

// --- the same when fibers await

/// A driver whose operation is awaited by a fiber, on a stack of its own.
class fiber_driver final : public driver {
public:
    /// What the next one drives.
    static const point*& next() {
        static const point* which = nullptr;
        return which;
    }

    task<> prepare(ending how) override { return inner_->prepare(how); }
    task<> operate() override {
        co_await fiber([this] { await(inner_->operate()); });
    }
    task<> complete() override { return inner_->complete(); }
    task<> reset() override { return inner_->reset(); }
    task<> verify(const outcome& ended) override {
        co_await inner_->verify(ended);
        for (const std::string& wrong : inner_->complaints()) check(false, wrong);
    }
    bool at_point(bool waits) override { return inner_->at_point(waits); }
    [[nodiscard]] bool shielded() const override { return inner_->shielded(); }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        return inner_->documented(kind, ended);
    }

private:
    std::unique_ptr<driver> inner_ = next()->make();
};

TEST_P(matrix_test, every_operation_ends_in_every_way_when_a_fiber_awaits_it) {
    const char* const only = std::getenv("CORO_MATRIX");
    for (const point& each : all_points()) {
        if (only != nullptr && each.operation.find(only) == std::string_view::npos) continue;
        fiber_driver::next() = &each;
        const point wrapped = make_point<fiber_driver>(each.operation, each.where);
        for (const ending how : all_endings) {
            const case_kind kind = kinds_of(how).front();
            for (const std::string& wrong : run_case(wrapped, kind, GetParam()))
                ADD_FAILURE() << each.operation << " in a fiber (" << each.where << "), "
                              << to_text(kind) << ": " << wrong;
        }
    }
}

TEST(matrix_rules_test, each_driver_is_of_a_listed_operation) {
    for (const point& each : all_points()) {
        bool found = false;
        for (const operation_line& line : listed) found = found || line.name == each.operation;
        EXPECT_TRUE(found) << each.operation << " is not in operations.def";
    }
}

TEST(matrix_rules_test, an_operation_without_a_driver_is_seen) {
    table counts;
    for (const ending how : all_endings) counts["coro::a"][how] = 1;
    counts["coro::a"][ending::timeout] = 0;
    const std::array lines{operation_line{"coro::a", "x"}, operation_line{"coro::b", "x"}};
    EXPECT_EQ(empty_cells(counts, lines).size(), 1 + all_endings.size());
}

// --- canaries: each leaks one kind of thing, which the same check must find

/// What a canary keeps beyond the end of its case, until let_fly() takes it back.
class cage {
public:
    std::optional<task<>> frame;
    stream_pair pair;
    net::read_lease lease;
    std::optional<timer_node> timer;

    static cage& only() {
        static cage instance;
        return instance;
    }
    static void let_fly() {
        cage& kept = only();
        kept.frame.reset();
        kept.lease = {};
        kept.pair.near.close();
        kept.pair.far.close();
        if (kept.timer) current->disarm_timer(*kept.timer);
        kept.timer.reset();
    }
};

task<> never_awaited() { co_return; }

enum class canary : std::uint8_t { frame, socket, lease, timer, outcome, lost };

/// A wait for an event that goes wrong in one way.
class canary_driver final : public driver {
public:
    explicit canary_driver(canary kind) : kind_(kind) {}

    task<> prepare(ending) override {
        cage& kept = cage::only();
        switch (kind_) {
            case canary::frame: kept.frame.emplace(never_awaited()); break;
            case canary::socket: co_await kept.pair.open(); break;
            case canary::lease:
                co_await kept.pair.open();
                co_await net::write_all(kept.pair.far, as_bytes("x"));
                kept.lease = co_await kept.pair.near.read_leased();
                kept.pair.near.close();
                kept.pair.far.close();
                break;
            case canary::timer:
                kept.timer.emplace([](timer_node&) noexcept {});
                current->arm_timer(*kept.timer, now() + 1h);
                break;
            default: break;
        }
    }
    task<> operate() override {
        try {
            co_await gate_.wait();
        } catch (const cancelled&) {
            if (kind_ != canary::outcome) throw;
        }
    }
    task<> complete() override {
        gate_.set();
        co_return;
    }
    task<> verify(const outcome&) override {
        check(kind_ != canary::lost, "something was lost");
        co_return;
    }

private:
    canary kind_;
    event gate_;
};

/// Runs the canary through run_case() and answers all its complaints in one text.
template <canary Kind>
std::string sing(poller_choice world) {
    const point where = make_point<canary_driver, Kind>("canary", "in its cage");
    std::string all;
    for (const std::string& each : run_case(where, {}, world, &cage::let_fly)) all += each + "\n";
    return all;
}

TEST_P(matrix_test, canaries_are_caught) {
    const auto caught = [](const std::string& complaints, std::string_view word) {
        EXPECT_NE(complaints.find(word), std::string::npos) << "complaints: " << complaints;
        EXPECT_EQ(std::count(complaints.begin(), complaints.end(), '\n'), 1) << complaints;
    };
    caught(sing<canary::frame>(GetParam()), "frames");
    caught(sing<canary::socket>(GetParam()), "sockets");
    caught(sing<canary::lease>(GetParam()), "leases");
    caught(sing<canary::timer>(GetParam()), "timers");
    caught(sing<canary::lost>(GetParam()), "something was lost");
    EXPECT_NE(sing<canary::outcome>(GetParam()).find("ended with a value"), std::string::npos);
}

}  // namespace
}  // namespace coro::inline v0::detail::conformance
