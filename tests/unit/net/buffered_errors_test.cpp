// Errors of buffered and framed reads and writes name verb and peer, as those of bare streams do.
#include <coro/net/framed_stream.hpp>

#include <string>
#include <string_view>

#include <gtest/gtest.h>

#include <coro/core/task.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/memory_stream.hpp>
#include <coro/runtime/run.hpp>

#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

/// What is said when `read(in, messages)` meets `sent`, and then the end of the stream.
template <typename Stream, typename Read>
task<std::string> said(Stream& from, stream& peer, std::string_view sent, Read read) {
    co_await write_all(peer, as_bytes(sent));
    peer.shutdown_send();
    buffered_stream in(from, {.limit = 8});
    buffered_writer out(from);
    framed_stream messages(in, out, {.limit = 100});
    const auto wait = [&] { return read(in, messages); };
    const auto error = co_await error_of(wait);
    co_return error.has_value() ? error->what() : "";
}

constexpr auto read_ten = [](auto& in, auto&) { return in.read_exact(10); };
constexpr auto read_five = [](auto& in, auto&) { return in.read_exact(5); };
constexpr auto read_line = [](auto& in, auto&) { return in.read_line(); };
constexpr auto read_until = [](auto& in, auto&) { return in.read_until("\n"); };
constexpr auto peek_ten = [](auto& in, auto&) { return in.peek(10); };
constexpr auto read_frame = [](auto&, auto& messages) { return messages.read(); };

template <typename Read>
std::string in_memory(std::string_view sent, Read read) {
    const auto scenario = [&]() -> task<std::string> {
        auto ends = memory_stream::pair();
        co_return co_await said(ends.first, ends.second, sent, read);
    };
    run_options options;
    options.poller = poller_choice::simulation;
    return run(scenario(), options);
}

TEST(buffered_errors_test, each_read_names_what_it_reads_from) {
    const std::string end = "the peer ended the stream too early";
    const std::string limit = "limit exceeded";
    EXPECT_EQ(in_memory("abc", read_five), "read_exact memory: " + end);
    EXPECT_EQ(in_memory("abc", read_until), "read_until memory: " + end);
    EXPECT_EQ(in_memory("abc", read_frame), "read frame memory: " + end);
    EXPECT_EQ(in_memory("abc", read_ten), "read_exact memory: " + limit);
    EXPECT_EQ(in_memory("abc", peek_ten), "peek memory: " + limit);
    EXPECT_EQ(in_memory("0123456789", read_line), "read_line memory: " + limit);
    EXPECT_EQ(in_memory("0123456789", read_until), "read_until memory: " + limit);
    EXPECT_EQ(in_memory("\x7f\x01\x01\x01", read_frame), "read frame memory: " + limit);
}

TEST(buffered_errors_test, of_tcp_they_name_the_address) {
    with_pair([](stream_pair& pair) -> task<> {
        const std::string peer = pair.server.remote_endpoint().to_string();
        const std::string text = co_await said(pair.server, pair.client, "abc", read_five);
        EXPECT_EQ(text, "read_exact " + peer + ": the peer ended the stream too early");
    });
}

}  // namespace
}  // namespace coro::net::stream_tests
