// The watch over a stream that has left the loop of its guard, and what is told of a silence.
#pragma once

#include <string_view>

#include <coro/base/time.hpp>
#include <coro/net/detail/idle_look.hpp>

#include "base/text_line.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// "idle for 60 s, ended".
class idle_sentence {
public:
    explicit idle_sentence(duration span) noexcept;
    [[nodiscard]] std::string_view view() const noexcept { return text_.view(); }

private:
    text_line<64> text_;
};

/// Tells that the connection to `peer` was ended after `span` without a byte.
void report_idle(std::string_view verb, duration span, std::string_view peer) noexcept;

/// Watches over a stream that has come to `loop` by rebind(), until it is closed: found so at most
/// one look later. False without memory.
[[nodiscard]] bool watch_moved_stream(scheduler& loop, detail::handle socket,
                                      duration span) noexcept;

}}}  // namespace coro::v0::detail
