// The messages between a group and its child on another loop; see remote_child.hpp.
#include "runtime/remote_child.hpp"

#include <new>

#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

void remote_child::start(task_group& group, detail::loop& away, const spawn_options& options,
                         task<>&& child, child_needs&& needs) {
    void* memory = allocate_block(sizeof(remote_child));
    auto* self =
        ::new (memory) remote_child(group, away, options, std::move(child), std::move(needs));
    ++group.alive_;
    scope_access::attach(group.scope_, *self);
    // A group that is cancelled already: its children start, and meet that at their first await.
    self->born_stopped_ = self->told_stop_ = group.scope_.stop_requested();
    self->born_cancelled_ = self->told_cancel_ = group.scope_.is_cancelled();
    self->stop_over_ = scope_access::stop_is_over(group.scope_);
    self->send(self->start_, away, [](posted& what) noexcept {
        message::owner(what).begin();
    });
}

remote_child::remote_child(task_group& group, detail::loop& away, const spawn_options& options,
                           task<>&& child, child_needs&& needs) noexcept
    : stop_listener([](stop_listener& self) noexcept {
          static_cast<remote_child&>(self).group_has_changed();
      }),
      home_(*current),
      away_(away),
      group_(group),
      name_(options.name),
      deadline_(group.scope_.deadline()),
      needs_(std::move(needs)),
      task_(std::move(child)) {
    also_on_cancel = true;
}

void remote_child::send(message& what, detail::loop& to,
                        void (*run)(posted& self) noexcept) noexcept {
    what.of = this;
    what.run = run;
    to.post(what);
}

void remote_child::group_has_changed() noexcept {
    const cancel_scope& scope = group_.scope_;
    if (scope.stop_requested() && !std::exchange(told_stop_, true)) {
        messages_sent_ = true;
        send(stop_, away_, [](posted& what) noexcept {
            remote_child& self = message::owner(what);
            if (self.strand_) self.scope_.request_stop();
        });
    }
    if (scope.is_cancelled() && !std::exchange(told_cancel_, true)) {
        messages_sent_ = true;
        stop_over_ = scope_access::stop_is_over(scope);
        send(cancel_, away_, [](posted& what) noexcept {
            remote_child& self = message::owner(what);
            if (self.strand_) self.cancel_as_the_group();
        });
    }
}

remote_child::child_strand::child_strand(detail::loop& on, cancel_scope& in,
                                         remote_child& of) noexcept
    : strand(on, in), record(of) {
    static constexpr strand_kind as_remote_child{
        .resume = &resume_coroutine,
        .finished =
            [](detail::strand& self) noexcept { static_cast<child_strand&>(self).record.ended(); },
        .granted = nullptr};
    kind = &as_remote_child;
}

void remote_child::begin() noexcept {
    scope_access::open_below(scope_, scheduler_of(away_).root_scope());
    scope_access::set_deadline(scope_, deadline_);
    child_strand& mine = strand_.emplace(away_, scope_, *this);
    mine.name = name_;
    put_first(mine, task_access::promise(*task_), task_access::frame(*task_));
    if (born_stopped_) scope_.request_stop();
    if (born_cancelled_) cancel_as_the_group();
    strand_spawned(mine);
    away_.make_ready(mine);
}

void remote_child::cancel_as_the_group() noexcept {
    if (stop_over_) scope_access::ends_with_stops(scope_);
    scope_.cancel();
}

/// The outermost frame has ended. Its loop lets go of everything before the group hears of it.
void remote_child::ended() noexcept {
    error_ = std::move(task_access::promise(*task_).error);
    tell_hooks_of_end(*strand_);
    strand_->leaf = nullptr;  // what its arguments do when they end finds no frame any more
    strand_->name = nullptr;  // it may end with them
    task_.reset();
    needs_.call.reset();
    strand_.reset();
    scope_access::close(scope_);
    send(done_, home_, [](posted& what) noexcept { message::owner(what).finish(); });
}

void remote_child::finish() noexcept {
    unlink();  // the group tells nothing more
    needs_.loans.reset();
    task_group& group = group_;
    if (error_) [[unlikely]] group.child_ended(name_, std::move(error_));
    if (messages_sent_) {
        send(release_, away_, [](posted& what) noexcept {
            message::owner(what).destroy();
        });
    } else {
        destroy();
    }
    group.leave();
}

void remote_child::destroy() noexcept {
    this->~remote_child();
    free_block(this, sizeof(remote_child));
}

}}}  // namespace coro::v0::detail
