// Loans: variables of a coroutine to which a task of another lifetime refers. A coroutine that ends
// before such a task ends the program with a sentence, instead of leaving it a dead variable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <source_location>
#include <type_traits>
#include <utility>
#if !defined(_GLIBCXX_RELEASE) || _GLIBCXX_RELEASE > 12  // 12's <memory> has reference_wrapper
#include <functional>
#endif

#include <coro/base/detail/intrusive_list.hpp>
#include <coro/core/detail/loop.hpp>

namespace coro { inline namespace v0 { namespace detail {

class strand;
class frame_link;
class task_promise_base;

/// Where a promise is in its frame, by its alignment: both compilers put two pointers before it and
/// nothing but what aligns it. 0: too far for one byte.
constexpr std::uint8_t promise_offset(std::size_t alignment) noexcept {
    const std::size_t offset = alignment > 2 * sizeof(void*) ? alignment : 2 * sizeof(void*);
    return offset <= UINT8_MAX ? static_cast<std::uint8_t>(offset) : std::uint8_t{0};
}

/// Lives as long as its borrower, in the list of the lender's loop.
class CORO_EXPORT loan final : public list_node<loan> {
public:
    loan() noexcept = default;
    loan(const loan&) = delete;
    loan& operator=(const loan&) = delete;
    ~loan();  ///< The lender, which lives, has one loan less.

    static void* operator new(std::size_t size) { return allocate_block(size); }
    static void operator delete(void* memory, std::size_t size) noexcept {
        free_block(memory, size);
    }

    /// nullptr: a function, which ends before the task starts
    task_promise_base* lender = nullptr;
    std::source_location spawned_in;     ///< the coroutine that called spawn
    std::source_location spawned_after;  ///< its latest await then
    std::source_location made;           ///< the borrower's outermost frame
    const char* name = nullptr;          ///< of the borrower; forgotten when that is destroyed
    const detail::strand* borrower = nullptr;
    std::unique_ptr<loan> next;  ///< of the same borrower
};

/// Adds a loan to `loans` if `address` is in one of the frames that run here right now. These are
/// the frames from the innermost one to the one with `group` in it: they may end before a child of
/// `group` does.
CORO_EXPORT void lend(std::unique_ptr<loan>& loans, const void* address, const void* group);
/// Notes in all of `loans` who the borrower will be. Aborts if it could not start in time.
CORO_EXPORT void lend_to(loan& loans, const std::source_location& made, const char* name);
/// The frame of `lender` ends, by `error` if there is one. Aborts if a child still refers to it.
CORO_EXPORT void check_lent(const frame_link& lender, const std::exception_ptr& error) noexcept;

// --- objects that an argument refers to without owning them

template <typename Kept>
inline constexpr bool is_reference_wrapper = false;
template <typename T>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<T>> = !std::is_function_v<T>;

/// A view over elements that lie in a row, by its members; a std::array has them too.
template <typename Kept>
concept contiguous_view = std::is_trivially_copyable_v<Kept> && requires(const Kept& view) {
    static_cast<const volatile void*>(view.data());
    view.size();
};

template <typename Kept>
concept referring = is_reference_wrapper<Kept> || contiguous_view<Kept> ||
                    (std::is_pointer_v<Kept> && !std::is_function_v<std::remove_pointer_t<Kept>>);

/// The address of what `argument` refers to; nullptr if that is a part of itself.
template <referring Kept>
const void* referent(const Kept& argument) noexcept {
    const volatile void* address = nullptr;
    if constexpr (is_reference_wrapper<Kept>) address = std::addressof(argument.get());
    else if constexpr (std::is_pointer_v<Kept>) address = argument;
    else address = argument.size() == 0 ? nullptr : argument.data();
    const auto* const own = reinterpret_cast<const char*>(&argument);
    const auto* const at = static_cast<const char*>(const_cast<const void*>(address));
    return at >= own && at < own + sizeof(Kept) ? nullptr : at;
}

}}}  // namespace coro::v0::detail
