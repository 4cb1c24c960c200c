// Unix streams and listeners as programs use them, in all three worlds; files in the real ones.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include "net_test_support.hpp"
#include "support/own_folder.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

using coro_test::own_folder;
using net::local_address;
using net::local_listener;
using net::local_stream;

bool exists(const std::string& path) {
    struct stat found{};
    return ::lstat(path.c_str(), &found) == 0;
}
unsigned mode_of(const std::string& path) {
    struct stat found{};
    EXPECT_EQ(::lstat(path.c_str(), &found), 0);
    return found.st_mode & 07777u;
}

/// What a server that was killed leaves behind: a file at which nobody listens.
void leave_stale(const std::string& path) {
    const int descriptor = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un where{};
    where.sun_family = AF_UNIX;
    std::memcpy(where.sun_path, path.data(), path.size());
    ASSERT_EQ(::bind(descriptor, reinterpret_cast<const sockaddr*>(&where), sizeof where), 0);
    ASSERT_EQ(::listen(descriptor, 1), 0);
    ::close(descriptor);
    ASSERT_TRUE(exists(path));
}

template <typename Call>
std::string what_of(Call call) {
    try {
        call();
    } catch (const io_error& error) {
        return error.what();
    }
    return "no error";
}
std::string bind_error(const local_address& where) {
    return what_of([&] { static_cast<void>(local_listener::bind(where)); });
}
task<std::string> connect_error(local_address where) {
    const auto made = co_await as_result(local_stream::connect(where));
    co_return made.has_value() ? std::string("no error") : made.error().what();
}

task<> check_bytes(local_stream& near, local_stream& far) {
    co_await net::write_all(near, as_bytes("there"));
    std::array<std::byte, 5> into{};
    co_await net::read_exact(far, mutable_bytes(into));
    EXPECT_EQ(as_text(into), "there");
}

task<> write_from_afar(local_stream stream) {
    co_await stream.rebind();
    co_await net::write_all(stream, as_bytes("from afar"));
}

class local_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, local_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

TEST_P(local_test, paths_and_abstract_names_carry_bytes) {
    own_folder folder;
    const std::string path = folder.file("s");
    const std::string longest =
        folder.file(std::string(local_address::longest_name - folder.path().size() - 1, 'l'));
    ASSERT_EQ(longest.size(), local_address::longest_name);
    const auto body = [&]() -> task<> {
        for (const local_address& where :
             {local_address::path(path), local_address::path(longest),
              local_address::abstract("coro-local-" + std::to_string(::getpid()))}) {
            local_listener listener = local_listener::bind(where);
            EXPECT_EQ(listener.local_endpoint(), where);
            local_stream client = co_await local_stream::connect(where);
            local_stream server = co_await listener.accept();
            co_await check_bytes(client, server);
            co_await check_bytes(server, client);
            EXPECT_EQ(client.remote_endpoint(), where);
            EXPECT_TRUE(client.local_endpoint().is_unnamed());
            EXPECT_TRUE(server.remote_endpoint().is_unnamed());
            EXPECT_EQ(server.local_endpoint(), where);
            EXPECT_EQ(client.describe(), where.to_string());
            EXPECT_EQ(server.describe(), "client of " + where.to_string());
        }
    };
    in_world(body);
    EXPECT_FALSE(exists(path));
    EXPECT_FALSE(exists(longest));
}

TEST_P(local_test, errors_name_the_verb_and_the_peer) {
    own_folder folder;
    const std::string path = folder.file("nobody");
    const auto body = [&]() -> task<> {
        const std::string missing = co_await connect_error(local_address::path(path));
        EXPECT_EQ(missing, "connect unix:" + path + ": No such file or directory");
        const std::string refused =
            co_await connect_error(local_address::abstract("coro-nobody-here"));
        EXPECT_EQ(refused, "connect unix:@coro-nobody-here: Connection refused");

        local_listener listener = local_listener::bind(local_address::path(path));
        local_stream client = co_await local_stream::connect(local_address::path(path));
        local_stream server = co_await listener.accept();
        client.close();
        std::array<std::byte, 5> into{};
        const auto read = co_await as_result(net::read_exact(server, mutable_bytes(into)));
        EXPECT_FALSE(read.has_value());
        EXPECT_EQ(std::string(read.error().what()), "read_exact client of unix:" + path +
                                                        ": the peer ended the stream too early");
        EXPECT_EQ(what_of([] { static_cast<void>(local_stream().remote_endpoint()); }),
                  "getpeername: closed while in use");
        EXPECT_EQ(what_of([] { static_cast<void>(local_listener().local_endpoint()); }),
                  "getsockname: closed while in use");
        EXPECT_EQ(bind_error(local_address()), "bind unix:(unnamed): Invalid argument");
    };
    in_world(body);
}

