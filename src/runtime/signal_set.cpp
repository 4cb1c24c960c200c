// signal_set: the part of it that runs on its loop.
#include <coro/runtime/signal_set.hpp>

#include <csignal>
#include <memory>
#include <string>

#include <coro/base/error.hpp>
#include <coro/runtime/sleep.hpp>

#include "runtime/signals.hpp"

namespace coro { inline namespace v0 {
namespace {

[[noreturn]] void refuse(const std::string& what) {
    throw io_error(std::make_error_code(std::errc::invalid_argument), "watch", what);
}

std::uint64_t bits_of(std::initializer_list<int> signals) {
    std::uint64_t bits = 0;
    for (const int number : signals) {
        if (const char* why = detail::refusal_of_signal(number)) {
            const bool exists = number >= 1 && number <= SIGRTMAX;
            refuse((exists && why != std::string_view(", which does not exist")
                        ? detail::name_of_signal(number)
                        : "signal " + std::to_string(number)) + why);
        }
        bits |= detail::signal_bit(number);
    }
    if (bits == 0) refuse("no signal at all");
    return bits;
}

}  // namespace

signal_set::signal_set(std::initializer_list<int> signals) : watch_(nullptr) {
    CORO_ASSERT(detail::current != nullptr, "a signal_set is made inside of run()");
    auto watch = std::make_unique<detail::signal_watch>(*this, bits_of(signals));
    watch->begin();
    watch_ = watch.release();
}

signal_set::~signal_set() {
    CORO_ASSERT(home_.is_here(), "a signal_set was destroyed outside of its loop");
    CORO_ASSERT(waiters_.empty(), "a signal_set was destroyed while a task waits for it");
    watch_->end();
}

void signal_set::deliver() noexcept {
    // A grant may withdraw another wait of this list (a sibling in when_any): always look again.
    while (!waiters_.empty()) {
        const int number = watch_->take();
        if (number == 0) return;
        awaiter* first = waiters_.pop_front();
        --detail::current->outside_waits;
        first->number_ = number;
        first->end_granted();
    }
}

namespace detail {

int take_signal(signal_watch& from) noexcept { return from.take(); }

void describe_signals(const signal_watch& of, text_sink& out) noexcept {
    out.write("wait for");
    for (int number = 1; number <= 64; ++number) {
        if ((of.wanted() & signal_bit(number)) == 0) continue;
        out.write(" ");
        out.write(name_of_signal(number));
    }
}

}  // namespace detail
}}  // namespace coro::v0
