// The engine of the matrix: one case from its baseline to the last look at what is left.
#include "matrix_support.hpp"

#include <cstdio>
#include <cstdlib>
#include <stdexcept>

#include <coro/core/with_cancel_scope.hpp>

#include "poller/inflight_registry.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

/// Longer than any deadline of the drivers: under it nothing times out by itself.
constexpr duration shield_limit = 10min;
constexpr duration short_deadline = 5ms;

/// What a failing sibling throws.
struct planned_failure : std::runtime_error {
    planned_failure() : std::runtime_error("planned") {}
};

/// How the await around the operation ended.
enum class way_out : std::uint8_t { value, swallowed, deadline, failure, cancelled, other };

class case_run {
public:
    case_run(const point& where, const case_kind& kind, poller_choice world,
             void (*before_end)()) noexcept
        : where_(where), kind_(kind), world_(world), before_end_(before_end) {}

    task<> main();
    std::vector<std::string> complaints;

private:
    task<> control(task_group& group);
    task<> enclosed();
    task<> enclosed_by_group();
    task<> failing_sibling();
    task<> subject();
    task<> watch();
    task<> watched(task<> work);
    task<> reach_point();
    task<> apply();
    task<> aftermath();

    void complain(std::string what) { complaints.push_back(std::move(what)); }
    void check_end();

    const point& where_;
    case_kind kind_;
    poller_choice world_;
    void (*before_end_)();
    std::unique_ptr<driver> driver_;
    outcome outcome_;
    way_out left_ = way_out::other;
    detail::strand* strand_ = nullptr;  ///< of the operation, while it runs
    bool reached_ = false;
    cancel_scope* scope_ = nullptr;
    time_point deadline_ = never;
    event fail_;
    event ended_;
};

task<> case_run::main() {
    const alive_counts before = count_alive();
    driver_ = where_.make();
    co_await watched(driver_->prepare(kind_.how));
    const auto body = [this](task_group& group) -> task<> { co_await control(group); };
    try {
        co_await with_task_group(body);
    } catch (const cancelled&) {
        if (kind_.how != ending::shutdown) complain("cancelled came out of the whole case");
    } catch (const std::exception& problem) {
        complain(std::string("the driver threw ") + problem.what());
    }
    check_end();
    try {
        co_await shield(watched(driver_->verify(outcome_)), shield_limit);
    } catch (const std::exception& problem) {
        complain(std::string("the object does not work any more: ") + problem.what());
    }
    for (const std::string& each : driver_->complaints()) complain(each);
    driver_.reset();
    // What was closed while something was pending on it goes at the last completion.
    for (int turn = 0; turn < 500 && count_alive() != before; ++turn)
        co_await shield(sleep_for(1ms));
    for (std::string& each : leaks(before, count_alive())) complain(std::move(each));
    if (before_end_ != nullptr) before_end_();
}

task<> case_run::control(task_group& group) {
    group.spawn(enclosed());
    group.spawn(watch());
    co_await reach_point();
    if (kind_.with == race::event_first) co_await driver_->complete();
    co_await apply();
    co_await shield(aftermath(), shield_limit);
    group.cancel();
}

/// Waits until the operation hangs where the driver wants it.
task<> case_run::reach_point() {
    for (int turn = 0; !ended_.is_set(); ++turn) {
        const bool waits = strand_ != nullptr && strand_->waiting != nullptr;
        if (strand_ != nullptr && driver_->at_point(waits)) {
            reached_ = true;
            break;
        }
        if (turn < 4) co_await yield();
        else co_await sleep_for(1ms);
    }
    if (!kind_.at_once && kind_.how != ending::timeout) co_await sleep_for(2ms);
}

task<> case_run::apply() {
    cancel_scope& root = scheduler_of(*current).root_scope();
    switch (kind_.how) {
        case ending::cancel:
            if (scope_ != nullptr) scope_->cancel();
            break;
        case ending::timeout:
            if (kind_.with != race::alone) co_await sleep_until(deadline_);
            break;
        case ending::scope_end: fail_.set(); break;
        case ending::peer_reset: co_await driver_->reset(); break;
        case ending::shutdown:
            root.request_stop();
            if (!kind_.second_way) co_await sleep_for(1ms);
            root.cancel();
            break;
    }
}

