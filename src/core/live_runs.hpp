// The runs of this process that live. An object that is kept beyond its run asks here whether that
// has ended.
#pragma once

#include <cstdint>

#include <coro/core/detail/shared_words.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// From its construction to its destruction a run lives; in a child of fork(2) it does no more. The
/// list has no lock: such a child could find that held for ever.
class run_registration {
public:
    /// Gives the run a number, from 1. Throws: std::bad_alloc.
    run_registration();
    run_registration(const run_registration&) = delete;
    run_registration& operator=(const run_registration&) = delete;
    ~run_registration() { place_.ends(); }

    [[nodiscard]] std::uint64_t number() const noexcept { return number_; }

private:
    std::uint64_t number_;
    live_run<>& place_;
};

}}}  // namespace coro::v0::detail
