// What the conformance tests of the waist share: a world made fresh for each test, operations that
// are watched for completing exactly once, and connected pairs. See src/runtime/poller.hpp.
#pragma once

#include <arpa/inet.h>
#include <dirent.h>
#include <netinet/in.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "conformance/kernel_queues.hpp"
#include "runtime/make_poller.hpp"
#include "runtime/poller.hpp"
#include "support/alone.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {

using namespace std::chrono_literals;

// --- which worlds run

/// CORO_POLLER=automatic where io_uring is refused (tests/tools/deny_uring): what automatic falls
/// back to is then the only world, named "automatic". The simulation asks no kernel: left out.
inline bool only_the_fallback() {
    const char* asked = std::getenv("CORO_POLLER");
    if (asked == nullptr || std::string_view(asked) != "automatic") return false;
    static const bool fell_back = make_alone(poller_choice::automatic, false, {}).fell_back;
    return fell_back;
}

/// `strict` for a world of the tests: only a fallback is wanted as such.
inline bool insists(poller_choice world) { return world != poller_choice::automatic; }

/// CORO_POLLER=io_uring or epoll leaves out the other real world, so that two ctest entries share
/// this program; the simulation always runs.
inline bool selected(poller_choice world) {
    const char* asked = std::getenv("CORO_POLLER");
    if (asked == nullptr || world == poller_choice::simulation) return true;
    const std::string_view name = asked;
    if (name != "io_uring" && name != "epoll" && name != "simulation") return true;
    return name == (world == poller_choice::io_uring ? "io_uring" : "epoll");
}

inline std::vector<poller_choice> selected_of(std::initializer_list<poller_choice> worlds) {
    if (only_the_fallback()) return {poller_choice::automatic};
    std::vector<poller_choice> chosen;
    for (const poller_choice world : worlds) {
        if (selected(world)) chosen.push_back(world);
    }
    return chosen;
}

inline std::vector<poller_choice> real_worlds() {
    return selected_of({poller_choice::io_uring, poller_choice::epoll});
}

inline std::vector<poller_choice> all_worlds() {
    return selected_of(
        {poller_choice::io_uring, poller_choice::epoll, poller_choice::simulation});
}

inline std::string world_name(poller_choice world) {
    switch (world) {
        case poller_choice::io_uring: return "io_uring";
        case poller_choice::epoll: return "epoll";
        case poller_choice::simulation: return "simulation";
        case poller_choice::automatic: break;
    }
    return "automatic";
}

inline std::string parameter_name(const ::testing::TestParamInfo<poller_choice>& info) {
    return world_name(info.param);
}

// --- addresses, built from the system's own headers: the simulation reads them without

inline socket_address ipv4_address(std::uint16_t port, std::uint32_t host = INADDR_LOOPBACK) {
    sockaddr_in layout{};
    layout.sin_family = AF_INET;
    layout.sin_port = htons(port);
    layout.sin_addr.s_addr = htonl(host);
    socket_address made;
    std::memcpy(made.bytes.data(), &layout, sizeof layout);
    made.size = sizeof layout;
    return made;
}

inline socket_address ipv6_address(std::uint16_t port, in6_addr host = in6addr_loopback) {
    sockaddr_in6 layout{};
    layout.sin6_family = AF_INET6;
    layout.sin6_port = htons(port);
    layout.sin6_addr = host;
    socket_address made;
    std::memcpy(made.bytes.data(), &layout, sizeof layout);
    made.size = sizeof layout;
    return made;
}

inline socket_address loopback(address_family family, std::uint16_t port = 0) {
    return family == address_family::ipv6 ? ipv6_address(port) : ipv4_address(port);
}

/// The port stands at the same place for both families.
inline std::uint16_t port_of(const socket_address& address) {
    sockaddr_in layout{};
    std::memcpy(&layout, address.bytes.data(), sizeof layout);
    return ntohs(layout.sin_port);
}

/// "127.0.0.1:80" or "[::1]:80".
inline std::string text_of(const socket_address& address) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    std::uint16_t family = 0;
    std::memcpy(&family, address.bytes.data(), sizeof family);
    const bool v6 = family == AF_INET6;
    inet_ntop(family, address.bytes.data() + (v6 ? 8 : 4), text.data(), text.size());
    const std::string host = v6 ? "[" + std::string(text.data()) + "]" : std::string(text.data());
    return host + ":" + std::to_string(port_of(address));
}

