// Yardstick: the oldest concurrent server, fork(2) for each connection, blocking calls.
//
// Run:  process_echo --port 7000        then connect anything to 127.0.0.1:7000
// A message costs one recv and one send, and a switch to the process that it is for. A connection
// costs a process: its making, with a copy of the page tables, its end, and the wait for that.
// Above --most processes the model is at its end, and the program says so and ends.
#include "contenders/blocking_echo.hpp"

#include "common/arguments.hpp"
#include "common/cpu_time.hpp"
#include "common/failure.hpp"
#include "common/server.hpp"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string>

namespace {

volatile sig_atomic_t ended = 0;  // children that were waited for; written by the handler only

/// Without the wait a child would stay as a zombie, and its CPU time would count nowhere.
void reap(int) {
    const int error = errno;
    while (waitpid(-1, nullptr, WNOHANG) > 0) ended = ended + 1;
    errno = error;
}

void reap_children() {
    struct sigaction action {};
    action.sa_handler = reap;
    action.sa_flags = SA_RESTART | SA_NOCLDSTOP;
    sigaction(SIGCHLD, &action, nullptr);
}

/// The measurement adds up the processes, so it must be able to find them.
void require_list_of_children() {
    if (access(perf::children_file(getpid()).c_str(), R_OK) == 0) return;
    perf::cannot_serve("count the CPU time of a process for each connection: this kernel does not "
                       "list the children of a process; take one with CONFIG_PROC_CHILDREN");
}

/// The child ends with its parent, however that ends.
[[noreturn]] void serve_as_child(int fd, int listener, pid_t parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    close(listener);
    perf::echo_until_end(fd);
    _exit(0);
}

void start_child(int fd, int listener, std::uint64_t number) {
    static const pid_t parent = getpid();
    const pid_t child = fork();
    if (child == 0) serve_as_child(fd, listener, parent);
    if (child < 0) {
        perf::cannot_serve("serve connection " + std::to_string(number) + ": fork: " +
                           std::strerror(errno) + "; raise the limit of processes (ulimit -u)");
    }
    close(fd);
}

[[noreturn]] void accept_forever(int listener, std::uint64_t most) {
    std::uint64_t made = 0;
    for (;;) {
        const int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) {
            if (perf::is_shortage(errno)) usleep(100'000);
            continue;  // anything else is the peer's trouble: the next connection is waited for
        }
        const auto living_now = [made] { return made - static_cast<std::uint64_t>(ended); };
        // Children whose peers have gone may not have run since: they are on their way out.
        for (int waited = 0; living_now() >= most && waited < 5000; ++waited) usleep(1000);
        const std::uint64_t living = living_now();
        if (living >= most) {
            perf::cannot_serve("serve connection " + std::to_string(living + 1) +
                               ": a process for each is meant for at most " + std::to_string(most) +
                               "; give it fewer connections, or more --most");
        }
        start_child(fd, listener, living + 1);
        ++made;
    }
}

}  // namespace

int main(int argc, char** argv) {
    constexpr std::array options{
        perf::port_option, perf::loops_option,
        perf::option{"most", "N", "processes at the same time, at most (1000)"}};
    const perf::arguments given("process_echo", options, argc, argv);
    perf::require_one_loop(given);
    const std::uint64_t most = given.whole("most", 1000, 1, 1'000'000);
    require_list_of_children();
    perf::exit_on_termination();
    perf::raise_descriptor_limit();
    reap_children();
    const int listener = perf::listen_on_loopback(perf::read_port(given), 0);
    perf::announce(listener);
    accept_forever(listener, most);
}
