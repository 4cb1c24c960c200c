// Reports of an exception, by its type.
#include <coro/base/report.hpp>

#include <string>
#include <string_view>

#include <coro/base/error.hpp>

namespace coro { inline namespace v0 {

namespace {

/// The circumstances, if any are given, and the exception that was thrown in them.
void report_text(report_event event, std::string_view thrown) noexcept try {
    std::string text(event.text);
    if (!text.empty()) text.append(": ");
    text.append(thrown);
    event.text = text;
    report(event);
} catch (const std::exception&) {
    event.text = thrown;
    report(event);
}

}  // namespace

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
        report_text(event, problem.what());
    } catch (...) {
        report_text(event, "an exception that is no std::exception");
    }
}

}}  // namespace coro::v0
