// What is said of an exception, by its type.
#include "base/report_exception.hpp"

#include <coro/base/error.hpp>

namespace coro::inline v0::detail {

void report_exception(report_event event, const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        event.verb = problem.operation();
        event.error = problem.code();
        if (!problem.endpoint().empty()) {
            // Whom the task serves is then another one: a proxy was refused by its target.
            if (event.task.empty() && event.endpoint != problem.endpoint())
                event.task = event.endpoint;
            event.endpoint = problem.endpoint();
        }
        report(event);
    } catch (const std::exception& problem) {
        event.text = problem.what();
        report(event);
    } catch (...) {
        event.text = "ended with an exception that is no std::exception";
        report(event);
    }
}

}  // namespace coro::inline v0::detail
