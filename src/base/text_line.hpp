// Text put together where nothing may be allocated: before an abort, in a signal handler.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace coro { inline namespace v0 { namespace detail {

/// Text of bounded length; the rest is cut off. Async-signal-safe.
template <std::size_t Capacity>
class text_line {
public:
    text_line& add(std::string_view text) noexcept {
        const std::size_t room = std::min(text.size(), Capacity - size_);
        std::copy_n(text.begin(), room, text_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += room;
        return *this;
    }
    text_line& add_number(std::uint64_t number) noexcept {
        std::array<char, 20> digits{};
        std::size_t at = digits.size();
        do {
            digits[--at] = static_cast<char>('0' + number % 10);
            number /= 10;
        } while (number != 0);
        return add({digits.data() + at, digits.size() - at});
    }
    /// `echo.cpp:14`, of a path.
    text_line& add_site(std::string_view path, std::uint64_t line) noexcept {
        return add(path.substr(path.rfind('/') + 1)).add(":").add_number(line);
    }
    void keep_first(std::size_t size) noexcept { size_ = std::min(size, size_); }
    void drop_first(std::size_t size) noexcept {
        std::copy(text_.begin() + static_cast<std::ptrdiff_t>(size),
                  text_.begin() + static_cast<std::ptrdiff_t>(size_), text_.begin());
        size_ -= size;
    }
    void drop_all_of(char which) noexcept {
        const auto end = text_.begin() + static_cast<std::ptrdiff_t>(size_);
        size_ = static_cast<std::size_t>(std::remove(text_.begin(), end, which) - text_.begin());
    }

    [[nodiscard]] std::string_view view() const noexcept { return {text_.data(), size_}; }
    [[nodiscard]] std::size_t size() const noexcept { return size_; }

private:
    std::array<char, Capacity> text_{};
    std::size_t size_ = 0;
};

}}}  // namespace coro::v0::detail