TEST_P(local_test, the_task_dump_names_the_socket) {
    const local_address where =
        local_address::abstract("coro-dump-" + std::to_string(::getpid()));
    const auto body = [&]() -> task<> {
        local_listener listener = local_listener::bind(where);
        local_stream client = co_await local_stream::connect(where);
        local_stream server = co_await listener.accept();
        std::array<std::byte, 8> into{};
        const auto accepts = [&]() -> task<> { (void)co_await listener.accept(); };
        const auto reads = [&]() -> task<> { (void)co_await server.read_some(into); };
        const auto asks = [&]() -> task<> { (void)co_await client.read_leased(); };
        const auto waits = [&](task_group& group) -> task<> {
            group.spawn(std::ref(accepts));
            group.spawn(std::ref(reads));
            group.spawn(std::ref(asks));
            co_await sleep_for(5ms);
            const std::string dump = dump_tasks();
            EXPECT_NE(dump.find("accept " + where.to_string()), std::string::npos) << dump;
            EXPECT_NE(dump.find("recv client of " + where.to_string()), std::string::npos) << dump;
            EXPECT_NE(dump.find("recv " + where.to_string()), std::string::npos) << dump;
            group.cancel();
        };
        co_await with_task_group(waits);
    };
    in_world(body);
}

TEST_P(local_test, a_live_server_keeps_its_name) {
    own_folder folder;
    const std::string path = folder.file("taken");
    const auto body = [&]() -> task<> {
        for (const local_address& where :
             {local_address::path(path),
              local_address::abstract("coro-taken-" + std::to_string(::getpid()))}) {
            local_listener listener = local_listener::bind(where);
            EXPECT_EQ(bind_error(where),
                      "bind " + where.to_string() +
                          ": a server listens there: stop it, or bind another name: Address "
                          "already in use");
            std::error_code code;
            try {
                static_cast<void>(local_listener::bind(where));
            } catch (const io_error& error) {
                code = error.code();
                EXPECT_EQ(error.endpoint(), where.to_string());
            }
            EXPECT_TRUE(code == std::errc::address_in_use);
            // Whoever asked whether it lives came and went.
            local_stream client = co_await local_stream::connect(where);
            std::size_t heard = 0;
            co_await net::write_all(client, as_bytes("x"));
            while (heard == 0) {
                local_stream server = co_await listener.accept();
                std::array<std::byte, 8> into{};
                heard = co_await server.read_some(mutable_bytes(into));
            }
        }
    };
    in_world(body);
}

TEST_P(local_test, a_listener_closes_only_when_nobody_waits) {
    own_folder folder;
    const std::string path = folder.file("idle");
    const local_address where = local_address::path(path);
    const auto body = [&]() -> task<> {
        local_listener listener = local_listener::bind(where);
        auto none = co_await listener.accept_if_waiting();
        EXPECT_FALSE(none.has_value());
        local_stream client = co_await local_stream::connect(where);
        EXPECT_FALSE(listener.close_if_idle());
        auto one = co_await listener.accept_if_waiting();
        const bool is_there = one.has_value();
        EXPECT_TRUE(is_there);
        EXPECT_TRUE(listener.close_if_idle());
        EXPECT_TRUE(listener.close_if_idle()) << "it is closed already";
        EXPECT_FALSE(exists(path));
        const std::string gone = co_await connect_error(where);
        EXPECT_NE(gone, "no error");
        if (is_there) co_await check_bytes(client, *one);
    };
    in_world(body);
}

