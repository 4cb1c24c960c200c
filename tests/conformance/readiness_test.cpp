// readable and writable on descriptors that the program owns: every kind that poll(2) takes, and
// that no poller knows one any more when its wait has ended.
#include <coro/net/readiness.hpp>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class readiness_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(real_worlds, readiness_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

/// Closes what it holds.
class owned_descriptor {
public:
    explicit owned_descriptor(int descriptor) : number(descriptor) { EXPECT_GE(number, 0); }
    owned_descriptor(const owned_descriptor&) = delete;
    owned_descriptor& operator=(const owned_descriptor&) = delete;
    ~owned_descriptor() { close(); }
    void close() {
        if (number >= 0) ::close(std::exchange(number, -1));
    }

    int number;
};

struct pipe_ends {
    static std::array<int, 2> made() {
        std::array<int, 2> ends{-1, -1};
        EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK), 0);
        return ends;
    }
    explicit pipe_ends(std::array<int, 2> ends = made()) : reading(ends[0]), writing(ends[1]) {}

    void put() const { EXPECT_EQ(::write(writing.number, "x", 1), 1); }
    void take() const {
        char one = 0;
        EXPECT_EQ(::read(reading.number, &one, 1), 1);
    }
    void fill() const {
        std::array<char, 4096> text{};
        while (::write(writing.number, text.data(), text.size()) > 0) {}
    }
    void drain() const {
        std::array<char, 4096> text{};
        while (::read(reading.number, text.data(), text.size()) > 0) {}
    }

    owned_descriptor reading;
    owned_descriptor writing;
};

/// How many registrations the epoll sets of this process hold, theirs of the wake-up included.
std::size_t registrations() {
    std::size_t count = 0;
    for (const auto& each : std::filesystem::directory_iterator("/proc/self/fdinfo")) {
        std::ifstream info(each.path());
        for (std::string line; std::getline(info, line);) count += line.starts_with("tfd:") ? 1 : 0;
    }
    return count;
}

TEST_P(readiness_test, data_room_and_ends_are_told) {
    const auto body = [&]() -> task<> {
        pipe_ends ends;
        co_await writable(ends.writing.number);  // at once
        EXPECT_FALSE(co_await move_on_after(2ms, readable(ends.reading.number)));
        ends.put();
        co_await readable(ends.reading.number);
        co_await readable(ends.reading.number);  // it is not taken
        ends.take();
        EXPECT_FALSE(co_await move_on_after(2ms, readable(ends.reading.number)));
        ends.fill();
        EXPECT_FALSE(co_await move_on_after(2ms, writable(ends.writing.number)));
        ends.drain();
        co_await writable(ends.writing.number);
        ends.writing.close();
        co_await readable(ends.reading.number);  // the end
    };
    in_world(body);
}

/// A wait that has begun, and what ends it a moment later.
template <typename Event>
task<> told_of(int descriptor, Event event) {
    bool came = false;
    const auto both = [&](task_group& group) -> task<> {
        group.spawn([](int which, bool& told) -> task<> {
            co_await readable(which);
            told = true;
        }, descriptor, std::ref(came));
        co_await sleep_for(2ms);
        EXPECT_FALSE(came) << "readable before anything had come";
        event();
    };
    co_await with_task_group(both);
    EXPECT_TRUE(came);
}

