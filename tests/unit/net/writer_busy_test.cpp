// What a buffered_writer does when somebody else has the line in the midst of what it sends.
#include <coro/net/buffered_writer.hpp>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <coro/base/report.hpp>
#include <coro/runtime/task_group.hpp>

#include "runtime/make_poller.hpp"
#include "support/forwarding_poller.hpp"
#include "unit/net/stream_pair.hpp"

namespace coro::net::stream_tests {
namespace {

using namespace std::chrono_literals;

/// Collects what the report hook is told while it lives.
class reports {
public:
    reports() {
        set_report_hook(
            [](const report_event& event, void* user) noexcept {
                if (event.verb == "write")
                    static_cast<reports*>(user)->texts.emplace_back(event.text);
            },
            this);
    }
    reports(const reports&) = delete;
    reports& operator=(const reports&) = delete;
    ~reports() { set_report_hook(nullptr, nullptr); }

    std::vector<std::string> texts;
};

/// While it lives, the `at`th operation of kind `code` from now on is answered as if somebody else
/// had the line: in the midst of a write, where only a rare order of turns brings it about.
class busy_answer {
public:
    busy_answer() {
        present() = this;
        detail::wrap_poller = [](std::unique_ptr<detail::poller> world)
            -> std::unique_ptr<detail::poller> {
            return std::make_unique<answering>(std::move(world), *present());
        };
    }
    busy_answer(const busy_answer&) = delete;
    busy_answer& operator=(const busy_answer&) = delete;
    ~busy_answer() { detail::wrap_poller = nullptr; }

    detail::opcode code = detail::opcode::send;
    int at = 0;  ///< 0: none

private:
    class answering final : public detail::forwarding_poller {
    public:
        answering(std::unique_ptr<detail::poller> world, busy_answer& plan)
            : forwarding_poller(std::move(world)), plan_(plan) {}
        [[nodiscard]] bool submit(detail::operation& op) noexcept override {
            if (plan_.at == 0 || op.code != plan_.code || --plan_.at != 0)
                return forwarding_poller::submit(op);
            op.result = detail::result_busy;
            op.phase = detail::operation_phase::completed;
            return true;
        }

    private:
        busy_answer& plan_;
    };
    static busy_answer*& present() noexcept {
        static busy_answer* plan = nullptr;
        return plan;
    }
};

std::string filled(std::size_t size, char with) { return std::string(size, with); }

/// Somebody else's bytes would stand between the parts, and no frame may follow a part.
TEST(writer_busy, busy_in_the_midst_of_a_large_write_breaks_the_writer) {
    busy_answer plan;
    plan.code = detail::opcode::send_vectored;
    const auto body = [&](stream_pair& pair) -> task<> {
        buffered_writer out(pair.server, {.limit = 100});
        const std::string large = filled(30'000, 'L');
        plan.at = 1;  // before the first byte it breaks nothing
        expect_error(co_await error_of([&] { return out.write(as_bytes(large)); }), errc::busy,
                     "write", 0);
        EXPECT_FALSE(pair.server.is_broken());
        std::string got;
        const auto in_group = [&](task_group& group) -> task<> {
            const auto reading = [](tcp_stream& from, std::string& all) -> task<> {
                all = co_await receive_all(from);
            };
            group.spawn(reading, std::ref(pair.client), std::ref(got));
            plan.at = 2;
            const auto busy = co_await error_of([&] { return out.write(as_bytes(large)); });
            const std::size_t moved = busy ? busy->bytes_transferred() : 0;
            EXPECT_TRUE(busy && busy->code() == errc::busy);
            EXPECT_GT(moved, 0u);
            EXPECT_LT(moved, large.size());
            EXPECT_TRUE(pair.server.is_broken());
            expect_error(co_await error_of([&] { return out.write(as_bytes("x")); }), errc::broken,
                         "write", 0);
            expect_error(co_await error_of([&] { return out.write(as_bytes(large)); }),
                         errc::broken, "write", 0);
            pair.server.shutdown_send();
        };
        co_await with_task_group(in_group);
        EXPECT_LT(got.size(), large.size()) << "something followed the part";
    };
    with_pair(body, poller_choice::simulation, 4096);
}

/// The writer has gone, a part of its bytes is sent, and somebody else has the line. Nobody sends
/// the rest, and only the report says so.
TEST(writer_busy, what_an_orphaned_writer_cannot_send_any_more_is_reported) {
    busy_answer plan;
    const auto body = [&](stream_pair& pair) -> task<> {
        const reports told;
        auto out = std::make_unique<buffered_writer>(pair.server);
        const std::string text = filled(20'000, 'x');
        co_await out->write(as_bytes(text));
        co_await next_turn();
        EXPECT_EQ(out->unsent(), 20'000u - 8192u);
        plan.at = 1;
        out.reset();
        EXPECT_TRUE(told.texts.empty()) << "its send is in flight still";
        std::string got = co_await receive_exactly(pair.client, 8192);
        co_await sleep_for(1ms);
        EXPECT_EQ(plan.at, 0) << "it went on sending";
        pair.server.shutdown_send();
        got += co_await receive_all(pair.client);
        EXPECT_LT(got.size(), text.size());
        EXPECT_EQ(told.texts.size(), 1u);
        const std::string lost = std::to_string(text.size() - got.size()) + " bytes ";
        for (const std::string& each : told.texts) EXPECT_TRUE(each.starts_with(lost)) << each;
    };
    with_pair(body, poller_choice::simulation, 4096);
}

}  // namespace
}  // namespace coro::net::stream_tests
