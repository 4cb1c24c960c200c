// The watch over a stream that has left the loop of its server.
#include "net/idle_watch.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <coro/base/report.hpp>
#include <coro/net/address.hpp>
#include <coro/net/detail/socket.hpp>

#include "net/io_failure.hpp"

namespace coro { inline namespace v0 { namespace detail {

idle_sentence::idle_sentence(duration span) noexcept {
    static constexpr std::array<std::pair<duration, std::string_view>, 4> units{{
        {std::chrono::seconds(1), " s"},
        {std::chrono::milliseconds(1), " ms"},
        {std::chrono::microseconds(1), " us"},
        {duration(1), " ns"},
    }};
    span = std::max(span, duration::zero());
    text_.add("idle for ");
    for (const auto& [unit, name] : units) {
        if (span % unit != duration::zero()) continue;
        text_.add_number(static_cast<std::uint64_t>(span / unit)).add(name).add(", ended");
        return;
    }
}

void report_idle(duration span, std::string_view peer) noexcept {
    const idle_sentence text(span);
    report({.level = severity::notice, .verb = "serve", .endpoint = peer, .error = {},
            .text = text.view(), .task = {}});
}

namespace {

/// A timer of its own, since few streams move: the loops of a server have one for all.
class moved_stream final : public loop_guest, private timer_node {
public:
    moved_stream(scheduler& loop, detail::handle socket, duration span) noexcept
        : timer_node([](timer_node& fired) noexcept { static_cast<moved_stream&>(fired).look(); }),
          loop_(loop),
          look_(socket),
          span_(span) {
        loop_.guests.push_back(*this);
        arm();
    }
    ~moved_stream() override { loop_.disarm_timer(*this); }

private:
    void arm() noexcept {
        due_ = saturating_add(loop_.read_clock(), idle_look::step_of(span_));
        loop_.arm_timer(*this, due_);
    }
    void look() noexcept {
        const bool afresh = idle_look::stood_still(loop_.turn_time - due_, span_);
        const idle_look::finding found = look_.look(loop_.poller(), afresh);
        if (found == idle_look::finding::alive) return arm();
        if (found == idle_look::finding::idle) end_connection();
        unlink();
        delete this;
    }
    void end_connection() noexcept {
        std::array<char, name_capacity> buffer;
        const std::string_view peer = peer_text({&loop_, look_.socket}, buffer);
        static_cast<void>(loop_.poller().shutdown(look_.socket, shutdown_how::both));
        report_idle(span_, peer);
    }

    scheduler& loop_;
    idle_look look_;
    duration span_;
    time_point due_{};
};

}  // namespace

bool watch_moved_stream(scheduler& loop, detail::handle socket, duration span) noexcept {
    return new (std::nothrow) moved_stream(loop, socket, span) != nullptr;
}

}}}  // namespace coro::v0::detail
