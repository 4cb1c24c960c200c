// A server under attack, in a process of its own, and what its good clients see of it.
//
//   guardian_storm drip          15 000 clients that send one byte a second of a header that never
//                                ends, beside 64 good ones
//   guardian_storm descriptors   more clients than the server has descriptors, all silent
//
// Prints `name value unit` lines. Everything is on the loopback interface.
#include <coro/coro.hpp>

#include "common/cpu_time.hpp"
#include "common/failure.hpp"
#include "common/histogram.hpp"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <functional>
#include <string_view>
#include <vector>

namespace {

using namespace std::chrono_literals;
using coro::net::endpoint;
using coro::net::tcp_stream;

constexpr int attackers = 15'000;
constexpr int good_clients = 64;
constexpr coro::duration header_limit = 10s;
constexpr coro::duration arrival = 5s;  ///< of all attackers
constexpr rlim_t few_descriptors = 256;
constexpr int silent_clients = 1'000;

// --- the server

coro::task<> answer(tcp_stream stream, coro::net::guarded guard) {
    coro::net::connection peer{coro::net::stream(std::move(stream))};
    for (;;) {
        const auto first = co_await coro::until_stop(peer.in.read_exact(1));
        if (!first) co_return;
        const auto header = guard.header();
        static_cast<void>(co_await peer.in.read_until("\n"));
        co_await peer.out.write(coro::as_bytes("+\n"));
        co_await peer.out.flush();
    }
}

coro::task<> serve_all(int port_to, coro::server_limits limits) {
    auto listener = coro::net::tcp_listener::bind(endpoint::loopback(0));
    const std::uint16_t port = listener.local_endpoint().port();
    if (::write(port_to, &port, sizeof port) != sizeof port) perf::fail("tell the port");
    co_await coro::serve(listener, answer, {.limits = limits});
}

class child_server {
public:
    child_server(coro::server_limits limits, rlim_t descriptors) {
        std::array<int, 2> ends{};
        if (::pipe(ends.data()) != 0) perf::fail_errno("make a pipe", errno, "try again");
        pid_ = ::fork();
        if (pid_ == 0) {
            const rlimit most{descriptors, descriptors};
            if (descriptors != 0 && ::setrlimit(RLIMIT_NOFILE, &most) != 0) std::abort();
            coro::set_report_hook([](const coro::report_event&, void*) noexcept {}, nullptr);
            ::_exit(coro::run_main(serve_all(ends[1], limits)));
        }
        ::close(ends[1]);
        if (::read(ends[0], &port_, sizeof port_) != sizeof port_) perf::fail("start the server");
        ::close(ends[0]);
    }
    child_server(const child_server&) = delete;
    child_server& operator=(const child_server&) = delete;
    ~child_server() {
        ::kill(pid_, SIGTERM);
        ::waitpid(pid_, nullptr, 0);
    }
    [[nodiscard]] endpoint where() const { return endpoint::loopback(port_); }
    [[nodiscard]] pid_t pid() const { return pid_; }

private:
    pid_t pid_ = -1;
    std::uint16_t port_ = 0;
};

void print(const char* name, double value, const char* unit) {
    std::printf("%-28s %10.2f %s\n", name, value, unit);
    std::fflush(stdout);
}

// --- good clients: a request each 10 ms

coro::task<> ask_now_and_then(endpoint where, perf::histogram& seen) {
    auto stream = co_await tcp_stream::connect(where);
    std::array<std::byte, 2> reply{};
    for (;;) {
        const coro::time_point sent = coro::now();
        co_await coro::net::write_all(stream, coro::as_bytes("ping\n"));
        co_await coro::net::read_exact(stream, reply);
        seen.add(static_cast<std::uint64_t>((coro::now() - sent).count()));
        co_await coro::sleep_for(10ms);
    }
}

double p99_us(const perf::histogram& of) { return static_cast<double>(of.percentile(99)) / 1e3; }

// --- attackers: a byte a second

struct attack {
    int connected = 0;
    int ended = 0;
    coro::duration longest{};
};

coro::task<> drip(endpoint where, coro::duration wait, attack& all) {
    co_await coro::sleep_for(wait);
    auto stream = co_await tcp_stream::connect(where);
    ++all.connected;
    const coro::time_point begun = coro::now();
    const auto dripping = [&]() -> coro::task<> {
        for (;;) {
            co_await coro::net::write_all(stream, coro::as_bytes("x"));
            co_await coro::sleep_for(1s);
        }
    };
    const auto reading = [&]() -> coro::task<> {
        std::array<std::byte, 1> byte{};
        co_await stream.read_some(byte);
    };
    static_cast<void>(co_await coro::as_result(coro::when_any(dripping(), reading())));
    ++all.ended;
    all.longest = std::max(all.longest, coro::now() - begun);
}

coro::task<> attack_once(endpoint where, attack& all) {
    const auto storm = [&](coro::task_group& attacking) -> coro::task<> {
        for (int i = 0; i < attackers; ++i)
            attacking.spawn(drip, where, arrival / attackers * i, std::ref(all));
        co_return;
    };
    co_await coro::with_task_group(storm);
}

/// A process of their own, so that good clients do not wait for attackers in their own loop.
class attacker_process {
public:
    explicit attacker_process(endpoint where) {
        std::array<int, 2> go{};
        std::array<int, 2> result{};
        if (::pipe(go.data()) != 0 || ::pipe(result.data()) != 0)
            perf::fail_errno("make a pipe", errno, "try again");
        pid_ = ::fork();
        if (pid_ == 0) {
            ::close(go[1]);
            // They stand for other machines, and must not take processors from the rest. Hence the
            // lowest priority, and epoll: a batch of sends in one io_uring_enter keeps a processor
            // until it is done, whatever its priority, where the kernel preempts no system call.
            if (::setpriority(PRIO_PROCESS, 0, 19) != 0) std::abort();
            for (char word = 0; ::read(go[0], &word, 1) == 1;) {
                attack all;
                coro::run(attack_once(where, all), {.poller = coro::poller_choice::epoll});
                if (::write(result[1], &all, sizeof all) != sizeof all) std::abort();
            }
            ::_exit(0);
        }
        ::close(go[0]);
        ::close(result[1]);
        go_ = go[1];
        result_ = result[0];
    }
    attacker_process(const attacker_process&) = delete;
    attacker_process& operator=(const attacker_process&) = delete;
    ~attacker_process() {
        ::close(go_);
        ::waitpid(pid_, nullptr, 0);
        ::close(result_);
    }

