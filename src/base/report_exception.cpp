// What is said of an exception, by its type.
#include "base/report_exception.hpp"

#include <coro/base/error.hpp>

namespace coro::inline v0::detail {

void report_exception(report_event event, const std::exception_ptr& error) noexcept {
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        event.verb = problem.operation();
        if (event.endpoint.empty()) event.endpoint = problem.endpoint();
        event.error = problem.code();
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
