// Task groups: the record of a child, its end, and the group's verdict.
#include <coro/runtime/task_group.hpp>

#include <string>

#include <coro/base/report.hpp>

#include "runtime/group_child.hpp"
#include "runtime/loop_team.hpp"
#include "runtime/remote_child.hpp"

namespace coro { inline namespace v0 {
namespace detail {

/// A spawned task, in one recycled block.
class child_strand final : public group_child {
public:
    static void start(task_group& group, const spawn_options& options, task<>&& child,
                      child_needs&& needs) {
        void* memory = allocate_block(sizeof(child_strand));
        (::new (memory) child_strand(group, options, std::move(child), std::move(needs)))->begin();
    }

private:
    child_strand(task_group& of, const spawn_options& options, task<>&& child,
                 child_needs&& needs) noexcept
        : group_child(of, options.name, std::move(child)), needs_(std::move(needs)) {
        static constexpr strand_kind as_child{
            .resume = &resume_coroutine, .finished = &ended, .granted = nullptr};
        kind = &as_child;
        for (loan* each = needs_.loans.get(); each != nullptr; each = each->next.get())
            each->borrower = this;
    }

    static void ended(detail::strand& strand) noexcept {
        auto* self = static_cast<child_strand*>(&strand);
        task_group& of = self->group();
        tell_hooks_of_end(*self);
        if (self->error()) [[unlikely]] of.child_ended(strand.name, std::move(self->error()));
        self->~child_strand();
        free_block(self, sizeof(child_strand));
        leave_group(of);
    }

    ~child_strand() {
        // The name may end with the task, and a sentence about a loan would read it after that.
        for (loan* each = needs_.loans.get(); each != nullptr; each = each->next.get())
            each->name = name = nullptr;
        end_task();
    }

    child_needs needs_;
};

/// The same with what stands beside it, behind the strand in the block.
class attended_child final : public group_child {
public:
    static void start(task_group& group, const char* called, task<>&& child,
                      const companion_kind& what, void* arguments) {
        const std::size_t size = sizeof(attended_child) + what.size;
        auto* memory = static_cast<std::byte*>(allocate_block(size));
        try {
            what.make(memory + sizeof(attended_child), arguments);
        } catch (...) {
            free_block(memory, size);
            throw;
        }
        auto* made = ::new (memory) attended_child(group, called, std::move(child), what);
        if (what.started != nullptr)
            what.started(memory + sizeof(attended_child), made->number);
        made->begin();
    }

private:
    attended_child(task_group& of, const char* called, task<>&& child,
                   const companion_kind& what) noexcept
        : group_child(of, called, std::move(child)), companion_(what) {
        static_assert(sizeof(attended_child) % alignof(std::max_align_t) == 0);
        static constexpr strand_kind as_attended{
            .resume = &resume_coroutine, .finished = &ended, .granted = nullptr};
        kind = &as_attended;
    }
    ~attended_child() = default;

    static void ended(detail::strand& strand) noexcept {
        auto* self = static_cast<attended_child*>(&strand);
        task_group& of = self->group();
        const companion_kind& what = self->companion_;
        void* const companion = reinterpret_cast<std::byte*>(self) + sizeof(attended_child);
        tell_hooks_of_end(*self);
        if (self->error()) [[unlikely]] {
            if (is_cancelled_exception(self->error())) of.child_ended(strand.name, self->error());
            else what.failed(companion, self->error());
        }
        self->end_task();
        self->~attended_child();
        what.destroy(companion);
        free_block(self, sizeof(attended_child) + what.size);
        leave_group(of);
    }

