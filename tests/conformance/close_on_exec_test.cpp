// No descriptor of the library passes on to a program that is executed: decision 0019. Each kind is
// made, and the kernel is asked for its flag.
#include <dirent.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <set>

#include "net_test_support.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class close_on_exec_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, close_on_exec_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

std::set<int> descriptors_now() {
    std::set<int> all;
    DIR* const folder = ::opendir("/proc/self/fd");
    while (const dirent* const entry = ::readdir(folder)) {
        const int number = std::atoi(entry->d_name);
        if (entry->d_name[0] != '.' && number != ::dirfd(folder)) all.insert(number);
    }
    ::closedir(folder);
    return all;
}

std::string target_of(int descriptor) {
    std::array<char, 256> target{};
    const std::string link = "/proc/self/fd/" + std::to_string(descriptor);
    const ssize_t size = ::readlink(link.c_str(), target.data(), target.size());
    return size < 0 ? "nothing" : std::string(target.data(), static_cast<std::size_t>(size));
}

/// Every descriptor that was not there before.
class opened_since {
public:
    explicit opened_since(std::set<int> before) : before_(std::move(before)) {}

    void expect_close_on_exec(std::size_t at_least) const {
        std::size_t seen = 0;
        for (const int each : descriptors_now()) {
            if (before_.count(each) != 0) continue;
            ++seen;
            const int flags = ::fcntl(each, F_GETFD);
            EXPECT_TRUE(flags >= 0 && (flags & FD_CLOEXEC) != 0) << each << ": " << target_of(each);
        }
        EXPECT_GE(seen, at_least) << "what is looked at was not made";
    }

private:
    std::set<int> before_;
};

/// A duplicate without the flag, as a program may hand one over.
int bare_socket() { return ::socket(AF_INET, SOCK_STREAM, 0); }

TEST_P(close_on_exec_test, every_kind_of_descriptor_has_the_flag) {
    const opened_since opened(descriptors_now());
    in_loops(3, [](const opened_since& all) -> task<> {
        signal_set signals({SIGHUP});
        co_await blocking([] {});
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto connect_and_accept = [&](bool accept_waits) -> task<> {
            std::vector<net::tcp_stream> ends(2);
            const auto connecting = [&]() -> task<> {
                for (int turn = 0; accept_waits && turn < 20; ++turn) co_await yield();
                ends[0] = co_await net::tcp_stream::connect(where);
            };
            const auto accepting = [&]() -> task<> {
                while (!accept_waits && !ends[0]) co_await yield();
                ends[1] = co_await listener.accept();
            };
            co_await when_all(connecting(), accepting());
            all.expect_close_on_exec(9 + 1 + 2);  // three of a loop
        };
        co_await connect_and_accept(true);
        co_await connect_and_accept(false);
        std::optional<net::tcp_stream> none = co_await listener.accept_if_waiting();
        EXPECT_FALSE(none);
        // One that the program made, and a descriptor given up and taken again.
        poller& world = scheduler_of(this_loop()).poller();
        detail::handle adopted;
        EXPECT_EQ(world.adopt(bare_socket(), adopted), 0);
        EXPECT_LT(world.shed_connection(stream_access::ref(listener).handle), 0);
        all.expect_close_on_exec(9 + 1 + 1);
        world.close(adopted);
    }(opened));
}

TEST_P(close_on_exec_test, those_of_a_server_on_several_loops_have_it) {
    const opened_since opened(descriptors_now());
    in_loops(3, [](const opened_since& all) -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        const net::endpoint where = listener.local_endpoint();
        const auto serving = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, echo));
            std::vector<net::tcp_stream> clients;
            for (int i = 0; i < 9; ++i) {
                clients.push_back(co_await net::tcp_stream::connect(where));
                co_await say(clients.back(), "ping");
                co_await hear(clients.back(), "ping");
            }
            all.expect_close_on_exec(9 + 1 + 2 * 9);
            group.request_stop();
        };
        co_await with_task_group(serving);
    }(opened));
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