task<> case_run::aftermath() {
    const bool goes_on = driver_->shielded() && kind_.how != ending::peer_reset;
    if (goes_on) {
        co_await sleep_for(2 * short_deadline);
        if (ended_.is_set() && kind_.with == race::alone) complain("the shield did not hold");
    }
    if (goes_on || kind_.with == race::event_last) co_await driver_->complete();
    co_await ended_.wait();
}

/// A case that hangs names itself.
task<> case_run::watch() {
    co_await sleep_for(world_ == poller_choice::simulation ? duration(1h) : duration(30s));
    std::fprintf(stderr, "hang: %s, %.*s at %.*s, %s\n%s\n", world_name(world_).c_str(),
                 static_cast<int>(where_.operation.size()), where_.operation.data(),
                 static_cast<int>(where_.where.size()), where_.where.data(),
                 to_text(kind_).c_str(), dump_tasks().c_str());
    std::abort();
}

task<> case_run::watched(task<> work) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn(watch());
        co_await std::move(work);
        group.cancel();
    };
    co_await with_task_group(body);
}

task<> case_run::subject() {
    strand_ = current->running;
    try {
        co_await driver_->operate();
        outcome_.kind = outcome_kind::value;
    } catch (const cancelled& end) {
        strand_ = nullptr;
        outcome_ = {outcome_kind::cancelled, {}, end.bytes_transferred()};
        throw;
    } catch (const io_error& problem) {
        outcome_ = {outcome_kind::error, problem.code(), problem.bytes_transferred()};
    }
    strand_ = nullptr;
}

task<> case_run::failing_sibling() {
    co_await fail_.wait();
    throw planned_failure();
}

task<> case_run::enclosed_by_group() {
    const auto body = [this](task_group& group) -> task<> {
        group.spawn(subject());
        if (kind_.second_way) co_await failing_sibling();
        else group.spawn(failing_sibling());
    };
    co_await with_task_group(body);
}

/// The operation inside of what its ending needs.
task<> case_run::enclosed() {
    try {
        switch (kind_.how) {
            case ending::cancel: {
                const auto body = [this](cancel_scope& scope) -> task<> {
                    const known_scope known(scope_, scope);
                    co_await subject();
                };
                left_ = co_await with_cancel_scope(body) ? way_out::value : way_out::swallowed;
                break;
            }
            case ending::timeout:
                deadline_ = now() + short_deadline;
                co_await with_deadline(deadline_, subject());
                left_ = way_out::value;
                break;
            case ending::scope_end: co_await enclosed_by_group(); break;
            case ending::peer_reset:
            case ending::shutdown:
                co_await subject();
                left_ = way_out::value;
                break;
        }
    } catch (const cancelled&) {
        left_ = way_out::cancelled;
    } catch (const io_error& problem) {
        left_ = problem.code() == errc::deadline_exceeded ? way_out::deadline : way_out::other;
    } catch (const planned_failure&) {
        left_ = way_out::failure;
    }
    scope_ = nullptr;
    ended_.set();
}

void case_run::check_end() {
    if (!driver_->documented(kind_, outcome_)) complain("ended with " + to_text(outcome_));
    const bool by_time = kind_.how == ending::timeout || driver_->ends_by_itself(kind_.how);
    if (!reached_ && !by_time)
        complain("ended before it was at its suspension point");
    way_out expected = way_out::value;
    if (kind_.how == ending::scope_end) {
        expected = way_out::failure;
    } else if (outcome_.is(outcome_kind::cancelled)) {
        if (kind_.how == ending::cancel) expected = way_out::swallowed;
        else if (kind_.how == ending::timeout) expected = way_out::deadline;
        else expected = way_out::cancelled;
    }
    if (left_ != expected)
        complain("what is around it ended in way " + std::to_string(static_cast<int>(left_)) +
                 ", expected " + std::to_string(static_cast<int>(expected)));
}

}  // namespace

