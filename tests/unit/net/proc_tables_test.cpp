// Numbers of the kernel's tables, found by name in texts like those of /proc.
#include "net/proc_tables.hpp"

#include <string>
#include <system_error>

#include <gtest/gtest.h>

#include <coro/base/error.hpp>
#include <coro/net/socket_census.hpp>
#include <coro/net/tcp_counters.hpp>
#include <coro/runtime/run.hpp>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr std::string_view netstat =
    "TcpExt: SyncookiesSent TW TWKilled ListenOverflows\n"
    "TcpExt: 3 2064427 0 157\n"
    "IpExt: InNoRoutes TW\n"
    "IpExt: 7 8\n";
constexpr std::string_view sockstat =
    "sockets: used 16\n"
    "TCP: inuse 2 orphan 0 tw 5 alloc 2 mem 17\n"
    "UDP: inuse 9 mem 0\n";

TEST(proc_tables_test, finds_a_number_under_its_name) {
    EXPECT_EQ(number_in_columns(netstat, "TcpExt", "SyncookiesSent"), 3u);
    EXPECT_EQ(number_in_columns(netstat, "TcpExt", "TW"), 2064427u) << "TWKilled is another one";
    EXPECT_EQ(number_in_columns(netstat, "TcpExt", "ListenOverflows"), 157u) << "the last one";
    EXPECT_EQ(number_in_columns(netstat, "IpExt", "TW"), 8u) << "of another table";
}

TEST(proc_tables_test, a_name_that_is_not_there_has_no_number) {
    EXPECT_FALSE(number_in_columns(netstat, "TcpExt", "InNoRoutes").has_value());
    EXPECT_FALSE(number_in_columns(netstat, "Tcp", "TW").has_value()) << "TcpExt is not Tcp";
    EXPECT_FALSE(number_in_columns("", "TcpExt", "TW").has_value());
    EXPECT_FALSE(number_in_columns("TcpExt: TW\n", "TcpExt", "TW").has_value()) << "cut off";
    EXPECT_FALSE(number_in_columns("TcpExt: A TW\nTcpExt: 1\n", "TcpExt", "TW").has_value());
    EXPECT_FALSE(number_in_columns("Tcp: MaxConn\nTcp: -1\n", "Tcp", "MaxConn").has_value());
}

TEST(proc_tables_test, finds_a_number_behind_its_name) {
    EXPECT_EQ(number_in_pairs(sockstat, "TCP", "inuse"), 2u);
    EXPECT_EQ(number_in_pairs(sockstat, "TCP", "tw"), 5u);
    EXPECT_EQ(number_in_pairs(sockstat, "TCP", "mem"), 17u);
    EXPECT_FALSE(number_in_pairs(sockstat, "TCP", "used").has_value());
    EXPECT_FALSE(number_in_pairs(sockstat, "TCP", "2").has_value()) << "a number is no name";
    EXPECT_FALSE(number_in_pairs("TCP: tw\n", "TCP", "tw").has_value());
}

TEST(proc_tables_test, a_file_that_is_not_there_is_named) {
    try {
        (void)read_proc_file("/proc/no such file", "read a test");
        FAIL() << "it was read";
    } catch (const io_error& error) {
        EXPECT_EQ(error, std::errc::no_such_file_or_directory);
        EXPECT_EQ(error.endpoint(), "/proc/no such file");
        EXPECT_STREQ(error.operation(), "read a test");
    }
}

template <typename Function>
std::error_code error_of_call(Function f) {
    try {
        (void)f();
    } catch (const io_error& error) {
        return error.code();
    }
    return {};
}

TEST(proc_tables_test, a_process_that_is_not_there_is_none) {
    for (const int pid : {0, -1, 2'000'000'000}) {
        EXPECT_EQ(error_of_call([&] { return net::tcp_counters_of(pid); }),
                  std::errc::no_such_process);
        EXPECT_EQ(error_of_call([&] { return net::count_tcp_sockets_of(pid); }),
                  std::errc::no_such_process);
        EXPECT_EQ(error_of_call([&] { return net::list_tcp_sockets_of(pid); }),
                  std::errc::no_such_process);
    }
}

TEST(proc_tables_test, a_simulation_does_not_ask_the_kernel) {
    const auto body = []() -> task<> {
        EXPECT_EQ(error_of_call([] { return net::tcp_counters(); }), std::errc::not_supported);
        EXPECT_EQ(error_of_call([] { return net::tcp_counters_of(1); }), std::errc::not_supported);
        EXPECT_EQ(error_of_call([] { return net::count_tcp_sockets(); }), std::errc::not_supported);
        EXPECT_EQ(error_of_call([] { return net::list_tcp_sockets(); }), std::errc::not_supported);
        EXPECT_EQ(error_of_call([] { return net::count_tcp_sockets_of(1); }),
                  std::errc::not_supported);
        co_return;
    };
    run(body(), {.poller = poller_choice::simulation});
}

}  // namespace
}}}  // namespace coro::v0::detail