// --- bytes

/// Byte number `offset` of the stream that the transfer tests send; its period is no power of two,
/// so that a lost or repeated block shows.
inline std::byte pattern(std::size_t offset) {
    return static_cast<std::byte>((offset * 31 + offset / 251) % 253);
}

inline std::vector<std::byte> pattern_bytes(std::size_t from, std::size_t size) {
    std::vector<std::byte> made(size);
    for (std::size_t i = 0; i < size; ++i) made[i] = pattern(from + i);
    return made;
}

/// The first offset at which `bytes` is not the pattern that starts at `from`; size if none.
inline std::size_t first_difference(const std::byte* bytes, std::size_t size, std::size_t from) {
    for (std::size_t i = 0; i < size; ++i) {
        if (bytes[i] != pattern(from + i)) return i;
    }
    return size;
}

inline std::size_t open_descriptors() {
    std::size_t count = 0;
    DIR* folder = ::opendir("/proc/self/fd");
    if (folder == nullptr) return 0;
    while (::readdir(folder) != nullptr) ++count;
    ::closedir(folder);
    return count;
}

/// Asks `op`, a receive or send of any form, for the bytes of `slice`, which stays where it is.
inline void ask_for(operation& op, io_slice& slice) {
    if (op.code == opcode::receive_leased) op.most = slice.size;
    else if (op.code == opcode::receive_vectored || op.code == opcode::send_vectored)
        op.slices = {&slice, 1};
    else op.buffer = {slice.data, slice.size};
}

inline bool broken_pipe_or_reset(std::int32_t result) {
    return result == -EPIPE || result == -ECONNRESET;
}

// --- the fixture

struct listener_socket {
    detail::handle handle;
    socket_address address;
};

struct connected_pair {
    detail::handle client;
    detail::handle server;
};

class poller_fixture : public ::testing::TestWithParam<poller_choice> {
protected:
    void SetUp() override { start({}); }
    void TearDown() override { finish_world(); }

    [[nodiscard]] bool simulated() const { return GetParam() == poller_choice::simulation; }
    [[nodiscard]] poller& world() { return *world_; }
    [[nodiscard]] detail::world& shared_world() { return *shared_world_; }

    /// Ends the present world, with all its checks, and makes one with these options.
    void restart(const poller_options& options, std::uint64_t seed = 0) {
        finish_world();
        start(options, seed);
    }

    // --- operations

    /// Answers what submit() answered, and watches the operation from now on.
    bool submit(operation& op) {
        const bool done = world().submit(op);
        if (done) {
            EXPECT_EQ(op.phase, operation_phase::completed) << "submit() answered true";
        } else {
            EXPECT_EQ(op.phase, operation_phase::submitted) << "submit() answered false";
            EXPECT_TRUE(pending_.insert(&op).second) << "submitted twice";
        }
        return done;
    }

    /// One wait(); answers how many operations it completed.
    std::size_t collect(time_point deadline) {
        operation_list completed;
        world().wait(deadline, completed);
        std::size_t count = 0;
        while (operation* op = completed.pop()) {
            ++count;
            EXPECT_EQ(op->phase, operation_phase::completed);
            EXPECT_EQ(pending_.erase(op), 1u)
                << "an operation arrived that was not pending: it completed twice, or submit() "
                   "had answered true for it";
            EXPECT_NE(op->result, -EINTR);
            EXPECT_NE(op->result, -EAGAIN);
        }
        return count;
    }

    /// Collects what is there now.
    std::size_t collect_now() { return collect(world().now()); }

    /// Lets things happen until nothing has for `quiet`. For "it does not complete" only.
    void settle(duration quiet = 10ms) {
        time_point until = world().now() + quiet;
        while (world().now() < until) {
            if (collect(until) > 0) until = world().now() + quiet;
        }
    }

    void finish(operation& op) {
        until("an operation completes", [&] { return op.phase != operation_phase::submitted; });
    }