TEST_P(readiness_test, whatever_poll_takes_can_be_awaited) {
    const auto body = [&]() -> task<> {

        const pipe_ends ends;
        co_await told_of(ends.reading.number, [&] { ends.put(); });

        const owned_descriptor counter(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        co_await told_of(counter.number, [&] {
            const std::uint64_t one = 1;
            EXPECT_EQ(::write(counter.number, &one, sizeof one), 8);
        });

        const owned_descriptor alarm(::timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
        co_await told_of(alarm.number, [&] {
            const itimerspec soon{{0, 0}, {0, 1'000'000}};
            EXPECT_EQ(::timerfd_settime(alarm.number, 0, &soon, nullptr), 0);
        });

        std::array<int, 2> sockets{-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, sockets.data()), 0);
        const owned_descriptor near(sockets[0]);
        const owned_descriptor far(sockets[1]);
        co_await told_of(near.number, [&] { EXPECT_EQ(::send(far.number, "x", 1, 0), 1); });

        const owned_descriptor watch(::inotify_init1(IN_CLOEXEC));
        std::string folder = ::testing::TempDir() + "readiness.XXXXXX";
        EXPECT_NE(::mkdtemp(folder.data()), nullptr);
        const std::string path = folder + "/created";
        EXPECT_GE(::inotify_add_watch(watch.number, folder.c_str(), IN_CREATE), 0);
        co_await told_of(watch.number, [&] { std::ofstream(path) << "x"; });

        // A regular file is ready at once, as poll(2) says.
        const owned_descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
        co_await readable(file.number);
        std::filesystem::remove_all(folder);

        const pipe_ends life;
        const pid_t child = ::fork();
        if (child == 0) {
            char one = 0;
            ::fcntl(life.reading.number, F_SETFL, 0);
            ::_exit(::read(life.reading.number, &one, 1) == 1 ? 0 : 1);
        }
        const owned_descriptor process(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
        co_await told_of(process.number, [&] { life.put(); });
        int status = -1;
        EXPECT_EQ(::waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
    };
    in_world(body);
}

TEST_P(readiness_test, several_may_wait_for_one_descriptor) {
    const auto body = [&]() -> task<> {
        std::array<int, 2> sockets{-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                               sockets.data()), 0);
        const owned_descriptor near(sockets[0]);
        const owned_descriptor far(sockets[1]);
        std::array<char, 4096> text{};
        while (::write(near.number, text.data(), text.size()) > 0) {}
        const std::size_t before = registrations();
        int told = 0;
        const auto all = [&](task_group& group) -> task<> {
            const auto count = [](detail::readiness_awaiter (*wait)(int), int descriptor,
                                  int& counter) -> task<> {
                co_await wait(descriptor);
                ++counter;
            };
            for (int i = 0; i < 2; ++i) {
                group.spawn(count, &readable, near.number, std::ref(told));
                group.spawn(count, &writable, near.number, std::ref(told));
            }
            co_await sleep_for(2ms);
            EXPECT_EQ(told, 0);
            while (::read(far.number, text.data(), text.size()) > 0) {}
            EXPECT_EQ(::write(far.number, "x", 1), 1);
        };
        co_await with_task_group(all);
        EXPECT_EQ(told, 4);
        EXPECT_EQ(registrations(), before);
        EXPECT_EQ(::read(near.number, text.data(), text.size()), 1) << "a byte was taken";
    };
    in_world(body);
}

/// io_uring's own poll ends when the peer sends no more.
TEST_P(readiness_test, a_peer_that_sends_no_more_makes_no_room) {
    const auto body = [&]() -> task<> {
        std::array<int, 2> sockets{-1, -1};
        EXPECT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0,
                               sockets.data()), 0);
        const owned_descriptor near(sockets[0]);
        const owned_descriptor far(sockets[1]);
        std::array<char, 4096> text{};
        while (::write(near.number, text.data(), text.size()) > 0) {}
        EXPECT_EQ(::shutdown(far.number, SHUT_WR), 0);
        co_await readable(near.number);  // the end of the stream
        const std::size_t open = open_descriptors();
        EXPECT_FALSE(co_await move_on_after(2ms, writable(near.number)));
        EXPECT_EQ(open_descriptors(), open);
        bool told = false;
        const auto both = [&](task_group& group) -> task<> {
            group.spawn([](int which, bool& came) -> task<> {
                co_await writable(which);
                came = true;
            }, near.number, std::ref(told));
            co_await sleep_for(2ms);
            EXPECT_FALSE(told);
            while (::read(far.number, text.data(), text.size()) > 0) {}
        };
        co_await with_task_group(both);
        EXPECT_GT(::write(near.number, text.data(), text.size()), 0);
        EXPECT_EQ(open_descriptors(), open);
    };
    in_world(body);
}

/// A duplicate shares the options of its file with the program's descriptor.
TEST_P(readiness_test, options_of_the_program_stay_as_they_are) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        net::tcp_stream ours = co_await net::tcp_stream::connect(listener.local_endpoint());
        ours.set_options({.linger = 1s});  // so this loop looks for such sockets when it closes
        const owned_descriptor theirs(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        const ::linger wanted{1, 7};
        EXPECT_EQ(::setsockopt(theirs.number, SOL_SOCKET, SO_LINGER, &wanted, sizeof wanted), 0);
        const sockaddr_in any{AF_INET, 0, {}, {}};
        EXPECT_EQ(::bind(theirs.number, reinterpret_cast<const sockaddr*>(&any), sizeof any), 0);
        EXPECT_EQ(::listen(theirs.number, 1), 0);
        const auto waiting = [&](task_group& group) -> task<> {
            for (int i = 0; i < 2; ++i)
                group.spawn([](int which) -> task<> { co_await readable(which); }, theirs.number);
            co_await sleep_for(1ms);
            group.cancel();
        };
        co_await with_task_group(waiting);
        ::linger now_set{};
        socklen_t size = sizeof now_set;
        EXPECT_EQ(::getsockopt(theirs.number, SOL_SOCKET, SO_LINGER, &now_set, &size), 0);
        EXPECT_EQ(now_set.l_linger, 7);
        EXPECT_EQ(now_set.l_onoff, 1);
    };
    in_world(body);
}

