// The names of the states of TCP.
#include <array>

#include <coro/net/tcp_info.hpp>

namespace coro { inline namespace v0 { namespace net {

std::string_view to_text(tcp_state state) noexcept {
    static constexpr std::array<std::string_view, tcp_states_end> names = {
        "UNKNOWN",   "ESTABLISHED", "SYN_SENT",   "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2",
        "TIME_WAIT", "CLOSED",      "CLOSE_WAIT", "LAST_ACK",     "LISTENING",  "CLOSING"};
    const auto number = static_cast<std::size_t>(state);
    return number < names.size() ? names[number] : names[0];
}

}}}  // namespace coro::v0::net
