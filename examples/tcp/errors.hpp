// errors: how a question about TCP can fail. A call that fails is an exception with its verb and
// errno; a machine that forbids what the question needs is another, which is no failure.
#pragma once

#include <cerrno>
#include <stdexcept>
#include <string>
#include <system_error>

namespace tcp_truth {

/// This machine does not allow what the question needs; the program ends with 77.
class not_allowed : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Something that the program waited for has never come.
class not_seen : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const std::string& verb, int error = errno) {
    throw std::system_error(error, std::generic_category(), verb);
}

/// The result of a system call, or an exception with `verb` and errno when it is negative.
template <typename Result>
Result checked(const char* verb, Result result) {
    if (result < 0) fail(verb);
    return result;
}

/// "Connection refused (ECONNREFUSED)": as strerror(3) and errno(3) name it.
std::string name_of_error(int error);

}  // namespace tcp_truth
