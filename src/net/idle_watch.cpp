// Looks at streams, and the watch over one that has left the loop of its guard.
#include "net/idle_watch.hpp"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include <coro/base/report.hpp>
#include <coro/net/address.hpp>
#include <coro/net/detail/socket.hpp>

#include "net/io_failure.hpp"
#include "net/transport_table.hpp"

namespace coro { inline namespace v0 { namespace detail {

bool idle_look::count(detail::loop& home, std::uint64_t& moved) const noexcept {
    scheduler& loop = scheduler_of(home);
    if (!socket.is_transport()) return loop.poller().moved_bytes(socket, moved) >= 0;
    const net::transport* transport = loop.transports->find(socket);
    if (transport != nullptr) moved = transport->activity();
    return transport != nullptr;
}

bool idle_look::has_peer_ended(detail::loop& home) const noexcept {
    scheduler& loop = scheduler_of(home);
    const detail::handle lowest =
        socket.is_transport() ? loop.transports->lowest_below(socket) : socket;
    bool ended = false;
    return !lowest.is_transport() && loop.poller().has_peer_ended(lowest, ended) >= 0 && ended;
}

idle_look::finding idle_look::look(detail::loop& home, bool afresh) noexcept {
    std::uint64_t moved = 0;
    if (!count(home, moved)) return finding::gone;
    if (looks_ < UINT32_MAX - 1) ++looks_;
    // A silence is forgiven once: a loop that is late again and again must end it too.
    const bool has_moved = moved != seen_;
    if (has_moved || (afresh && forgiven_ == 0)) {
        seen_ = moved;
        silent_looks_ = 0;
        forgiven_ = has_moved ? 0 : 1;
        return finding::alive;
    }
    ++silent_looks_;
    return found_idle() ? finding::idle : finding::alive;
}

void idle_look::end_stream(detail::loop& home) const noexcept {
    scheduler& loop = scheduler_of(home);
    detail::handle which = socket;
    if (which.is_transport()) which = loop.transports->lowest_below(which);
    if (which.is_transport()) return loop.transports->close(which, false);
    const int failed = loop.poller().shutdown(which, shutdown_how::both);
    static_cast<void>(failed);  // ENOTCONN: as good
}

end_sentence& end_sentence::add_span(duration span) noexcept {
    static constexpr std::array<std::pair<duration, std::string_view>, 4> units{{
        {std::chrono::seconds(1), " s"},
        {std::chrono::milliseconds(1), " ms"},
        {std::chrono::microseconds(1), " us"},
        {duration(1), " ns"},
    }};
    span = std::max(span, duration::zero());
    for (const auto& [unit, name] : units) {
        if (span % unit != duration::zero()) continue;
        text_.add_number(static_cast<std::uint64_t>(span / unit)).add(name);
        return *this;
    }
    return *this;
}

void report_end(std::string_view verb, const end_sentence& text, std::string_view peer) noexcept {
    report({.level = severity::notice, .verb = verb, .endpoint = peer, .error = {},
            .text = text.view(), .task = {}});
}

void report_idle(std::string_view verb, duration span, std::string_view peer) noexcept {
    report_end(verb, end_sentence().add("idle for ").add_span(span).add(", ended"), peer);
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
        const socket_notes* notes = loop_.poller().notes(look_.socket);
        // Closed, or moved on, or another guard has taken it over.
        if (notes == nullptr || notes->idle != span_) return end();
        const idle_look::finding found = look_.look(loop_, afresh);
        if (found == idle_look::finding::alive) return arm();
        if (found == idle_look::finding::idle) end_connection(notes->idle_verb);
        end();
    }
    void end() noexcept {
        unlink();
        delete this;
    }
    void end_connection(const char* verb) noexcept {
        std::array<char, name_capacity> buffer;
        const std::string_view peer = peer_text({&loop_, look_.socket}, buffer);
        look_.end_stream(loop_);
        if (verb != nullptr) report_idle(verb, span_, peer);
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
