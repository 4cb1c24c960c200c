// waiting_process: a process of coroutines that all wait, and what /proc tells of it (proc(5)).
#pragma once

#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstddef>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

#include "errors.hpp"

namespace tcp_truth {

/// Each task waits for a client of its own listener.
inline coro::task<> wait_for_clients(std::size_t tasks) {
    const auto wait = []() -> coro::task<> {
        auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
        co_await listener.accept();
    };
    std::vector<coro::task<>> all;
    for (std::size_t i = 0; i < tasks; ++i)
        all.push_back(wait());
    co_await coro::when_all(std::move(all));
}

/// A child of this process, which is killed with its owner.
class waiting_process {
public:
    static constexpr std::size_t tasks = 64;

    waiting_process() : pid_(checked("fork", ::fork())) {
        if (pid_ != 0) return;
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive this process
        []() noexcept {
            coro::run(wait_for_clients(tasks), {.poller = coro::poller_choice::epoll});
        }();
        ::_exit(0);
    }
    waiting_process(waiting_process&&) = delete;
    ~waiting_process() {
        ::kill(pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] std::string proc() const { return "/proc/" + std::to_string(pid_); }

    /// Whether its first thread is in a system call of epoll (proc(5), /proc/PID/syscall).
    [[nodiscard]] bool is_in_epoll() const {
        std::ifstream file(proc() + "/syscall");
        if (!file) throw not_allowed("reading " + proc() + "/syscall");
        long number = -1;
        file >> number;
#ifdef SYS_epoll_wait  // younger architectures have only the other two
        if (number == SYS_epoll_wait) return true;
#endif
        return number == SYS_epoll_pwait || number == SYS_epoll_pwait2;
    }
    /// How many descriptors its epoll watches (epoll(7): the lines `tfd:` of fdinfo).
    [[nodiscard]] std::size_t watched() const {
        std::size_t count = 0;
        for (const auto& each : std::filesystem::directory_iterator(proc() + "/fdinfo")) {
            std::ifstream file(each.path());
            for (std::string word; file >> word;)
                count += std::size_t{word == "tfd:"};
        }
        return count;
    }

private:
    pid_t pid_;
};

}  // namespace tcp_truth
