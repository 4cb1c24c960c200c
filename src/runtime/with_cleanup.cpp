// with_cleanup: what is said of a clean-up whose error nobody will see otherwise.
#include <coro/runtime/with_cleanup.hpp>

#include <coro/base/report.hpp>

namespace coro { inline namespace v0 { namespace detail {

void report_failed_cleanup(const std::exception_ptr& error) noexcept {
    const char* name = this_strand().name;
    report_exception({.level = severity::error, .verb = "cleanup", .endpoint = {}, .error = {},
                      .text = "a clean-up failed after its body had failed",
                      .task = name != nullptr ? name : std::string_view{}},
                     error);
}

}}}  // namespace coro::v0::detail
