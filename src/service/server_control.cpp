// The controls of a server, and its counts as a value.
#include <coro/service/server_control.hpp>

#include <algorithm>

#include "service/server_board.hpp"

namespace coro { inline namespace v0 { namespace detail {

server_stats server_board::stats() const noexcept {
    const auto of = [](const count& which) { return which.load(std::memory_order_relaxed); };
    server_stats made;
    // First, and with what came before it: so `active` is never below zero.
    const std::uint64_t gone = ended_all.load(std::memory_order_acquire);
    made.accepted = of(accepted);
    made.active = made.accepted - std::min(gone, made.accepted);  // another server may begin
    made.failed = of(failed);
    made.refused = of(refused);
    made.over_address = of(over_address);
    for (std::size_t i = 0; i < ended.size(); ++i) made.ended[i] = of(ended[i]);
    return made;
}

}}}  // namespace coro::v0::detail

namespace coro { inline namespace v0 {

server_control::server_control() : board_(std::make_shared<detail::server_board>()) {}
server_control::~server_control() = default;

void server_control::pause_accepting() { detail::server_board::pause(board_, true); }
void server_control::resume_accepting() { detail::server_board::pause(board_, false); }
bool server_control::is_paused() const noexcept { return board_->is_paused(); }
server_stats server_control::stats() const noexcept { return board_->stats(); }

}}  // namespace coro::v0
