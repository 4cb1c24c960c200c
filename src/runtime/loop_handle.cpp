// loop_handle and sync_wait: foreign threads come in through a gate that knows whether the loop
// lives.
#include <coro/runtime/loop_handle.hpp>

#include <condition_variable>
#include <mutex>
#include <optional>

#include <coro/runtime/detail/this_strand.hpp>
#include <coro/runtime/task_group.hpp>

#include "runtime/loop_team.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 {
namespace detail {

/// Lives on the waiting thread's side; the loop writes it until `over`.
struct foreign_run::state {
    using message = message_of<state>;
    class foreign_strand final : public strand {
    public:
        foreign_strand(scheduler& on, state& waited_for) noexcept
            : strand(on, on.root_scope()), owner(waited_for) {
            static constexpr strand_kind as_foreign_run{
                .resume = &resume_coroutine,
                .finished =
                    [](strand& self) noexcept {
                        static_cast<foreign_strand&>(self).owner.ended();
                    },
                .granted = nullptr};
            kind = &as_foreign_run;
        }
        state& owner;
    };

    void begin() noexcept {
        scheduler& loop = scheduler_of(*current);
        if (loop.refuses_foreign_tasks()) {
            refused = true;
            return tell();
        }
        loop.foreign_task_began();
        foreign_strand& mine = running.emplace(loop, *this);
        mine.name = "sync_wait";
        put_first(mine, *root, frame);
        strand_spawned(mine);
        loop.make_ready(mine);
    }
    void ended() noexcept {
        scheduler& loop = scheduler_of(*current);
        strand_ended(*running);
        running.reset();
        loop.foreign_task_ended();
        tell();
    }
    /// The waiting thread cannot leave, and take this object with it, before the lock is free.
    void tell() noexcept {
        const std::lock_guard lock(guard);
        over = true;
        changed.notify_one();
    }

    task_promise_base* root = nullptr;
    std::coroutine_handle<> frame;
    message start;
    std::optional<foreign_strand> running;
    std::mutex guard;
    std::condition_variable changed;
    bool over = false;
    bool refused = false;
};

foreign_run::foreign_run(task_promise_base& root, std::coroutine_handle<> frame)
    : state_(std::make_unique<state>()) {
    state_->root = &root;
    state_->frame = frame;
}
foreign_run::~foreign_run() = default;

void foreign_run::run_on(const loop_handle& where) {
    state_->start.of = state_.get();
    state_->start.run = [](posted& self) noexcept {
        state::message::owner(self).begin();
    };
    if (!where.hand_over(state_->start)) throw io_error(errc::closed, "sync_wait");
    std::unique_lock lock(state_->guard);
    state_->changed.wait(lock, [this] { return state_->over; });
    if (state_->refused || is_cancelled_exception(state_->root->error))
        throw io_error(errc::closed, "sync_wait");
}

}  // namespace detail

unsigned loop_count() noexcept { return detail::this_loop().team->size(); }
unsigned loop_index() noexcept { return detail::this_loop().index; }

loop_handle loop_handle::of_this_loop() noexcept {
    detail::loop& loop = detail::this_loop();
    return loop_handle(detail::scheduler_of(loop).gate(), loop);
}

bool loop_handle::hand_over(detail::posted& work) const noexcept {
    // A loop of the same run lives: no lock. The lock is for everybody else.
    if (detail::is_of_this_run(id_)) {
        if (gate_->is_closed()) return false;
        loop_->post(work);
        return true;
    }
    return gate_->post(work);
}

bool loop_handle::has_ended() const noexcept { return gate_->has_ended(); }

}}  // namespace coro::v0
