// A span of time in a sentence: `1.0 s` or `120 ms`.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include <coro/base/time.hpp>

#include "base/text_line.hpp"

namespace coro { inline namespace v0 { namespace detail {

template <std::size_t Capacity>
void add_span(text_line<Capacity>& text, duration span) noexcept {
    const auto milliseconds = static_cast<std::uint64_t>(
        std::max(span / std::chrono::milliseconds(1), duration::rep{0}));
    if (milliseconds < 1000) {
        text.add_number(milliseconds).add(" ms");
    } else {
        text.add_number(milliseconds / 1000).add(".").add_number(milliseconds % 1000 / 100);
        text.add(" s");
    }
}

}}}  // namespace coro::v0::detail
