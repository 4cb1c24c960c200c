// What does a million idle connections need: memory, ports, descriptors?
//
// Run:   build/debug/examples/tcp_truth a_million
//
// You see a thousand real connections that are idle: what each one costs, and what runs out. The
// million is these figures times a thousand.
#include <linux/sock_diag.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <sstream>
#include <string>
#include <vector>

#include "idle_clients.hpp"
#include "own_network.hpp"
#include "proc_figures.hpp"
#include "questions.hpp"
#include "raw_socket.hpp"

namespace tcp_truth::a_million {

constexpr std::size_t count = 1000;

std::uint32_t buffered_bytes(const raw_socket& end) {
    const auto memory = end.get<std::array<std::uint32_t, SK_MEMINFO_VARS>>(SOL_SOCKET, SO_MEMINFO);
    return memory[SK_MEMINFO_RMEM_ALLOC] + memory[SK_MEMINFO_WMEM_QUEUED];
}
void answer(timeline& line) {
    const own_network network;
    const rlim_t limit = set_descriptor_limit(2 * count + 100);
    const raw_socket listener = listener_of(4096);
    const std::size_t open_before = count_entries("/proc/self/fd");
    const std::vector<raw_socket> clients = connect_clients(count, listener.local());
    std::vector<raw_socket> servers;
    std::uint32_t buffered = 0;
    bool one_port = true;
    while (servers.size() < count) {
        servers.push_back(listener.accept());
        buffered += buffered_bytes(servers.back());
        one_port = one_port && servers.back().local() == listener.local();
    }
    line.at("kernel", std::to_string(count) + " idle connections; in all their buffers are " +
                          std::to_string(buffered) + " bytes");
    line.holds("An idle connection has no bytes in its buffers: their sizes are limits, no costs.",
               buffered == 0);
    line.holds("It has a descriptor at each side.",
               count_entries("/proc/self/fd") - open_before == 2 * count);
    line.holds("All connections of a server have its one port.", one_port);
    std::size_t end = 0;
    for (const char* cache : {"TCP", "sock_inode_cache", "filp", "dentry"}) {
        line.at("kernel",
                std::string(cache) + ": " + std::to_string(object_size(cache)) + " bytes");
        end += object_size(cache);
    }
    line.at("kernel", "an end: " + std::to_string(end) + " bytes (0: for root only)");

    const raw_socket neighbour;
    neighbour.bind({clients.front().local().port, INADDR_LOOPBACK + 1});
    neighbour.connect(listener.local());
    line.at("client", "at 127.0.0.2 connects from a port that 127.0.0.1 has too");
    line.holds("Another address of a client has all ports anew.",
               neighbour.local().port == clients.front().local().port);
    std::istringstream range(network.setting("ip_local_port_range"));
    std::size_t low = 0, high = 0;
    range >> low >> high;
    const std::size_t ports = high - low + 1;
    line.at("client", "an address has " + std::to_string(ports) +
                          " ports to one server: a million "
                          "need " +
                          std::to_string((1'000'000 + ports - 1) / ports) + " addresses");

    set_descriptor_limit(count_entries("/proc/self/fd") - 1);
    const int refused = ::accept(listener.descriptor(), nullptr, nullptr) < 0 ? errno : 0;
    set_descriptor_limit(2 * count + 100);
    line.at("server", "at its limit of descriptors: " + name_of_error(refused));
    line.holds("At the limit of descriptors accept fails, and the client stays in the queue.",
               refused == EMFILE && neighbour.is(tcp_state::established));
    servers.clear();
    const std::size_t task = measure_task(count);
    set_descriptor_limit(limit);
    line.at("server", "a coroutine that waits for its client: " + std::to_string(task) + " bytes");
    line.holds("A connection that waits takes less than 8 KiB of the program's memory.",
               task < 8192);
    line.at("server", "a million: " + decimal(double(end) * 1e6 / (1 << 30)) +
                          " GiB of the kernel, " + decimal(double(task) * 1e6 / (1 << 30)) +
                          " GiB of the program");
}

}  // namespace tcp_truth::a_million
