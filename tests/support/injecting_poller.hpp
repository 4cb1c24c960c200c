// A poller that answers what no kernel gives when asked to: errors of accept, by plan.
#pragma once

#include <cerrno>
#include <deque>
#include <memory>
#include <utility>

#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// What is injected, and what the library did about it. One at a time, set while no loop runs.
struct injection_plan {
    std::deque<int> accept_errors;  ///< errnos that the next accepts end with, one each
    bool at_once = false;           ///< answered by submit(); otherwise by the next wait()
    int shed_error = 0;             ///< what shed_connection answers; 0: the world decides

    unsigned accepts = 0;    ///< accepts that were submitted
    unsigned sheds = 0;      ///< calls of shed_connection
    time_point last_error{};  ///< when the last error was answered
    duration longest_pause{};  ///< between an error and the next accept, on the loop's clock
};

class injecting_poller final : public forwarding_poller {
public:
    injecting_poller(std::unique_ptr<poller> world, injection_plan& plan)
        : forwarding_poller(std::move(world)), plan_(plan) {}

    [[nodiscard]] bool submit(operation& op) noexcept override {
        if (!accepts(op.code)) return forwarding_poller::submit(op);
        ++plan_.accepts;
        if (plan_.last_error != time_point{})
            plan_.longest_pause = std::max(plan_.longest_pause, now() - plan_.last_error);
        plan_.last_error = {};
        if (plan_.accept_errors.empty()) return forwarding_poller::submit(op);
        op.result = -plan_.accept_errors.front();
        plan_.accept_errors.pop_front();
        plan_.last_error = now();
        if (plan_.at_once) {
            op.phase = operation_phase::completed;
            return true;
        }
        op.phase = operation_phase::submitted;
        held_.push(op);
        return false;
    }

    void cancel(operation& op) noexcept override {
        if (!is_held(op)) forwarding_poller::cancel(op);
    }

    void wait(time_point deadline, operation_list& completed) noexcept override {
        forwarding_poller::wait(held_.empty() ? deadline : time_point::min(), completed);
        while (operation* const op = held_.pop()) {
            op->phase = operation_phase::completed;
            completed.push(*op);
        }
    }

    int shed_connection(detail::handle listener) noexcept override {
        ++plan_.sheds;
        return plan_.shed_error != 0 ? -plan_.shed_error
                                     : forwarding_poller::shed_connection(listener);
    }

private:
    /// An operation that has an error already is not cancelled: rule 3 of the waist.
    [[nodiscard]] bool is_held(const operation& op) noexcept {
        bool found = false;
        operation_list all;
        while (operation* const each = held_.pop()) {
            found = found || each == &op;
            all.push(*each);
        }
        held_.append(all);
        return found;
    }

    injection_plan& plan_;
    operation_list held_;
};

/// While it lives, pollers follow `plan`.
class injection {
public:
    explicit injection(injection_plan& plan) {
        present() = &plan;
        wrap_poller = [](std::unique_ptr<poller> world) -> std::unique_ptr<poller> {
            return std::make_unique<injecting_poller>(std::move(world), *present());
        };
    }
    injection(const injection&) = delete;
    injection& operator=(const injection&) = delete;
    ~injection() { wrap_poller = nullptr; }

private:
    static injection_plan*& present() noexcept {
        static injection_plan* plan = nullptr;
        return plan;
    }
};

}}}  // namespace coro::v0::detail
