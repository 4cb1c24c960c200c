// The watch over a stream that has left the loop of its guard, and what is told of a silence.
#pragma once

#include <string_view>

#include <coro/base/time.hpp>
#include <coro/net/detail/idle_look.hpp>

#include "base/text_line.hpp"
#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {

/// What is told of an end, such as "idle for 60 s, ended".
class end_sentence {
public:
    end_sentence& add(std::string_view text) noexcept {
        text_.add(text);
        return *this;
    }
    end_sentence& add_number(std::uint64_t number) noexcept {
        text_.add_number(number);
        return *this;
    }
    /// In the largest unit in which it is a whole number.
    end_sentence& add_span(duration span) noexcept;
    [[nodiscard]] std::string_view view() const noexcept { return text_.view(); }

private:
    text_line<96> text_;
};

/// Tells, as a notice, that the connection to `peer` was ended.
void report_end(std::string_view verb, const end_sentence& text, std::string_view peer) noexcept;
/// Tells that the connection to `peer` was ended after `span` without a byte.
void report_idle(std::string_view verb, duration span, std::string_view peer) noexcept;

/// Watches over a stream that has come to `loop` by rebind(), until it is closed: found so at most
/// one look later. False without memory.
[[nodiscard]] bool watch_moved_stream(scheduler& loop, detail::handle socket,
                                      duration span) noexcept;

}}}  // namespace coro::v0::detail