    const companion_kind& companion_;
};

bool is_cancelled_exception(const std::exception_ptr& error) noexcept {
    if (!error) return false;
    try {
        std::rethrow_exception(error);
    } catch (const cancelled&) {
        return true;
    } catch (...) {
        return false;  // only looked at: whoever holds `error` still has it
    }
}

namespace {

/// Meets `cancelled` if the strand's scope is cancelled, as every library wait does at its entry.
class cancellation_point final : public library_awaiter<cancellation_point> {
public:
    bool try_now() const noexcept { return true; }
    bool start() const noexcept { return false; }
    void finish() const noexcept {}
    void cancel_wait() noexcept override {}
    void describe(text_sink& out) const noexcept override { out.write("join"); }
};

/// Whether `strand` is the one that opened `scope`, or a branch of something that this one awaits.
bool is_in_body(const detail::strand& strand, const cancel_scope& scope) noexcept {
    const detail::strand* const body = scope_access::owner(scope);
    const detail::strand* inner = &strand;
    for (const cancel_scope* at = strand.scope; at != nullptr && at != &scope && inner != body;
         at = scope_access::parent(*at))
        if (const detail::strand* owner = scope_access::owner(*at); owner != nullptr) inner = owner;
    return inner == body;
}

void report_child(const char* child, const std::exception_ptr& error) noexcept {
    const std::string_view name = child != nullptr ? child : std::string_view{};
    report_exception({.level = severity::error, .verb = "task", .endpoint = {}, .error = {},
                      .text = "a task of a group that goes on ended with this error", .task = name},
                     error);
}

}  // namespace

void group_join::describe(text_sink& out) const noexcept {
    out.write("join of ");
    out.write(std::to_string(group_.alive_));
    out.write(" children");
}

void group_join::cancel_wait() noexcept {
    const cancel_scope& scope = group_.scope_;
    // Scopes are cancelled from the outside in: where the group's is not yet, one above it is.
    if (!withdrawable_ || scope.is_cancelled() || scope_access::outer_cancelled(scope)) return;
    group_.joiner_ = nullptr;
    withdrawn_ = true;
    ++strand_->cancellations;
    strand_->loop->make_ready(*strand_);
}

void group_run::leave() noexcept {
    scope_access::leave(strand_, group.scope_);
    scope_access::close(group.scope_);
    group.joined_ = true;
}

void group_run::body_failed(const std::exception_ptr& error) noexcept {
    if (!is_cancelled_exception(error)) group.keep_error(error);
    group.cancel();
}

void group_run::judge(std::exception_ptr from_body) {
    group.throw_first_error();
    if (from_body && !scope_access::swallows(group.scope_))
        std::rethrow_exception(std::move(from_body));
}

}  // namespace detail

task_group::task_group(group_options options) noexcept : options_(options) {}

task_group::~task_group() {
    CORO_ASSERT(alive_ == 0, "a task group was destroyed before its children had ended");
}

/// The sentences of a spawn that is refused.
void task_group::check_spawn(const spawn_options& options, task<>& child) const noexcept {
    CORO_ASSERT(!joined_, "spawn into a task group that has ended: its children must be spawned "
                          "before with_task_group returns");
    detail::check_startable(child, "spawn of a task that was moved from",
                            "spawn of a task that had been started before: it runs once");
    const auto& promise = detail::task_access::promise(child);
    if (promise.capturing_closure && !options.closure_is_kept) [[unlikely]]
        detail::assertion_failed(promise.created.file_name(),
                                 static_cast<int>(promise.created.line()),
                                 "spawn of the body of a lambda with captures, which die before "
                                 "it: pass the captured values as arguments of spawn");
    CORO_ASSERT(&detail::this_loop() == detail::scope_access::owner(scope_)->loop,
                "spawn into a task group of another loop: only tasks of its own loop may spawn");
}

void task_group::start_with(const spawn_options& options, task<> child,
                            const detail::companion_kind& kind, void* arguments) {
    check_spawn(options, child);
    CORO_ASSERT(options.loop == same_loop || options.loop == detail::this_loop().index,
                "spawn_with onto another loop: a companion stays on the loop of its group");
    detail::attended_child::start(*this, options.name, std::move(child), kind, arguments);
}

void task_group::start(spawn_options options, task<> child, detail::child_needs needs) {
    check_spawn(options, child);
    detail::loop& home = detail::this_loop();
    const auto& promise = detail::task_access::promise(child);
    if (needs.loans) detail::lend_to(*needs.loans, promise.created, options.name);
    if (options.loop == same_loop || options.loop == home.index)
        return detail::child_strand::start(*this, options, std::move(child), std::move(needs));
    CORO_ASSERT(options.loop < home.team->size(),
                "spawn onto a loop that this run does not have: spawn_options.loop must be below "
                "loop_count()");
    detail::remote_child::start(*this, home.team->at(options.loop), options, std::move(child),
                                std::move(needs));
}

task<> task_group::join() {
    const detail::strand& strand = detail::this_strand();
    CORO_ASSERT(!joined_, "join of a task group that has ended");
    CORO_ASSERT(detail::is_in_body(strand, scope_),
                "join of a task group outside of its body: a child would wait for itself");
    CORO_ASSERT(joiner_ == nullptr, "two joins of a task group at once");
    while (alive_ != 0 && (scope_.is_cancelled() || !strand.scope->is_cancelled()))
        co_await detail::group_join(*this, true);
    co_await detail::cancellation_point();
}

void task_group::throw_first_error() {
    if (uncounted_ != 0)
        report({.level = severity::warning, .verb = "task_group", .endpoint = {}, .error = {},
                .text = std::to_string(uncounted_) +
                        " further errors of children; pass group_options.further to keep them",
                .task = {}});
    if (first_error_) std::rethrow_exception(std::exchange(first_error_, {}));
}

void task_group::keep_error(std::exception_ptr error) noexcept {
    if (!first_error_) {
        first_error_ = std::move(error);
    } else if (options_.further == nullptr) {
        ++uncounted_;
    } else if (group_errors& further = *options_.further;
               further.count < group_errors::kept_at_most) {
        further.kept[further.count++] = std::move(error);
    } else {
        ++options_.further->not_kept;
    }
}

void task_group::child_ended(const char* name, std::exception_ptr error) noexcept {
    if (detail::is_cancelled_exception(error)) {
        cut_off_ = true;
        return;
    }
    if (options_.policy == on_error::report_and_go_on) {
        detail::report_child(name, error);
        return;
    }
    keep_error(std::move(error));
    scope_.cancel();
}

}}  // namespace coro::v0
