// How until_stop waits.
#pragma once

#include <type_traits>
#include <utility>

#include <coro/core/detail/scoped.hpp>

namespace coro { inline namespace v0 { namespace detail {

/// A stop that was requested before counts from the end of this turn. So a result that is there
/// already is taken, as the request of a client that waited in the listener's queue.
template <typename Inner>
class [[nodiscard("co_await it")]] until_stop_awaiter final
    : public scoped_awaiter<until_stop_awaiter<Inner>, Inner>,
      private stop_listener,
      private turn_end {
    using base = scoped_awaiter<until_stop_awaiter<Inner>, Inner>;
    friend base;

public:
    explicit until_stop_awaiter(Inner&& inner) noexcept
        : base(std::move(inner), false),
          stop_listener([](stop_listener& told) noexcept {
              static_cast<until_stop_awaiter&>(told).end();
          }),
          turn_end([](turn_end& ended) noexcept {
              static_cast<until_stop_awaiter&>(ended).end();
          }) {}

    auto await_resume() { return this->leave_and_resume_if_any(); }

    until_stop_awaiter relocated() noexcept { return until_stop_awaiter(this->take_inner()); }

private:
    void end() noexcept {
        scope_access::ends_with_stops(this->scope());
        this->scope().cancel();
    }
    void opened() noexcept {
        ++this->strand().loop->outside_waits;
        if (this->scope().stop_requested()) this->strand().loop->at_turn_end(*this);
        else scope_access::attach(this->scope(), *this);
    }
    void closing() noexcept {
        --this->strand().loop->outside_waits;
        stop_listener::unlink();
        turn_end::unlink();
    }
};

template <typename Inner>
inline constexpr bool owns_operands<until_stop_awaiter<Inner>> = owns_operands<Inner>;
template <typename Inner>
inline constexpr bool returns_nothing<until_stop_awaiter<Inner>> =
    std::is_void_v<decltype(std::declval<Inner&>().await_resume())>;

}}}  // namespace coro::v0::detail
