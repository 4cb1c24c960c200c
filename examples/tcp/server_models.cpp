// What does a connection cost, by process, thread, poll and coroutine?
//
// Run:   build/debug/examples/tcp_truth server_models
//
// You see four servers with 32 idle clients: processes, threads and memory. Then each client sends
// a message while the server is stopped, and the server goes on: how often do its threads sleep?
#include <algorithm>
#include <cstddef>
#include <string>
#include <vector>

#include "questions.hpp"
#include "server_process.hpp"

namespace tcp_truth::server_models {

constexpr std::size_t count = 32;

struct seen_costs {
    server_costs idle;
    std::size_t kilobytes_each = 0;
    long sleeps = 0;
};

seen_costs measure(timeline& line, const char* name, serving_function* serve) {
    server_process server(serve);
    const std::size_t before = server.costs().kilobytes;
    std::vector<raw_socket> clients(count);
    const auto all_send = [&] {
        for (const raw_socket& each : clients)
            each.send("m");
    };
    const auto all_receive = [&] {
        for (const raw_socket& each : clients)
            static_cast<void>(each.receive(1));
    };
    for (const raw_socket& each : clients)
        each.connect(server.where());
    all_send();
    all_receive();
    server.wait_until_all_sleep();
    seen_costs seen{.idle = server.costs()};
    seen.kilobytes_each = (seen.idle.kilobytes - std::min(before, seen.idle.kilobytes)) / count;

    server.stop();
    const long sleeps = server.costs().sleeps;
    all_send();
    server.go_on();
    all_receive();
    server.wait_until_all_sleep();
    seen.sleeps = server.costs().sleeps - sleeps;
    line.at("server", std::string(name) + ": processes " + std::to_string(seen.idle.processes) +
                          ", threads " + std::to_string(seen.idle.threads) + ", " +
                          std::to_string(seen.kilobytes_each) +
                          " KiB for a client; 32 messages: sleeps " + std::to_string(seen.sleeps));
    return seen;
}

void answer(timeline& line) {
    const seen_costs process = measure(line, "a process each", serve_by_processes);
    const seen_costs thread = measure(line, "a thread each", serve_by_threads);
    const seen_costs poll = measure(line, "a loop over poll", serve_by_poll);
    const seen_costs coroutine = measure(line, "a coroutine each", serve_by_coroutines);
    line.holds("A process each is a process more for each client.",
               process.idle.processes == count + 1);
    line.holds("A thread each is a thread more for each client.",
               thread.idle.processes == 1 && thread.idle.threads == count + 1);
    line.holds("A loop over poll is one thread, and so are coroutines.",
               poll.idle.threads == 1 && coroutine.idle.threads == 1);
    line.holds("A process takes most memory, then a thread; the other two take less.",
               process.kilobytes_each > thread.kilobytes_each &&
                   thread.kilobytes_each > poll.kilobytes_each &&
                   thread.kilobytes_each > coroutine.kilobytes_each);
    line.holds("Processes and threads sleep once for each message, or more often.",
               process.sleeps >= long{count} && thread.sleeps >= long{count});
    line.holds("The other two sleep less often than there are messages.",
               poll.sleeps < long{count} && coroutine.sleeps < long{count});
}

}  // namespace tcp_truth::server_models
