// Two network namespaces of the test's own, near and far, with one cable in between: what is cut,
// lost or not there in them is so for nobody else. Made in a child process, gone with it.
#pragma once

#include <cstdint>
#include <string>

namespace coro_test {

/// The calling thread is in the near one, which is 10.77.0.1/24; the far one is 10.77.0.2. Both
/// have their loopback, and neither a way out.
class own_network {
public:
    static constexpr std::uint32_t near_address = 0x0a4d0001;
    static constexpr std::uint32_t far_address = 0x0a4d0002;
    static constexpr std::uint32_t nobodys_address = 0x0a4d0063;  ///< no host answers for it
    static constexpr std::uint32_t silent_address = 0x0a4d0032;   ///< the far host drops it
    static constexpr std::uint32_t no_way_address = 0xc0000201;   ///< TEST-NET-1: no route

    own_network() = default;
    own_network(const own_network&) = delete;
    own_network& operator=(const own_network&) = delete;
    ~own_network();

    /// Empty, or why this machine does not give us one.
    [[nodiscard]] std::string open();

    /// A TCP socket of the far host that listens; its port is left in `port`.
    [[nodiscard]] int far_listener(std::uint16_t& port);
    /// A TCP socket of the far host, connected to `port` of the near one.
    [[nodiscard]] int far_client(std::uint16_t port);
    /// Pulls out the cable, or puts it back.
    void connect_cable(bool connected);

private:
    std::string make_cable();
    std::string configure();
    static void hurry();
    static void enter(int network_namespace);
    int far_socket();

    int near_ = -1;
    int far_ = -1;
};

}  // namespace coro_test
