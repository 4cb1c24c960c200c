// deny_uring ERRNO -- COMMAND [ARGUMENT]...
//
// Runs COMMAND where io_uring is refused: io_uring_setup, io_uring_enter and io_uring_register
// answer ERRNO, by a seccomp filter that stays with the command and all that it starts. ERRNO is a
// name, EPERM, ENOSYS or EOPNOTSUPP, or a number. CORO_DENIED in the command's environment is what
// was given, for tests that want to be sure. Ends as COMMAND does; with 125 for bad usage or when
// the kernel takes no filter, 127 when COMMAND cannot be started.
#include "support/deny_uring.hpp"

#include <unistd.h>

#include <array>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <utility>

namespace {

constexpr int bad_usage = 125;
constexpr int not_started = 127;
constexpr int largest_errno = 4095;  ///< what a filter can answer: seccomp(2), SECCOMP_RET_ERRNO

/// 0 when it is none.
int errno_of(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, int>, 3> names{
        {{"EPERM", EPERM}, {"ENOSYS", ENOSYS}, {"EOPNOTSUPP", EOPNOTSUPP}}};
    for (const auto& [name, value] : names) {
        if (name == text) return value;
    }
    int value = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, value);
    const bool whole = error == std::errc() && stop == end;
    return whole && value > 0 && value <= largest_errno ? value : 0;
}

}  // namespace

int main(int count, char** arguments) {
    if (count < 4 || std::string_view(arguments[2]) != "--") {
        std::fprintf(stderr, "usage: deny_uring ERRNO -- COMMAND [ARGUMENT]...\n");
        return bad_usage;
    }
    const int error = errno_of(arguments[1]);
    if (error == 0) {
        std::fprintf(stderr,
                     "deny_uring: \"%s\" is no errno, allowed are EPERM, ENOSYS, EOPNOTSUPP or a "
                     "number from 1 to %d\n",
                     arguments[1], largest_errno);
        return bad_usage;
    }
    if (const int refused = coro_test::deny_uring(error); refused != 0) {
        std::fprintf(stderr, "deny_uring: this kernel takes no seccomp filter: %s\n",
                     std::strerror(refused));
        return bad_usage;
    }
    ::setenv("CORO_DENIED", arguments[1], 1);
    ::execvp(arguments[3], arguments + 3);
    std::fprintf(stderr, "deny_uring: cannot start %s: %s\n", arguments[3], std::strerror(errno));
    return not_started;
}