std::string_view ending_name(ending which) {
    switch (which) {
        case ending::cancel: return "cancel";
        case ending::timeout: return "timeout";
        case ending::scope_end: return "scope's end";
        case ending::peer_reset: return "peer reset";
        case ending::shutdown: return "shutdown";
    }
    return "?";
}

std::string to_text(const case_kind& kind) {
    std::string text(ending_name(kind.how));
    if (kind.with == race::event_first) text += ", the event before it";
    if (kind.with == race::event_last) text += ", the event after it";
    if (!kind.at_once) text += ", late";
    if (kind.second_way) text += ", second way";
    return text;
}

std::string to_text(const outcome& what) {
    switch (what.kind) {
        case outcome_kind::pending: return "nothing";
        case outcome_kind::value: return "a value";
        case outcome_kind::cancelled: return "cancelled";
        case outcome_kind::error: return "the error " + what.error.message();
    }
    return "?";
}

std::vector<case_kind> kinds_of(ending how) {
    std::vector<case_kind> kinds;
    const bool races = how != ending::peer_reset;
    const bool two_ways = how == ending::scope_end || how == ending::shutdown;
    for (const race with : {race::alone, race::event_first, race::event_last}) {
        if (with != race::alone && !races) continue;
        // Before its deadline an operation would simply complete.
        if (with == race::event_first && how == ending::timeout) continue;
        for (const bool at_once : {true, false}) {
            if (how == ending::timeout && !at_once) continue;
            for (const bool second_way : {false, true}) {
                if (second_way && !two_ways) continue;
                kinds.push_back({how, with, at_once, second_way});
            }
        }
    }
    return kinds;
}

bool driver::documented(const case_kind& kind, const outcome& ended) const {
    if (kind.how == ending::peer_reset || shielded()) return ended.is(outcome_kind::value);
    if (ended.is(outcome_kind::value)) return kind.with != race::alone;
    return ended.is(outcome_kind::cancelled);
}

alive_counts count_alive() {
    const loop_stats now = current_loop_stats();
    return {now.frames, now.sockets, now.operations, now.leases, now.timers_armed};
}

std::vector<std::string> leaks(const alive_counts& before, const alive_counts& after) {
    std::vector<std::string> found;
    const auto compare = [&](const char* what, auto then, auto now) {
        if (then == now) return;
        found.push_back("leak: " + std::to_string(then) + " " + what + " before, " +
                        std::to_string(now) + " after");
    };
    compare("frames", before.frames, after.frames);
    compare("sockets", before.sockets, after.sockets);
    compare("operations", before.operations, after.operations);
    compare("leases", before.leases, after.leases);
    compare("timers", before.timers, after.timers);
    return found;
}

std::vector<std::string> run_case(const point& where, const case_kind& kind, poller_choice world,
                                  void (*before_end)()) {
    const std::size_t descriptors = open_descriptors();
    case_run one(where, kind, world, before_end);
    try {
        run(one.main(), {.poller = world,
                         .strict = insists(world),
                         .signals = signal_policy::leave,
                         .raise_descriptor_limit = false});
    } catch (const std::exception& problem) {
        one.complaints.push_back(std::string("the case threw ") + problem.what());
    }
    if (inflight_registry::count() != 0) one.complaints.emplace_back("receives are pending");
    if (open_descriptors() != descriptors) one.complaints.emplace_back("descriptors leaked");
    return std::move(one.complaints);
}

task<> stream_pair::open(bool narrow) {
    net::stream_options options;
    if (narrow) {
        options.receive_buffer_bytes = 4096;
        options.send_buffer_bytes = 4096;
    }
    net::listen_options listening;
    listening.accepted = options;
    net::connect_options connecting;
    connecting.stream = options;
    net::tcp_listener listener =
        net::tcp_listener::bind(net::endpoint::loopback(0), listening);
    near = co_await net::tcp_stream::connect(listener.local_endpoint(), connecting);
    far = co_await listener.accept();
}

void stream_pair::reset_far() {
    net::stream_options abortive;
    abortive.linger = std::chrono::seconds(0);
    far.set_options(abortive);
    far.close();
}

}}}  // namespace coro::v0::detail::conformance
