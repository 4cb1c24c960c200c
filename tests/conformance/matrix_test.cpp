// Every public operation × every suspension point × every poller × every way to end it: the outcome
// is the documented one, nothing that was taken is lost, and nothing leaks. See matrix_support.hpp.
#include <compare>
#include <cstdio>
#include <fstream>
#include <map>
#include <optional>

#include "matrix_support.hpp"
#include "support/leftovers.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
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

/// `with_descriptors`: also of the operations that a simulation refuses.
std::vector<point> all_points(bool with_descriptors = true) {
    std::vector<point> points = synchronisation_points();
    for (auto* const more : {gathering_points, combinator_points, stream_points, buffered_points,
                             service_points, copy_points, local_points, pool_points,
                             shared_points}) {
        for (const point& each : more()) points.push_back(each);
    }
    if (with_descriptors)
        for (const point& each : descriptor_points()) points.push_back(each);
    return points;
}

std::vector<point> points_in(poller_choice world) {
    return all_points(world != poller_choice::simulation);
}

/// An operation at one of its suspension points.
struct row_name {
    std::string_view operation;
    std::string_view where;
    friend auto operator<=>(const row_name&, const row_name&) = default;
};
/// Row -> ending -> how many cases were run.
using table = std::map<row_name, std::map<ending, int>>;

/// The cells of rows × endings in which there was no case, and the `listed` without a row.
template <typename Lines>
std::vector<std::string> empty_cells(const table& counts, const Lines& lines,
                                     poller_choice world) {
    std::vector<std::string> empty;
    for (const operation_line& line : lines) {
        if (line.category == "loops") continue;
        if (line.category == "descriptor" && world == poller_choice::simulation) continue;
        const auto row = counts.lower_bound({line.name, ""});
        if (row == counts.end() || row->first.operation != line.name)
            empty.push_back(std::string(line.name) + ": no suspension point");
    }
    for (const auto& [row, cells] : counts) {
        for (const ending how : all_endings) {
            const auto cell = cells.find(how);
            if (cell != cells.end() && cell->second > 0) continue;
            empty.push_back(std::string(row.operation) + " (" + std::string(row.where) +
                            "): " + std::string(ending_name(how)));
        }
    }
    return empty;
}

void print(const table& counts, poller_choice world) {
    const std::string head = world_name(world) + ": cases of each operation at each point";
    std::printf("%-88s", head.c_str());
    for (const ending how : all_endings) std::printf("%12s", ending_name(how).data());
    std::printf("\n");
    for (const auto& [row, cells] : counts) {
        const std::string name = std::string(row.operation) + ", " + std::string(row.where);
        std::printf("%-88s", name.c_str());
        for (const ending how : all_endings) std::printf("%12d", cells.at(how));
        std::printf("\n");
    }
    std::fflush(stdout);
}