TEST_P(local_test, closing_ends_who_accepts_and_frees_the_name) {
    own_folder folder;
    const local_address where = local_address::path(folder.file("again"));
    const auto body = [&]() -> task<> {
        for (int round = 0; round < 3; ++round) {
            local_listener listener = local_listener::bind(where);
            std::error_code ended;
            const auto accepts = [&]() -> task<> {
                auto wait = listener.accept();
                ended = co_await error_of_await(wait);
            };
            const auto both = [&](task_group& group) -> task<> {
                group.spawn(std::ref(accepts));
                co_await sleep_for(1ms);
                listener.close();
                // Before the loop has told the task that accepts.
                local_listener next = local_listener::bind(where);
                const local_stream client = co_await local_stream::connect(where);
                const local_stream server = co_await next.accept();
                EXPECT_TRUE(server);
            };
            co_await with_task_group(both);
            EXPECT_TRUE(ended == errc::closed);
        }
    };
    in_world(body);
}

// --- files

class local_file_test : public world_test {};
GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(local_file_test);  // CORO_POLLER=simulation
INSTANTIATE_TEST_SUITE_P(real_worlds, local_file_test, ::testing::ValuesIn(real_worlds()),
                         parameter_name);

TEST_P(local_file_test, the_file_of_a_dead_server_is_replaced) {
    own_folder folder;
    const std::string path = folder.file("stale");
    const local_address where = local_address::path(path);
    const auto body = [&]() -> task<> {
        leave_stale(path);
        const std::string refused = co_await connect_error(where);
        EXPECT_EQ(refused, "connect unix:" + path + ": Connection refused");
        local_listener listener = local_listener::bind(where);
        local_stream client = co_await local_stream::connect(where);
        local_stream server = co_await listener.accept();
        co_await check_bytes(client, server);
    };
    in_world(body);
    EXPECT_FALSE(exists(path));
}

TEST_P(local_file_test, what_is_no_socket_stays) {
    own_folder folder;
    const std::string path = folder.file("file");
    const auto body = [&]() -> task<> {
        std::ofstream(path) << "precious";
        EXPECT_EQ(bind_error(local_address::path(path)),
                  "bind unix:" + path +
                      ": a file that is no socket is there: remove it, or bind another path: File "
                      "exists");
        EXPECT_EQ(bind_error(local_address::path(path + "/below")),
                  "bind unix:" + path + "/below: Not a directory");
        co_return;
    };
    in_world(body);
    std::string text;
    std::ifstream(path) >> text;
    EXPECT_EQ(text, "precious");
}

/// A server between its bind() and its listen() looks like a dead one: only the lock tells.
/// Where the folder cannot be locked a dead server's file stays, and the error does not say that a
/// server listens there.
TEST_P(local_file_test, the_file_of_a_dead_server_stays_where_the_folder_may_not_be_read) {
    own_folder folder;
    const std::string path = folder.file("stale");
    leave_stale(path);
    constexpr uid_t nobody = 65534;
    const bool is_root = ::geteuid() == 0;
    ASSERT_EQ(::chmod(path.c_str(), 0777), 0);
    ASSERT_EQ(::chmod(folder.path().c_str(), 0300), 0);
    if (is_root) { ASSERT_EQ(::chown(folder.path().c_str(), nobody, nobody), 0); }
    const auto body = [&]() -> task<> {
        if (is_root) { EXPECT_EQ(::seteuid(nobody), 0); }
        const std::string told = bind_error(local_address::path(path));
        if (is_root) { EXPECT_EQ(::seteuid(0), 0); }
        EXPECT_EQ(told, "bind unix:" + path +
                            ": the folder may not be written, or it may not be read and the file "
                            "of a dead server is there: change its permissions, or bind "
                            "elsewhere: Permission denied");
        co_return;
    };
    in_world(body);
    EXPECT_TRUE(exists(path));
    ASSERT_EQ(::chmod(folder.path().c_str(), 0700), 0);
}

TEST_P(local_file_test, nothing_is_replaced_while_another_process_changes_the_folder) {
    own_folder folder;
    const std::string path = folder.file("locked");
    const auto body = [&]() -> task<> {
        leave_stale(path);
        const int held = ::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        EXPECT_EQ(::flock(held, LOCK_EX | LOCK_NB), 0);
        EXPECT_EQ(bind_error(local_address::path(path)),
                  "bind unix:" + path +
                      ": another process keeps the folder locked (flock): stop it, or bind "
                      "elsewhere: Resource temporarily unavailable");
        EXPECT_TRUE(exists(path));
        ::close(held);
        const local_listener listener = local_listener::bind(local_address::path(path));
        EXPECT_TRUE(static_cast<bool>(listener));
        co_return;
    };
    in_world(body);
}