    /// Waits in the poller until `condition`. The limit only turns a hang into a sentence; in the
    /// simulation a hang is known at once.
    template <typename Condition>
    void until(const char* what, Condition condition) {
        const time_point give_up = simulated() ? never : world().now() + 60s;
        while (!condition()) {
            collect(give_up);
            if (world().now() < give_up) continue;
            std::fprintf(stderr, "hang: waited a minute until %s\n", what);
            std::abort();
        }
    }

    /// Submits and waits for the completion.
    std::int32_t run(operation& op) {
        if (!submit(op)) finish(op);
        return op.result;
    }

    std::int32_t send(detail::handle to, std::string_view text) {
        operation op(opcode::send, to);
        op.buffer.data = const_cast<char*>(text.data());
        op.buffer.size = text.size();
        return run(op);
    }

    void send_all(detail::handle to, std::string_view text) {
        while (!text.empty()) {
            const std::int32_t sent = send(to, text);
            ASSERT_GT(sent, 0) << "sending failed";
            text.remove_prefix(static_cast<std::size_t>(sent));
        }
    }

    /// One receive; the bytes, or "<result>" when it is no positive one: "<0>" is the end.
    std::string receive(detail::handle from, std::size_t most = 4096) {
        std::string into(most, '\0');
        operation op(opcode::receive, from);
        op.buffer.data = into.data();
        op.buffer.size = into.size();
        const std::int32_t result = run(op);
        if (result <= 0) return "<" + std::to_string(result) + ">";
        into.resize(static_cast<std::size_t>(result));
        return into;
    }

    static std::string answer(std::int32_t result) { return "<" + std::to_string(result) + ">"; }

    /// Receives until `size` bytes or something else than bytes came.
    std::string receive_exactly(detail::handle from, std::size_t size) {
        std::string all;
        while (all.size() < size) {
            const std::string part = receive(from, size - all.size());
            all += part;
            if (part.front() == '<') break;
        }
        return all;
    }

    // --- sockets

    detail::handle open(address_family family = address_family::ipv4) {
        detail::handle made;
        EXPECT_EQ(world().open_stream(family, made), 0);
        opened_.push_back(made);
        return made;
    }

    listener_socket listen(int backlog = 512, address_family family = address_family::ipv4) {
        return listen_on(open(family), loopback(family), backlog);
    }

    listener_socket listen_on(detail::handle socket, const socket_address& where, int backlog) {
        listener_socket made{socket, {}};
        EXPECT_EQ(world().bind(socket, where), 0);
        EXPECT_EQ(world().listen(socket, backlog), 0);
        EXPECT_EQ(world().local_address(socket, made.address), 0);
        return made;
    }

    std::int32_t connect(detail::handle client, socket_address where) {
        operation op(opcode::connect, client);
        op.where = &where;
        return run(op);
    }

    detail::handle accept(const listener_socket& listener) {
        operation op(opcode::accept, listener.handle);
        EXPECT_EQ(run(op), 0);
        keep(op.accepted);
        return op.accepted;
    }

    /// Until so many clients wait in the kernel's queue of a listener on which nothing accepts.
    void await_queue(const listener_socket& listener, std::size_t count) {
        while (queue_length(port_of(listener.address), count) < count)
            collect(world().now() + 1ms);
    }

    connected_pair connect_pair(const listener_socket& listener,
                                address_family family = address_family::ipv4) {
        connected_pair made{open(family), {}};
        EXPECT_EQ(connect(made.client, listener.address), 0);
        made.server = accept(listener);
        return made;
    }

    connected_pair connect_pair() { return connect_pair(listen()); }

    /// A pair through which only some kilobytes fit: a send soon finds it full.
    connected_pair narrow_pair() {
        const detail::handle socket = open();
        EXPECT_EQ(world().set_option(socket, socket_option::receive_buffer, 4096), 0);
        EXPECT_EQ(world().set_option(socket, socket_option::send_buffer, 4096), 0);
        const listener_socket listener = listen_on(socket, loopback(address_family::ipv4), 16);
        connected_pair made{open(), {}};
        EXPECT_EQ(world().set_option(made.client, socket_option::receive_buffer, 4096), 0);
        EXPECT_EQ(world().set_option(made.client, socket_option::send_buffer, 4096), 0);
        EXPECT_EQ(connect(made.client, listener.address), 0);
        made.server = accept(listener);
        return made;
    }