    [[nodiscard]] coro::task<attack> once() const {
        co_return co_await coro::blocking([this] {
            attack all;
            if (::write(go_, "!", 1) != 1 || ::read(result_, &all, sizeof all) != sizeof all)
                perf::fail("hear from the attackers");
            return all;
        });
    }

private:
    pid_t pid_ = -1;
    int go_ = -1;
    int result_ = -1;
};

coro::task<> run_drip(const child_server& server, const attacker_process& others) {
    perf::histogram seen;
    const auto body = [&](coro::task_group& group) -> coro::task<> {
        for (int i = 0; i < good_clients; ++i)
            group.spawn(ask_now_and_then, server.where(), std::ref(seen));
        co_await coro::sleep_for(1s);
        for (int round = 0; round < 3; ++round) {
            seen.clear();
            co_await coro::sleep_for(arrival + header_limit);
            const double quiet = p99_us(seen);
            seen.clear();
            const perf::process_clock cpu(server.pid());
            const std::int64_t cpu_before = cpu.nanoseconds();
            const coro::time_point begun = coro::now();
            const attack all = co_await others.once();
            print("CPU of the server",
                  100.0 * static_cast<double>(cpu.nanoseconds() - cpu_before) /
                      static_cast<double>((coro::now() - begun).count()),
                  "%");
            print("p99 without attackers", quiet, "us");
            print("p99 with them", p99_us(seen), "us");
            print("ratio", p99_us(seen) / quiet, "");
            print("attackers connected", all.connected, "");
            print("longest after its limit",
                  static_cast<double>((all.longest - header_limit) / 1us) / 1e3, "ms");
        }
        group.cancel();
    };
    co_await coro::with_task_group(body);
}

// --- no descriptors left

coro::task<> be_silent(endpoint where, std::vector<tcp_stream>& held) {
    held.push_back(co_await tcp_stream::connect(where));
}

coro::task<> run_descriptors(const child_server& server) {
    std::vector<tcp_stream> held;
    for (int i = 0; i < silent_clients; ++i) co_await be_silent(server.where(), held);
    co_await coro::sleep_for(1s);
    const perf::process_clock cpu(server.pid());
    const std::int64_t cpu_before = cpu.nanoseconds();
    const coro::time_point begun = coro::now();
    co_await coro::sleep_for(10s);
    print("CPU in the storm",
          100.0 * static_cast<double>(cpu.nanoseconds() - cpu_before) /
              static_cast<double>((coro::now() - begun).count()),
          "%");
    held.clear();
    const coro::time_point gone = coro::now();
    for (;;) {  // one that is still turned away is no answer
        auto stream = co_await tcp_stream::connect(server.where());
        std::array<std::byte, 2> reply{};
        const auto asking = [&]() -> coro::task<> {
            co_await coro::net::write_all(stream, coro::as_bytes("ping\n"));
            co_await coro::net::read_exact(stream, reply);
        };
        if ((co_await coro::as_result(asking())).has_value()) break;
    }
    print("service after the storm", static_cast<double>((coro::now() - gone) / 1us) / 1e3, "ms");
}

}  // namespace

int main(int count, char** values) {
    perf::program_name() = "guardian_storm";
    const std::string_view what = count == 2 ? values[1] : "";
    if (what == "drip") {
        const child_server server({.connections = 19'000, .header = header_limit}, 0);
        const attacker_process others(server.where());
        return coro::run_main(run_drip(server, others));
    }
    if (what == "descriptors") {
        // None is ended for silence: the storm is to last.
        const child_server server({.first_byte = coro::duration::max(),
                                   .idle = 1h,
                                   .half_closed = coro::duration::max()},
                                  few_descriptors);
        return coro::run_main(run_descriptors(server));
    }
    perf::exit_with(2, "which storm: it is missing or unknown; say drip or descriptors");
}
