// list_close_waits(): connections whose peer has closed, and the task that has left each so.
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "net_test_support.hpp"

namespace coro { inline namespace v0 { namespace detail::conformance {
namespace {

class close_wait_test : public world_test {};
INSTANTIATE_TEST_SUITE_P(all_worlds, close_wait_test, ::testing::ValuesIn(all_worlds()),
                         parameter_name);

/// The one there is, as soon as there is one: nobody is told when an end has come.
task<net::close_wait> only_close_wait() {
    for (;;) {
        co_await sleep_for(1ms);
        std::vector<net::close_wait> found = net::list_close_waits();
        if (found.empty()) continue;
        EXPECT_EQ(found.size(), 1u);
        co_return std::move(found.front());
    }
}

/// Reads a request, and then waits for something else while its peer leaves.
task<> stuck_handler(net::tcp_stream peer, event& something_else, std::uint32_t& number) {
    number = current_task_number();
    co_await hear(peer, "request");
    co_await something_else.wait();
}

TEST_P(close_wait_test, names_the_task_that_has_read_last_and_where_it_waits_now) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        event something_else;
        std::uint32_t number = 0;
        const auto handlers = [&](task_group& group) -> task<> {
            group.spawn(stuck_handler, co_await listener.accept(), std::ref(something_else),
                        std::ref(number));
            co_await say(client, "request");
            const net::endpoint gone = client.local_endpoint();
            client.close();
            net::close_wait found;  // the handler may not have read its request yet
            do found = co_await only_close_wait();
            while (found.where.find("wait for event") == std::string::npos);
            EXPECT_EQ(found.task, number);
            EXPECT_EQ(found.local, listener.local_endpoint());
            EXPECT_EQ(found.remote, gone);
            EXPECT_LE(found.at_least, found.at_most);
            EXPECT_EQ(found.where.substr(0, found.where.find(" since")),
                      dump_task(number).substr(0, found.where.find(" since")));
            EXPECT_TRUE(found.where.starts_with("#" + std::to_string(number))) << found.where;
            something_else.set();
        };
        co_await with_task_group(handlers);
        EXPECT_TRUE(net::list_close_waits().empty()) << "it has closed";
    };
    in_world(body);
}

task<> accept_and_keep(net::tcp_listener& listener, std::vector<net::tcp_stream>& kept,
                       std::uint32_t& number) {
    number = current_task_number();
    kept.push_back(co_await listener.accept());
}

TEST_P(close_wait_test, names_who_accepted_what_nobody_reads_also_when_that_task_has_ended) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        std::vector<net::tcp_stream> kept;
        std::uint32_t number = 0;
        const auto handlers = [&](task_group& group) -> task<> {
            group.spawn(accept_and_keep, std::ref(listener), std::ref(kept), std::ref(number));
            co_return;
        };
        auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        co_await with_task_group(handlers);
        client.close();
        const net::close_wait found = co_await only_close_wait();
        EXPECT_EQ(found.task, number);
        EXPECT_EQ(found.where, "") << "it has ended";
        kept.clear();
        EXPECT_TRUE(net::list_close_waits().empty());
    };
    in_world(body);
}

TEST_P(close_wait_test, names_a_handler_of_serve_that_has_never_read) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
        event something_else;
        std::uint32_t number = 0;
        const auto handler = [&](net::tcp_stream) -> task<> {
            number = current_task_number();
            co_await something_else.wait();
        };
        const auto serving = [&](task_group& group) -> task<> {
            group.spawn(serve(listener, handler));
            auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
            while (number == 0) co_await sleep_for(1ms);
            client.close();
            const net::close_wait found = co_await only_close_wait();
            EXPECT_EQ(found.task, number);
            EXPECT_NE(found.where.find("wait for event"), std::string::npos) << found.where;
            something_else.set();
            group.cancel();
        };
        co_await with_task_group(serving);
    };
    in_world(body);
}

