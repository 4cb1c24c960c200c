// with_cleanup: what is said of a clean-up whose error nobody will see otherwise.
#include <coro/runtime/with_cleanup.hpp>

#include <coro/base/error.hpp>
#include <coro/base/report.hpp>

namespace coro::inline v0::detail {

void report_failed_cleanup(const std::exception_ptr& error) noexcept {
    report_event event{.level = severity::error, .verb = "cleanup", .endpoint = {}, .error = {},
                       .text = "failed after its body had failed", .task = {}};
    if (const char* name = this_strand().name; name != nullptr) event.task = name;
    try {
        std::rethrow_exception(error);
    } catch (const io_error& problem) {
        event.endpoint = problem.endpoint();
        event.error = problem.code();
        report(event);
    } catch (const std::exception& problem) {
        event.text = problem.what();
        report(event);
    } catch (...) {
        report(event);
    }
}

}  // namespace coro::inline v0::detail
