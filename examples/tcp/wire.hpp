// wire: the cable between the near and the far network, held by this program. Every packet passes
// through its hands (tun(4)): it shows them, keeps them for a while, or loses them.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <netinet/in.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <set>
#include <string>
#include <string_view>
#include <tuple>

#include "own_network.hpp"
#include "raw_socket.hpp"

namespace tcp_truth {

/// A TCP segment in its packet (RFC 9293 §3.1).
struct packet {
    bool from_near = true;
    std::string bytes;  ///< the whole packet

    [[nodiscard]] bool has(std::uint8_t flag) const { return (at(header() + 13) & flag) != 0; }
    [[nodiscard]] bool syn() const { return has(2); }
    [[nodiscard]] bool fin() const { return has(1); }
    [[nodiscard]] bool rst() const { return has(4); }
    [[nodiscard]] bool ack() const { return has(16); }
    [[nodiscard]] std::uint16_t port_from() const {
        return static_cast<std::uint16_t>(four(header()) >> 16);
    }
    [[nodiscard]] std::uint16_t port_to() const {
        return static_cast<std::uint16_t>(four(header()));
    }
    [[nodiscard]] std::uint32_t sequence() const { return four(header() + 4); }
    [[nodiscard]] std::uint32_t acknowledged() const { return four(header() + 8); }
    /// As it stands there, not scaled.
    [[nodiscard]] std::uint32_t window() const { return four(header() + 12) & 0xffffU; }
    [[nodiscard]] std::string_view data() const {
        return std::string_view(bytes).substr(header() + (at(header() + 12) >> 4) * 4U);
    }
    /// "SYN", "SYN ACK", "ACK with 5 bytes", "FIN ACK".
    [[nodiscard]] std::string words() const {
        std::string text;
        if (syn()) text += "SYN ";
        if (fin()) text += "FIN ";
        if (rst()) text += "RST ";
        if (ack()) text += "ACK ";
        return data().empty() ? text.substr(0, text.size() - 1)
                              : text + "with " + count_of(data().size(), "byte");
    }
    [[nodiscard]] bool is_tcp() const {
        return bytes.size() >= 40 && at(0) >> 4 == 4 && at(9) == IPPROTO_TCP;
    }

private:
    [[nodiscard]] std::size_t header() const { return (at(0) & 15U) * 4U; }
    [[nodiscard]] unsigned at(std::size_t place) const {
        return static_cast<unsigned char>(bytes.at(place));
    }
    [[nodiscard]] std::uint32_t four(std::size_t place) const {
        return at(place) << 24 | at(place + 1) << 16 | at(place + 2) << 8 | at(place + 3);
    }
};

class wire {
public:
    static constexpr std::uint32_t near_host = 0x0a4d0001;  ///< 10.77.0.1
    static constexpr std::uint32_t far_host = 0x0a4d0002;   ///< 10.77.0.2

    explicit wire(const own_network& network)
        : near_(plug("near", near_host)),
          far_(network.far([] { return plug("far", far_host); })) {}

    /// How long a packet is under way. Nothing moves but in carry().
    void set_delay(std::chrono::nanoseconds delay) { delay_ = delay; }

    /// Takes what the hosts have sent, and hands over what was long enough under way. A packet of
    /// TCP for which `passes` is false is lost; others that are no TCP always are. Never waits.
    template <typename Passes>
    void carry(Passes passes) {
        const auto now = timeline::clock::now();
        for (const bool from_near : {true, false})
            while (take(from_near)) {
                const packet& got = under_way_.back().what;
                under_way_.back().due = now + delay_;
                if (!got.is_tcp() || !passes(got)) under_way_.pop_back();
            }
        while (!under_way_.empty() && under_way_.front().due <= now) {
            const packet& ready = under_way_.front().what;
            const descriptor& to = ready.from_near ? far_ : near_;
            checked("write", ::write(to.descriptor(), ready.bytes.data(), ready.bytes.size()));
            under_way_.pop_front();
        }
    }
    void carry() {
        carry([](const packet&) { return true; });
    }
    void lose() {
        carry([](const packet&) { return false; });
    }
    /// Carries, and shows each packet in a row. What a host repeats is not shown again: it does so
    /// when this program has been slow.
    void carry(const timeline& line) {
        carry([&](const packet& each) {
            if (is_new(each)) show(line, each);
            return true;
        });
    }
    /// Whether is_new() was not asked for such a packet before: its ports, flags, sequence, ...
    [[nodiscard]] bool is_new(const packet& each) {
        return seen_
            .emplace(each.port_from(), each.port_to(), each.words(), each.sequence(),
                     each.acknowledged())
            .second;
    }
    static void show(const timeline& line, const packet& each, const char* what_becomes = "") {
        line.at("wire", (each.from_near ? "near → far: " : "far → near: ") + each.words() +
                            what_becomes);
    }
    /// Whether something is under way that has a delay to wait for.
    [[nodiscard]] bool busy() const { return !under_way_.empty(); }

    /// Waits, a millisecond at most, until a host sends something.
    void rest() const {
        std::array<pollfd, 2> both{pollfd{near_.descriptor(), POLLIN, 0},
                                   pollfd{far_.descriptor(), POLLIN, 0}};
        checked("poll", ::poll(both.data(), both.size(), 1));
    }

private:
    struct entry {
        packet what;
        timeline::clock::time_point due;
    };

    /// An interface in the present namespace, with its cable's end in our hand.
    static descriptor plug(const char* name, std::uint32_t host) {
        descriptor end(::open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK));
        if (end.descriptor() < 0)
            throw not_allowed("opening /dev/net/tun: " + name_of_error(errno));
        ifreq asked{};
        std::strncpy(asked.ifr_name, name, sizeof asked.ifr_name - 1);
        asked.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (::ioctl(end.descriptor(), TUNSETIFF, &asked) != 0)
            throw not_allowed("TUNSETIFF: " + name_of_error(errno));
        interface made(name);
        made.number(host, 0xffffff00);
        made.up();
        return end;
    }
    /// Puts the next packet that the host has sent behind what is under way.
    bool take(bool from_near) {
        std::array<char, 65536> memory;
        const descriptor& from = from_near ? near_ : far_;
        const ssize_t size = ::read(from.descriptor(), memory.data(), memory.size());
        if (size < 0 && errno != EAGAIN) fail("read");
        if (size <= 0) return false;
        under_way_.push_back(
            {{from_near, std::string(memory.data(), static_cast<std::size_t>(size))}, {}});
        return true;
    }

    descriptor near_;
    descriptor far_;
    std::deque<entry> under_way_;
    std::set<std::tuple<std::uint16_t, std::uint16_t, std::string, std::uint32_t, std::uint32_t>>
        seen_;
    std::chrono::nanoseconds delay_{0};
};

}  // namespace tcp_truth
