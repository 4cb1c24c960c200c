#include <coro/runtime/condition_variable.hpp>

#include <exception>

#include <coro/runtime/timeout.hpp>

namespace coro { inline namespace v0 {

/// Unlocks when it is in the queue.
class condition_variable::awaiter final : public detail::library_awaiter<awaiter>,
                                          public detail::list_node<awaiter> {
public:
    awaiter(condition_variable& of, mutex::scoped_lock& lock) noexcept
        : condition_(of), lock_(lock) {}

    [[nodiscard]] detail::home_loop& home() const noexcept { return condition_.home_; }
    bool try_now() const noexcept { return false; }
    bool start() noexcept {
        condition_.waiters_.push_back(*this);
        lock_.unlock();
        return true;
    }
    void finish() const noexcept {}

    void cancel_wait() noexcept override {
        unlink();
        end_cancelled();
    }
    void describe(detail::text_sink& out) const noexcept override {
        out.write("wait for condition_variable");
    }

private:
    friend class condition_variable;
    condition_variable& condition_;
    mutex::scoped_lock& lock_;
};

task<> condition_variable::wait_and_lock(mutex::scoped_lock& lock) {
    mutex& guard = *lock.held_;
    std::exception_ptr failure;
    try {
        co_await awaiter(*this, lock);
    } catch (...) {
        failure = std::current_exception();
    }
    if (!lock) lock = co_await shield(guard.lock(), duration::max());
    if (failure) std::rethrow_exception(failure);
}

void condition_variable::notify(std::size_t tasks) noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_one_.send(home_.loop(), tasks);
    for (; tasks != 0; --tasks) {
        awaiter* const first = waiters_.pop_front();
        if (first == nullptr) return;
        first->end_granted();
    }
}

/// Those that wait now: who is woken comes back later.
void condition_variable::notify_all() noexcept {
    if (home_.is_elsewhere()) [[unlikely]] return remote_all_.send(home_.loop());
    while (awaiter* first = waiters_.pop_front()) first->end_granted();
}

}}  // namespace coro::v0
