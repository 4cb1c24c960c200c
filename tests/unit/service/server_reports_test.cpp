// The level at which serve reports what a handler threw: a notice for what its own peer does.
#include <coro/service/server.hpp>

#include <functional>
#include <string>
#include <system_error>
#include <vector>

#include <coro/base/error.hpp>

#include "unit/core/core_fixture.hpp"

namespace coro_test {
namespace {

using coro::severity;
using coro::task;
namespace net = coro::net;

class server_reports_test : public core_test {};

/// Whose error it is, as its endpoint says.
enum class whose : std::uint8_t { own_peer, another_connection, nobody };

class level_log {
public:
    level_log() {
        coro::set_report_hook(
            [](const coro::report_event& event, void* user) noexcept {
                static_cast<level_log*>(user)->levels.push_back(event.level);
            },
            this);
    }
    level_log(const level_log&) = delete;
    level_log& operator=(const level_log&) = delete;
    ~level_log() { coro::set_report_hook(nullptr, nullptr); }

    std::vector<severity> levels;
};

/// Runs a server with one client whose handler throws that error.
task<> throw_in_handler(std::error_code code, whose of) {
    auto listener = net::tcp_listener::bind(net::endpoint::loopback(0));
    const auto handler = [&](net::tcp_stream peer) -> task<> {
        std::string where;
        if (of == whose::own_peer) where = peer.remote_endpoint().to_string();
        if (of == whose::another_connection) where = "192.0.2.1:6379";
        co_await coro::sleep_for(1ms);
        throw coro::io_error(code, "recv", where);
    };
    const auto serving = [&](coro::task_group& group) -> task<> {
        group.spawn(coro::serve(listener, std::cref(handler)));
        const auto client = co_await net::tcp_stream::connect(listener.local_endpoint());
        co_await coro::sleep_for(5ms);
        group.request_stop();
    };
    co_await coro::with_task_group(serving);
}

TEST_F(server_reports_test, what_its_own_peer_does_is_a_notice_and_all_else_an_error) {
    struct row {
        std::error_code code;
        bool of_a_peer;
    };
    const row rows[] = {
        {std::make_error_code(std::errc::connection_reset), true},
        {std::make_error_code(std::errc::broken_pipe), true},
        {std::make_error_code(std::errc::connection_aborted), true},
        {std::make_error_code(std::errc::timed_out), true},
        {make_error_code(coro::errc::end_of_stream), true},
        {std::make_error_code(std::errc::connection_refused), false},
        {std::make_error_code(std::errc::too_many_files_open), false},
    };
    for (const row& each : rows) {
        for (const whose of : {whose::own_peer, whose::another_connection, whose::nobody}) {
            SCOPED_TRACE(each.code.message() + ", " + std::to_string(static_cast<int>(of)));
            level_log log;
            simulate(throw_in_handler(each.code, of));
            const bool notice = each.of_a_peer && of != whose::another_connection;
            EXPECT_EQ(log.levels,
                      std::vector<severity>{notice ? severity::notice : severity::error});
        }
    }
}

}  // namespace
}  // namespace coro_test