class matrix_test : public ::testing::TestWithParam<poller_choice> {};
INSTANTIATE_TEST_SUITE_P(all_worlds, matrix_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// One world, and the operations of which one test of several takes its share: they wait more than
/// they compute, and shards run side by side.
struct part {
    poller_choice world = poller_choice::automatic;
    std::size_t number = 0;

    static constexpr std::size_t count = 3;
    [[nodiscard]] bool has(std::string_view operation) const {
        std::size_t sum = 0;
        for (const char each : operation) sum = sum * 31 + static_cast<unsigned char>(each);
        return sum % count == number;
    }
};
std::vector<part> all_parts() {
    std::vector<part> all;
    for (const poller_choice world : all_worlds())
        for (std::size_t number = 0; number < part::count; ++number) all.push_back({world, number});
    return all;
}
std::string part_name(const ::testing::TestParamInfo<part>& info) {
    return world_name(info.param.world) + "_" + std::to_string(info.param.number + 1);
}

class matrix_parts_test : public ::testing::TestWithParam<part> {};
INSTANTIATE_TEST_SUITE_P(all_worlds, matrix_parts_test, ::testing::ValuesIn(all_parts()),
                         part_name);

TEST_P(matrix_parts_test, every_operation_ends_in_every_way) {
    const part mine = GetParam();
    table counts;
    // For work on one driver: CORO_MATRIX=mutex runs the operations whose names contain it.
    const char* const only = std::getenv("CORO_MATRIX");
    for (const point& each : points_in(mine.world)) {
        if (!mine.has(each.operation)) continue;
        if (only != nullptr && each.operation.find(only) == std::string_view::npos) continue;
        for (const ending how : all_endings) {
            for (const case_kind& kind : kinds_of(how)) {
                ++counts[{each.operation, each.where}][how];
                for (const std::string& wrong : run_case(each, kind, mine.world))
                    ADD_FAILURE() << each.operation << " (" << each.where << "), "
                                  << to_text(kind) << ": " << wrong;
            }
        }
    }
    if (only != nullptr) return;
    print(counts, mine.world);
    std::vector<operation_line> lines;
    for (const operation_line& each : listed)
        if (mine.has(each.name)) lines.push_back(each);
    for (const std::string& cell : empty_cells(counts, lines, mine.world))
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
    [[nodiscard]] bool ends_by_itself(ending how) const override {
        return inner_->ends_by_itself(how);
    }
    [[nodiscard]] bool shielded() const override { return inner_->shielded(); }
    [[nodiscard]] bool documented(const case_kind& kind, const outcome& ended) const override {
        return inner_->documented(kind, ended);
    }

private:
    std::unique_ptr<driver> inner_ = next()->make();
};

TEST_P(matrix_test, every_operation_ends_in_every_way_when_a_fiber_awaits_it) {
    const char* const only = std::getenv("CORO_MATRIX");
    for (const point& each : points_in(GetParam())) {
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
    for (const std::string_view where : {"empty", "full"})
        for (const ending how : all_endings) counts[{"coro::a", where}][how] = 1;
    counts[{"coro::a", "full"}][ending::timeout] = 0;
    const std::array lines{operation_line{"coro::a", "x"}, operation_line{"coro::b", "x"},
                           operation_line{"coro::c", "descriptor"}};
    const std::string full = "coro::a (full): timeout";
    EXPECT_EQ(empty_cells(counts, lines, poller_choice::epoll),
              (std::vector<std::string>{"coro::b: no suspension point",
                                        "coro::c: no suspension point", full}));
    EXPECT_EQ(empty_cells(counts, lines, poller_choice::simulation),
              (std::vector<std::string>{"coro::b: no suspension point", full}));
}

TEST(matrix_rules_test, no_two_drivers_are_of_the_same_point) {
    std::map<row_name, int> rows;
    for (const point& each : all_points()) {
        const row_name name{each.operation, each.where};
        EXPECT_EQ(++rows[name], 1) << each.operation << ", " << each.where;
    }
}

// --- canaries: each leaks one kind of thing, which the same check must find

/// What a canary keeps beyond the end of its case, until let_fly() takes it back.
class cage {
public:
    std::optional<task<>> frame;
    stream_pair pair;
    net::read_lease lease;
    std::optional<timer_node> timer;
    std::ifstream descriptor;

    static cage& only() {
        static cage instance;
        return instance;
    }
    static void let_fly() {
        cage& kept = only();
        if (kept.frame) {
            const coro_test::unstarted_tasks_expected dropped;
            kept.frame.reset();
        }
        kept.lease = {};
        kept.pair.near.close();
        kept.pair.far.close();
        if (kept.timer) current->disarm_timer(*kept.timer);
        kept.timer.reset();
    }
};

task<> never_awaited() { co_return; }

enum class canary : std::uint8_t { frame, socket, lease, timer, descriptor, outcome, lost, hang };

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
            case canary::hang: co_await gate_.wait(); break;
            case canary::descriptor: kept.descriptor.open("/proc/self/stat"); break;
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
    cage::only().descriptor.close();  // descriptors are counted when the loop has gone
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
    caught(sing<canary::descriptor>(GetParam()), "descriptors");
    caught(sing<canary::lost>(GetParam()), "something was lost");
    EXPECT_NE(sing<canary::outcome>(GetParam()).find("ended with a value"), std::string::npos);
}

/// In virtual time, in which the patience of the real worlds costs nothing.
TEST(matrix_death_test, a_case_that_hangs_names_itself) {
    EXPECT_DEATH(sing<canary::hang>(poller_choice::simulation),
                 "hang: simulation, canary at in its cage, cancel");
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