/// The peer has ended its direction and reads nothing: the task that waits on the stream is named,
/// and not the one that has read from it last.
TEST_P(close_wait_test, names_who_waits_on_it_rather_than_who_was_there_last) {
    const auto body = [&]() -> task<> {
        auto listener = net::tcp_listener::bind(
            net::endpoint::loopback(0), {.accepted = {.send_buffer_bytes = 8192}});
        auto client = co_await net::tcp_stream::connect(
            listener.local_endpoint(), {.stream = {.receive_buffer_bytes = 8192}});
        auto server = co_await listener.accept();
        std::uint32_t writer_number = 0;
        const std::string much(1 << 20, 'z');
        const auto writer = [&]() -> task<> {
            writer_number = current_task_number();
            co_await net::write_all(server, as_bytes(much));
        };
        const auto handlers = [&](task_group& group) -> task<> {
            group.spawn({.closure_is_kept = true}, writer());
            co_await say(client, "x");
            client.shutdown_send();
            co_await hear(server, "x");
            net::close_wait found;
            do found = co_await only_close_wait();
            while (found.where.find("write_all") == std::string::npos);
            EXPECT_EQ(found.task, writer_number);
            EXPECT_NE(found.task, current_task_number());
            group.cancel();
        };
        co_await with_task_group(handlers);
    };
    in_world(body);
}

/// Accepts `count` connections and keeps them, and then waits for something else.
task<> accept_some_and_wait(net::tcp_listener& listener, std::size_t count, event& something_else,
                            std::vector<std::uint32_t>& numbers) {
    std::vector<net::tcp_stream> kept;
    for (std::size_t each = 0; each < count; ++each)
        kept.push_back(co_await listener.accept());
    numbers.push_back(current_task_number());
    co_await something_else.wait();
}

/// All lines come from one walk over the tasks: each connection has that of its own task, and those
/// of one task have the same.
TEST_P(close_wait_test, gives_each_of_many_connections_the_line_of_its_task) {
    const auto body = [&]() -> task<> {
        std::vector<net::tcp_listener> listeners;
        for (int each = 0; each < 4; ++each)
            listeners.push_back(net::tcp_listener::bind(net::endpoint::loopback(0)));
        event something_else;
        std::vector<std::uint32_t> numbers;
        const auto handlers = [&](task_group& group) -> task<> {
            for (net::tcp_listener& listener : listeners) {
                group.spawn(accept_some_and_wait, std::ref(listener), std::size_t{2},
                            std::ref(something_else), std::ref(numbers));
                for (int each = 0; each < 2; ++each)
                    (co_await net::tcp_stream::connect(listener.local_endpoint())).close();
            }
            std::vector<net::close_wait> found;
            while (found.size() < 8 || numbers.size() < 4) {
                co_await sleep_for(1ms);
                found = net::list_close_waits();
            }
            std::map<std::uint32_t, int> connections_of;
            for (const net::close_wait& each : found) {
                ++connections_of[each.task];
                EXPECT_TRUE(each.where.starts_with("#" + std::to_string(each.task) + " "))
                    << each.where;
                EXPECT_NE(each.where.find("wait for event"), std::string::npos) << each.where;
                EXPECT_EQ(each.where.find('\n'), std::string::npos) << each.where;
            }
            EXPECT_EQ(connections_of.size(), 4u);
            for (const std::uint32_t number : numbers)
                EXPECT_EQ(connections_of[number], 2) << number;
            something_else.set();
        };
        co_await with_task_group(handlers);
    };
    in_world(body);
}

TEST(close_wait_simulation_test, the_age_lies_between_the_end_and_the_last_byte) {
    const auto body = []() -> task<> {
        stream_pair pair;
        co_await pair.open();
        co_await say(pair.near, "abc");
        co_await sleep_for(5s);
        EXPECT_TRUE(net::list_close_waits().empty());
        pair.near.close();
        co_await sleep_for(7s);
        const std::vector<net::close_wait> found = net::list_close_waits();
        EXPECT_EQ(found.size(), 1u);
        EXPECT_EQ(found.at(0).at_least, duration(7s));
        EXPECT_EQ(found.at(0).at_most, duration(12s)) << "since its last byte";
        EXPECT_EQ(found.at(0).local, pair.far.local_endpoint());
    };
    run(body(), options_for(poller_choice::simulation));
}

}  // namespace
}}}  // namespace coro::v0::detail::conformance
