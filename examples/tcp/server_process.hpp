// server_process: a server of echoes in a process group of its own, by one of four models, and what
// /proc tells of all its processes and threads (proc(5)).
#pragma once

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <span>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <coro/coro.hpp>

#include "proc_figures.hpp"
#include "raw_socket.hpp"

namespace tcp_truth {

/// Serves until the process is killed. It writes its port to the descriptor first.
using serving_function = void(int tell_port);

inline void tell(int to, std::uint16_t port) {
    checked("write", ::write(to, &port, sizeof port));
}
inline raw_socket listen_and_tell(int to) {
    raw_socket listener = listener_of(128);
    tell(to, listener.local().port);
    return listener;
}
/// False at the end of the stream.
inline bool echo_once(const raw_socket& client) {
    const std::string got = client.receive(64);
    if (!got.empty()) client.send(got);
    return !got.empty();
}

inline void serve_by_processes(int tell_port) {
    const raw_socket listener = listen_and_tell(tell_port);
    for (;;) {
        const raw_socket client = listener.accept();
        if (checked("fork", ::fork()) != 0) continue;
        while (echo_once(client)) {
        }
        ::_exit(0);
    }
}
inline void serve_by_threads(int tell_port) {
    const raw_socket listener = listen_and_tell(tell_port);
    for (;;)
        std::thread([client = listener.accept()] {
            while (echo_once(client)) {
            }
        }).detach();
}
inline void serve_by_poll(int tell_port) {
    std::vector<raw_socket> sockets;
    sockets.push_back(listen_and_tell(tell_port));
    std::vector<pollfd> asked{{sockets.front().descriptor(), POLLIN, 0}};
    for (;;) {
        checked("poll", ::poll(asked.data(), asked.size(), -1));
        for (std::size_t i = asked.size() - 1; i > 0; --i) {
            if (asked[i].revents == 0 || echo_once(sockets[i])) continue;
            sockets.erase(sockets.begin() + std::ptrdiff_t(i));
            asked.erase(asked.begin() + std::ptrdiff_t(i));
        }
        if (asked.front().revents == 0) continue;
        sockets.push_back(sockets.front().accept());
        asked.push_back({sockets.back().descriptor(), POLLIN, 0});
    }
}
inline coro::task<> echo(coro::net::tcp_stream peer) {
    std::array<std::byte, 64> buffer;
    while (const std::size_t got = co_await peer.read_some(buffer))
        co_await coro::net::write_all(peer, std::span(buffer).first(got));
}
inline void serve_by_coroutines(int tell_port) {
    const auto body = [](int to) -> coro::task<> {
        auto listener = coro::net::tcp_listener::bind(coro::net::endpoint::loopback(0));
        tell(to, listener.local_endpoint().port());
        co_await coro::serve(listener, echo);
    };
    coro::run(body(tell_port), {.poller = coro::poller_choice::epoll});
}

struct server_costs {
    std::size_t processes = 0;
    std::size_t threads = 0;
    std::size_t kilobytes = 0;  ///< its share of all pages (Pss), and page tables
    long sleeps = 0;            ///< of all threads: voluntary context switches
    bool all_sleep = true;
};

class server_process {
public:
    explicit server_process(serving_function* serve) {
        std::array<int, 2> ends{};
        checked("pipe", ::pipe(ends.data()));
        const raw_socket told(ends[0]), tells(ends[1]);
        pid_ = checked("fork", ::fork());
        if (pid_ == 0) {
            ::setpgid(0, 0);
            ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // it does not outlive this process
            [&]() noexcept { serve(tells.descriptor()); }();
            ::_exit(0);
        }
        ::setpgid(pid_, pid_);
        checked("read", ::read(told.descriptor(), &port_, sizeof port_));
        wait_until_all_sleep();
    }
    server_process(server_process&&) = delete;
    ~server_process() {
        ::kill(-pid_, SIGKILL);
        ::waitpid(pid_, nullptr, 0);
    }

    [[nodiscard]] address where() const { return {port_}; }
    void stop() const {
        checked("kill", ::kill(-pid_, SIGSTOP));
        until("all threads have stopped", [&] { return costs('T').all_sleep; });
    }
    void go_on() const { checked("kill", ::kill(-pid_, SIGCONT)); }
    void wait_until_all_sleep() const {
        until("all threads sleep", [&] { return costs().all_sleep; });
    }

    /// All processes of the group, and whether each thread is in this state.
    [[nodiscard]] server_costs costs(char state = 'S') const {
        server_costs sum;
        for (const auto& each : std::filesystem::directory_iterator("/proc"))
            if (status_of(each.path()).group == pid_) add(sum, each.path(), state);
        return sum;
    }

private:
    struct status {
        char state = '?';
        pid_t group = 0;
    };
    static status status_of(const std::filesystem::path& process) {
        std::ifstream file(process / "stat");
        status found;
        pid_t parent = 0;
        std::string text;
        if (!std::getline(file, text) || text.rfind(") ") == std::string::npos) return found;
        std::istringstream rest(text.substr(text.rfind(") ") + 2));
        rest >> found.state >> parent >> found.group;
        return found;
    }
    static void add(server_costs& sum, const std::filesystem::path& process, char state) {
        ++sum.processes;
        sum.kilobytes += figure(process / "smaps_rollup", "Pss:");
        sum.kilobytes += figure(process / "status", "VmPTE:");
        for (const auto& thread : std::filesystem::directory_iterator(process / "task")) {
            ++sum.threads;
            sum.sleeps += long(figure(thread.path() / "status", "voluntary_ctxt_switches:"));
            sum.all_sleep = sum.all_sleep && status_of(thread.path()).state == state;
        }
    }

    pid_t pid_ = 0;
    std::uint16_t port_ = 0;
};

}  // namespace tcp_truth