/// A server that binds has the lock from its first look on: nobody removes what it finds, or has
/// made, in between. The file of the listener that has ended is a dead server's, which the next one
/// replaces.
TEST_P(local_file_test, a_listener_that_ends_while_another_server_binds_leaves_its_file) {
    own_folder folder;
    const std::string path = folder.file("ended");
    const local_address where = local_address::path(path);
    const auto body = [&]() -> task<> {
        const int held = ::open(folder.path().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        for (const bool only_if_idle : {false, true}) {
            local_listener listener = local_listener::bind(where);
            EXPECT_EQ(::flock(held, LOCK_EX | LOCK_NB), 0);
            if (only_if_idle) EXPECT_TRUE(listener.close_if_idle());
            else listener.close();
            EXPECT_TRUE(exists(path));
            EXPECT_EQ(::flock(held, LOCK_UN), 0);
        }
        ::close(held);
        local_listener next = local_listener::bind(where);
        local_stream client = co_await local_stream::connect(where);
        local_stream server = co_await next.accept();
        co_await check_bytes(client, server);
    };
    in_world(body);
    EXPECT_FALSE(exists(path));
}

TEST_P(local_file_test, a_file_that_is_not_its_own_stays) {
    own_folder folder;
    const std::string path = folder.file("replaced");
    const auto body = [&]() -> task<> {
        local_listener listener = local_listener::bind(local_address::path(path));
        EXPECT_EQ(::unlink(path.c_str()), 0);
        std::ofstream(path) << "another";
        listener.close();
        EXPECT_TRUE(exists(path));
        EXPECT_EQ(::unlink(path.c_str()), 0);

        local_listener gone = local_listener::bind(local_address::path(path));
        EXPECT_EQ(::unlink(path.c_str()), 0);
        gone.close();  // nothing to remove
        co_return;
    };
    in_world(body);
}

TEST_P(local_file_test, moving_and_assigning_listeners_keeps_their_files) {
    own_folder folder;
    const std::string first = folder.file("first");
    const std::string second = folder.file("second");
    const auto body = [&]() -> task<> {
        local_listener one = local_listener::bind(local_address::path(first));
        local_listener moved = std::move(one);
        one.close();
        EXPECT_TRUE(exists(first));
        moved = local_listener::bind(local_address::path(second));
        EXPECT_FALSE(exists(first));
        EXPECT_TRUE(exists(second));
        co_return;
    };
    in_world(body);
    EXPECT_FALSE(exists(second));
}

TEST_P(local_file_test, the_file_has_the_permissions_that_were_asked_for) {
    own_folder folder;
    const std::string path = folder.file("mode");
    const auto body = [&]() -> task<> {
        for (const unsigned mode : {0600u, 0666u, 0777u, 0u}) {
            const local_listener listener =
                local_listener::bind(local_address::path(path), {.mode = mode});
            EXPECT_EQ(mode_of(path), mode);
        }
        const mode_t umask_before = ::umask(027);
        const local_listener listener = local_listener::bind(local_address::path(path));
        ::umask(umask_before);
        EXPECT_EQ(mode_of(path), 0750u);
        co_return;
    };
    in_world(body);
}

TEST_P(local_file_test, a_stream_moves_to_another_loop) {
    const local_address where =
        local_address::abstract("coro-rebind-" + std::to_string(::getpid()));
    const auto main = [&]() -> task<> {
        local_listener listener = local_listener::bind(where);
        local_stream client = co_await local_stream::connect(where);
        local_stream server = co_await listener.accept();
        const auto body = [&](task_group& group) -> task<> {
            group.spawn({.loop = 1}, write_from_afar, std::move(server));
            std::array<std::byte, 9> into{};
            co_await net::read_exact(client, mutable_bytes(into));
            EXPECT_EQ(as_text(into), "from afar");
        };
        co_await with_task_group(body);
    };
    in_loops(2, main());
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