    /// Sends the pattern through `op` until one send stays pending; answers how much was taken
    /// before it. `buffer` holds what the pending send sends.
    std::size_t fill(operation& op, std::vector<std::byte>& buffer) {
        std::size_t taken = 0;
        for (;;) {
            buffer = pattern_bytes(taken, 1 << 18);
            op.buffer = {buffer.data(), buffer.size()};
            if (!submit(op)) settle(20ms);
            if (op.phase == operation_phase::submitted) return taken;
            EXPECT_GT(op.result, 0);
            if (op.result <= 0) return taken;
            taken += static_cast<std::size_t>(op.result);
        }
    }

    /// Receives until something else than bytes comes (its result is left in `end`) or `size` bytes
    /// came; all must be the pattern. Answers how many bytes came.
    std::size_t drain_pattern(detail::handle from, std::size_t size, std::int32_t& end) {
        std::vector<std::byte> into(1 << 16);
        std::size_t got = 0;
        while (got < size) {
            operation op(opcode::receive, from);
            op.buffer.data = into.data();
            op.buffer.size = std::min(into.size(), size - got);
            end = run(op);
            if (end <= 0) break;
            const auto part = static_cast<std::size_t>(end);
            EXPECT_EQ(first_difference(into.data(), part, got), part) << "after byte " << got;
            got += part;
        }
        return got;
    }

    /// One receive more of a pattern of which `got` bytes came before; answers the new count.
    std::size_t drain_more(detail::handle from, std::size_t got) {
        std::vector<std::byte> into(1 << 16);
        operation op(opcode::receive, from);
        op.buffer.data = into.data();
        op.buffer.size = into.size();
        const std::int32_t result = run(op);
        EXPECT_GT(result, 0);
        if (result <= 0) std::abort();  // the callers loop until bytes have come
        const auto part = static_cast<std::size_t>(result);
        EXPECT_EQ(first_difference(into.data(), part, got), part) << "after byte " << got;
        return got + part;
    }

    /// What the server receives of `text` that the client sends.
    std::string receive_after(const connected_pair& pair, std::string_view text) {
        send_all(pair.client, text);
        return receive_exactly(pair.server, text.size());
    }

    /// TearDown closes it.
    void keep(detail::handle socket) {
        if (socket) opened_.push_back(socket);
    }

    /// Closes and waits until everything that belonged to the sockets is gone.
    void close_all() {
        for (const detail::handle socket : std::exchange(opened_, {})) world().close(socket);
        for (int turn = 0; turn < 2000 && world().census().sockets > 0; ++turn) {
            collect(world().now() + 1ms);
        }
    }

private:
    void start(const poller_options& options, std::uint64_t seed = 0) {
        descriptors_before_ = open_descriptors();
        made_alone made = make_alone(GetParam(), insists(GetParam()), options, seed);
        ASSERT_NE(made.instance, nullptr) << made.reason;
        shared_world_ = std::move(made.all);
        world_ = std::move(made.instance);
        ASSERT_EQ(made.fell_back, GetParam() == poller_choice::automatic) << made.reason;
        ASSERT_EQ(world_->name(), made.fell_back ? "epoll" : world_name(GetParam()));
    }

    void finish_world() {
        if (world_ == nullptr) return;
        close_all();
        const poller_census alive = world().census();
        EXPECT_EQ(alive.operations, 0u);
        EXPECT_EQ(alive.sockets, 0u);
        EXPECT_EQ(alive.leases, 0u);
        EXPECT_TRUE(pending_.empty()) << "operations that never completed";
        EXPECT_EQ(world().counters.submitted, world().counters.completed);
        world_.reset();
        shared_world_.reset();
        EXPECT_EQ(open_descriptors(), descriptors_before_) << "descriptors leaked";
    }

    std::unique_ptr<detail::world> shared_world_;
    std::unique_ptr<poller> world_;
    std::unordered_set<operation*> pending_;
    std::vector<detail::handle> opened_;
    std::size_t descriptors_before_ = 0;
};

}}}  // namespace coro::v0::detail::conformance
