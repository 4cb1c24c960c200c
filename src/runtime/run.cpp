// run(): makes a loop, drives it until the root task has ended, and checks that nothing is left.
#include <coro/runtime/run.hpp>

#include <cstdio>
#include <string>

#include <coro/base/report.hpp>
#include <coro/core/cancel_scope.hpp>
#include <coro/runtime/task_group.hpp>
#include <coro/runtime/sleep.hpp>

#include "runtime/make_poller.hpp"
#include "runtime/process.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/signals.hpp"

namespace coro::inline v0 {
namespace detail {
namespace {

/// The strand of the task given to run().
class root_strand final : public context {
public:
    root_strand(scheduler& on, task_promise_base& root, std::coroutine_handle<> frame) noexcept
        : context(on, on.root_scope()) {
        name = "main";
        static constexpr strand_kind as_root{.resume = &resume_coroutine,
                                             .finished =
                                                 [](context& self) noexcept {
                                                     scheduler_of(*self.loop).ending = true;
                                                     strand_ended(self);
                                                 },
                                             .granted = nullptr};
        kind = &as_root;
        resume_point = frame;
        root.strand = this;
        root.state = frame_state::detached;
        leaf = &root;
        strand_spawned(*this);
        on.make_ready(*this);
    }
};

/// What the first and second signal do to a loop: stop, cancel after the drain, cancel.
class stop_by_signal {
public:
    stop_by_signal(scheduler& loop, duration drain) noexcept : loop_(loop), drain_(drain) {
        loop.set_turn_hook([](void* self) noexcept { static_cast<stop_by_signal*>(self)->look(); },
                           this);
    }
    stop_by_signal(const stop_by_signal&) = delete;
    stop_by_signal& operator=(const stop_by_signal&) = delete;
    ~stop_by_signal() {
        loop_.set_turn_hook(nullptr, nullptr);
        if (timer_.armed()) loop_.disarm_timer(timer_);
    }

private:
    void look() noexcept {
        const unsigned received = stop_signals_received();
        if (received == seen_) return;
        if (seen_ == 0) {
            loop_.root_scope().request_stop();
            if (received == 1 && drain_ > duration::zero())
                loop_.arm_timer(timer_, saturating_add(loop_.read_clock(), drain_));
            else
                loop_.root_scope().cancel();
        } else {
            loop_.root_scope().cancel();
        }
        seen_ = received;
    }

    struct drain_timer : timer_node {
        explicit drain_timer(cancel_scope& scope) noexcept
            : timer_node([](timer_node& fired) noexcept {
                  static_cast<drain_timer&>(fired).root.cancel();
              }),
              root(scope) {}
        cancel_scope& root;
    };

    scheduler& loop_;
    duration drain_;
    unsigned seen_ = 0;
    drain_timer timer_{loop_.root_scope()};
};

[[noreturn]] void throw_no_poller(const std::string& reason) {
    throw io_error(std::make_error_code(std::errc::operation_not_supported), "run", reason);
}

scheduler* make_scheduler(const run_options& options) {
    CORO_ASSERT(current == nullptr,
                "run() inside of run() on one thread: co_await the task instead");
    if (options.loops != 1)
        throw io_error(std::make_error_code(std::errc::invalid_argument), "run",
                       "options.loops must be 1 in this version");
    if (options.raise_descriptor_limit) raise_descriptor_limit();
    poller_options world;
    world.seed = options.seed;
    made_poller made = make_poller(options.poller, options.strict, world);
    if (made.instance == nullptr) throw_no_poller(made.reason);
    if (made.fell_back)
        report({.level = severity::info, .verb = "run", .endpoint = {}, .error = {},
                .text = made.reason, .task = {}});
    scheduler_options how;
    how.virtual_time = made.instance->name() == "simulation";
    how.spin = options.spin;
    how.loops = options.loops;
    how.hooks = options.hooks;
    how.poller_reason = std::move(made.reason);
    return new scheduler(std::move(made.instance), std::move(how));
}

}  // namespace

loop_runner::loop_runner(const run_options& options)
    : scheduler_(make_scheduler(options)), options_(options) {
    current = scheduler_;
}

loop_runner::~loop_runner() {
    // Sockets whose owners have just gone close at the last completion of what they had pending.
    scheduler_->ending = false;
    while (scheduler_->world().census().operations != 0) scheduler_->turn();
    scheduler_->take_posted();  // whoever posted waits for nothing any more, but owns memory
    current->blocks.release();
    current = nullptr;
    delete scheduler_;
}

void loop_runner::drive(task_promise_base& root, std::coroutine_handle<> frame) {
    const bool handle =
        options_.signals == signal_policy::handle && !scheduler_->world_is_virtual();
    const signal_guard signals(handle, scheduler_->world());
    root_strand strand(*scheduler_, root, frame);
    {
        const stop_by_signal stop(*scheduler_, options_.drain);
        while (!scheduler_->ending) scheduler_->turn();
    }
    signal_ = signals.last_signal();
}

void loop_runner::forbid_cancelled(std::exception_ptr& error) const {
    if (is_cancelled_exception(error)) error = std::make_exception_ptr(interrupted(signal_));
}

int report_exit(const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const interrupted& end) {
        if (end.signal() != 0) return 0;
        std::fprintf(stderr, "coro: main ended: %s\n", end.what());
    } catch (const std::exception& problem) {
        std::fprintf(stderr, "coro: main ended: %s\n", problem.what());
    } catch (...) {
        std::fprintf(stderr, "coro: main ended with an exception that is no std::exception\n");
    }
    return 1;
}

}  // namespace detail

std::string_view poller_reason() noexcept {
    return detail::scheduler_of(detail::this_loop()).reason();
}

}  // namespace coro::inline v0