/// What a wait may end by.
enum class end_by : std::uint8_t { event, cancellation, both };

/// Waits once for a pipe's reading end to become readable.
task<> wait_once(const pipe_ends& ends, end_by how) {
    const auto body = [&](task_group& group) -> task<> {
        group.spawn([](int which) -> task<> { co_await readable(which); }, ends.reading.number);
        co_await sleep_for(1ms);
        if (how != end_by::cancellation) ends.put();
        if (how != end_by::event) group.cancel();
    };
    co_await with_task_group(body);
}

TEST_P(readiness_test, nothing_refers_to_the_descriptor_after_the_wait) {
    const auto body = [&]() -> task<> {
        for (const end_by how : {end_by::event, end_by::cancellation, end_by::both}) {
            pipe_ends ends;
            const owned_descriptor also(::fcntl(ends.reading.number, F_DUPFD_CLOEXEC, 0));
            const std::size_t before = registrations();
            co_await wait_once(ends, how);
            // A registration would outlive the descriptor by its duplicate.
            EXPECT_EQ(registrations(), before);

            // The owner replaces it: the next wait is for the new file, under the same number.
            pipe_ends other;
            EXPECT_EQ(::dup2(other.reading.number, ends.reading.number), ends.reading.number);
            ends.put();  // to the old one
            EXPECT_FALSE(co_await move_on_after(1ms, readable(ends.reading.number)));
            other.put();
            co_await readable(ends.reading.number);
        }
    };
    in_world(body);
}

/// A poll that the kernel kept would hold the file, and the reader would never see the end.
TEST_P(readiness_test, closing_after_the_wait_closes_the_file) {
    const auto body = [&]() -> task<> {
        for (const bool cancelled_first : {true, false}) {
            pipe_ends ends;
            ends.fill();
            const auto waiting = [&](task_group& group) -> task<> {
                group.spawn([](int which) -> task<> { co_await writable(which); },
                            ends.writing.number);
                co_await sleep_for(1ms);
                if (cancelled_first) group.cancel();
                else ends.drain();
            };
            co_await with_task_group(waiting);
            ends.writing.close();
            ends.drain();
            char one = 0;
            EXPECT_EQ(::read(ends.reading.number, &one, 1), 0) << "the writing end is still open";
        }
    };
    in_world(body);
}

TEST_P(readiness_test, a_number_that_is_no_descriptor_is_an_error) {
    const auto body = [&]() -> task<> {
        pipe_ends closed;
        const int number = closed.reading.number;
        closed.reading.close();
        for (const int bad : {-1, number}) {
            auto reading = [bad]() -> task<> { co_await readable(bad); };
            auto writing = [bad]() -> task<> { co_await writable(bad); };
            const auto first = co_await as_result(reading());
            const auto second = co_await as_result(writing());
            EXPECT_FALSE(first.has_value());
            EXPECT_FALSE(second.has_value());
            if (first || second) co_return;
            EXPECT_EQ(first.error().code(), std::errc::bad_file_descriptor);
            EXPECT_EQ(first.error().endpoint(), "fd " + std::to_string(bad));
            EXPECT_EQ(std::string_view(second.error().operation()), "wait until writable");
        }
    };
    in_world(body);
}

TEST_P(readiness_test, the_dump_names_the_descriptor) {
    const auto body = [&]() -> task<> {
        const pipe_ends ends;
        const auto waiting = [&](task_group& group) -> task<> {
            group.spawn([](int which) -> task<> { co_await readable(which); },
                        ends.reading.number);
            co_await sleep_for(1ms);
            const std::string wanted =
                "wait until readable fd " + std::to_string(ends.reading.number);
            EXPECT_NE(dump_tasks().find(wanted), std::string::npos) << dump_tasks();
            group.cancel();
        };
        co_await with_task_group(waiting);
    };
    in_world(body);
}

TEST(simulated_readiness_test, is_refused_by_name) {
    const pipe_ends ends;
    const auto body = [&]() -> task<> {
        auto waiting = [&]() -> task<> { co_await readable(ends.reading.number); };
        const auto ended = co_await as_result(waiting());
        EXPECT_FALSE(ended.has_value());
        if (ended) co_return;
        EXPECT_EQ(ended.error().code(), std::errc::operation_not_supported);
        const std::string begin = "wait until readable fd " + std::to_string(ends.reading.number);
        EXPECT_TRUE(std::string_view(ended.error().what()).starts_with(begin + ": "))
            << ended.error().what();
    };
    run_in(poller_choice::simulation, body);
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
