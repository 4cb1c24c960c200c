// Yardstick: the echo server as it was always written, a thread per connection, blocking calls.
//
// Run:  threads_echo --port 7000        then connect anything to 127.0.0.1:7000
// A message costs exactly one recv and one send, and nothing else is called. The price is that
// every message wakes a thread of its own, that every connection begins with the making of a thread
// and ends with its end, and a stack for each.
//
// Stacks are small, as in a server that means to have thousands: --stack, in KiB. The receive
// buffer lies on them; what of a stack is never touched takes no memory.
#include "contenders/blocking_echo.hpp"

#include "common/arguments.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <limits.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <system_error>
#include <thread>

namespace {

constexpr std::uint64_t least_stack_kib = 80;  // the buffer, and what the C++ library calls
constexpr auto pause_without_resources = std::chrono::milliseconds(100);

/// std::thread has no way to ask for a size of stack; the C library has one for all threads to
/// come.
void set_stack_size(std::size_t bytes) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    const int error = pthread_attr_setstacksize(
        &attributes, std::max(bytes, static_cast<std::size_t>(PTHREAD_STACK_MIN)));
    const int refused = error != 0 ? error : pthread_setattr_default_np(&attributes);
    pthread_attr_destroy(&attributes);
    if (refused != 0) perf::fail_errno("set the size of the stacks", refused, "give more --stack");
}

/// Where there is no thread for a connection this model is at its end.
void start_echo(int fd) {
    try {
        std::thread(perf::echo_until_end, fd).detach();
    } catch (const std::system_error& error) {
        perf::cannot_serve("serve one connection more: make its thread: " +
                           std::string(std::strerror(error.code().value())) +
                           "; raise the limits of threads and memory (ulimit -u, ulimit -v, "
                           "pids.max), or give a smaller --stack");
    }
}

[[noreturn]] void accept_forever(int listener) {
    for (;;) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd >= 0) {
            start_echo(fd);
        } else if (perf::is_shortage(errno)) {
            std::this_thread::sleep_for(pause_without_resources);
        }
        // Anything else is the peer's trouble, or a signal: the next connection is waited for.
    }
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{
        perf::port_option, perf::loops_option,
        perf::option{"stack", "KIB", "size of the stack of each connection's thread (128)"}};
    const perf::arguments given("threads_echo", options, argc, argv);
    perf::require_one_loop(given);
    set_stack_size(given.whole("stack", 128, least_stack_kib, 1 << 20) * 1024);
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    const int listener = perf::listen_on_loopback(perf::read_port(given), 0);
    perf::announce(listener);
    accept_forever(listener);
}
