// The world over a kernel: its clock, its chance, its threads, and pollers on io_uring or epoll.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>

#include <coro/runtime/poller_choice.hpp>

#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {

class kernel_world final : public world {
public:
    /// `asked_by`: "asked for by the program", or by CORO_POLLER. Requires: not a simulation.
    kernel_world(poller_choice choice, std::string asked_by)
        : world(false, false), choice_(choice), asked_by_(std::move(asked_by)) {}

    [[nodiscard]] time_point now() noexcept override;  ///< CLOCK_MONOTONIC
    void random(void* into, std::size_t size) noexcept override;
    [[nodiscard]] std::size_t choose(std::size_t /*among*/) noexcept override { return 0; }
    thread start_thread(const char* name, std::function<void()> body) override;

private:
    /// Probes the kernel, and falls back unless somebody insists. Reads CORO_URING.
    made_poller new_poller(unsigned index, const poller_terms& terms) override;  // make_poller.cpp

    const poller_choice choice_;
    const std::string asked_by_;
};

}}}  // namespace coro::v0::detail
