// The category "coro" and the text of io_error.
#include <coro/base/error.hpp>

#include <algorithm>
#include <string>

namespace coro { inline namespace v0 {
namespace {

class coro_category final : public std::error_category {
public:
    const char* name() const noexcept override { return "coro"; }

    std::string message(int value) const override {
        switch (static_cast<errc>(value)) {
            case errc::closed: return "closed while in use";
            case errc::deadline_exceeded: return "deadline exceeded";
            case errc::busy: return "another operation of this direction is pending";
            case errc::broken: return "an earlier exact transfer was cut short";
            case errc::end_of_stream: return "the peer ended the stream too early";
            case errc::limit_exceeded: return "limit exceeded";
            case errc::bad_address: return "not an address";
        }
        return "unknown error " + std::to_string(value);
    }
};

/// `connect tcp 127.0.0.1:80`: std::system_error appends `: <message>`.
std::string prefix(const char* operation, std::string_view endpoint) {
    std::string text = operation;
    if (!endpoint.empty()) text.append(" ").append(endpoint);
    return text;
}

}  // namespace

const std::error_category& category() noexcept {
    static const coro_category instance;
    return instance;
}

std::error_code make_error_code(errc code) noexcept { return {static_cast<int>(code), category()}; }

io_error::io_error(std::error_code code, const char* operation, std::string_view endpoint,
                   std::size_t bytes_transferred)
    : std::system_error(code, prefix(operation, endpoint)),
      operation_(operation),
      bytes_transferred_(bytes_transferred),
      endpoint_size_(std::min(endpoint.size(), error_endpoint_capacity)),
      endpoint_{} {
    std::copy_n(endpoint.begin(), endpoint_size_, endpoint_.begin());
}

io_error::io_error(std::error_code code, const char* operation, detail::error_text only_in_what,
                   std::string_view endpoint)
    : std::system_error(code, prefix(operation, only_in_what.text)),
      operation_(operation),
      bytes_transferred_(0),
      endpoint_size_(std::min(endpoint.size(), error_endpoint_capacity)),
      endpoint_{} {
    std::copy_n(endpoint.begin(), endpoint_size_, endpoint_.begin());
}

io_error::io_error(std::error_code code, const char* operation, std::string_view endpoint,
                   detail::error_text more)
    : std::system_error(code, prefix(operation, endpoint).append(": ").append(more.text)),
      operation_(operation),
      bytes_transferred_(0),
      endpoint_size_(std::min(endpoint.size(), error_endpoint_capacity)),
      endpoint_{} {
    std::copy_n(endpoint.begin(), endpoint_size_, endpoint_.begin());
}

io_error::io_error(const io_error&) noexcept = default;
io_error::~io_error() = default;
cancelled::cancelled(std::size_t bytes_transferred, std::string_view endpoint) noexcept
    : bytes_transferred_(bytes_transferred),
      endpoint_size_(std::min(endpoint.size(), error_endpoint_capacity)) {
    std::copy_n(endpoint.begin(), endpoint_size_, endpoint_.begin());
}
cancelled::~cancelled() = default;
interrupted::~interrupted() = default;

deadlock::deadlock(const std::string& task_dump)
    : deadlock("run: nothing can ever happen again: every task waits, and no timer, operation, "
               "thread or signal can wake one:\n",
               task_dump) {}
deadlock::deadlock(std::string_view sentence, const std::string& task_dump)
    : std::runtime_error(std::string(sentence) + task_dump) {}
deadlock::deadlock(const deadlock&) noexcept = default;
deadlock::~deadlock() = default;

simulation_stuck::simulation_stuck(const std::string& task_dump)
    : deadlock("simulation: nothing can ever happen again: every task waits and no timer is set:\n",
               task_dump) {}
simulation_stuck::simulation_stuck(const simulation_stuck&) noexcept = default;
simulation_stuck::~simulation_stuck() = default;

const char* interrupted::what() const noexcept {
    return "interrupted by a signal before the task had a value";
}

}}  // namespace coro::v0
