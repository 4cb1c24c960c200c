// listener_group: listeners that share a port by SO_REUSEPORT (socket(7)), and clients of it that
// are connected and wait in the queues.
#pragma once

#include <sys/socket.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "raw_socket.hpp"

namespace tcp_truth {

struct listener_group {
    explicit listener_group(std::size_t size) : listeners(size) {
        for (const raw_socket& each : listeners) {
            each.set(SOL_SOCKET, SO_REUSEPORT, 1);
            each.bind({&each == &listeners.front() ? std::uint16_t{0} : where().port});
            each.listen(1024);
        }
    }
    [[nodiscard]] address where() const { return listeners.front().local(); }
    void connect(std::size_t count) {
        for (std::size_t i = 0; i < count; ++i) {
            clients.emplace_back();
            clients.back().connect(where());
        }
        until("all are in the queues", [&] { return waiting() == clients.size(); });
    }
    [[nodiscard]] std::size_t waiting() const {
        std::size_t all = 0;
        for (const raw_socket& each : listeners)
            if (each.descriptor() >= 0) all += each.queue_depth();
        return all;
    }
    [[nodiscard]] std::string depths() const {
        std::string text;
        for (const raw_socket& each : listeners)
            text += (text.empty() ? "" : ", ") +
                    (each.descriptor() < 0 ? "closed" : std::to_string(each.queue_depth()));
        return text;
    }
    [[nodiscard]] std::size_t reset_clients() const {
        return static_cast<std::size_t>(std::ranges::count_if(clients, [](const raw_socket& each) {
            return (each.poll_now(POLLIN) & POLLERR) != 0;
        }));
    }
    std::vector<raw_socket> listeners;
    std::vector<raw_socket> clients;
};

}  // namespace tcp_truth
