// The handler by which a thread tells what it is doing. It reads what belongs to the loop of its
// own thread, and nothing of others.
#include "runtime/signals_probe.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>
#include <thread>

#include "base/text_line.hpp"
#include "core/await_chain.hpp"
#include "runtime/scheduler.hpp"
#include "runtime/world.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

struct probe_request {
    enum class state : std::uint8_t { asked, answering, answered };

    const loop* of;
    std::uint64_t beat;
    bell* rung;
    thread_picture picture{};
    std::atomic<state> at{state::asked};
};

/// One at a time is asked; askers take turns.
std::atomic<probe_request*> wanted{nullptr};
/// Handlers that may hold what was in `wanted`.
std::atomic<unsigned> answering{0};

/// A child of fork(2) has no thread that asks.
[[maybe_unused]] const int probe_watches_fork = ::pthread_atfork(nullptr, nullptr, [] {
    wanted.store(nullptr);
    answering.store(0);
});

/// Of the strand that runs on this thread, at whatever instruction it is.
void describe_task(thread_picture& into) noexcept {
    const detail::strand* const strand = current->running;
    if (strand == nullptr) return;
    into.task = strand->number;
    if (strand->name != nullptr)
        std::strncpy(into.name.data(), strand->name, into.name.size() - 1);
    const chain_position at = first_program_frame(*strand);
    if (at.frame != nullptr) into.awaited = at.frame->awaiting;
}

/// `back`: where the handler returns to.
void answer(probe_request& request, const void* back) noexcept {
    thread_picture& picture = request.picture;
    if (scheduler_of(*current).pulse.look().beat != request.beat) {
        picture.kind = thread_picture::answer::went_on;
        return;
    }
    picture.kind = thread_picture::answer::stands;
    describe_task(picture);
    const int count = ::backtrace(picture.frames.data(), static_cast<int>(picture.frames.size()));
    picture.count = static_cast<std::size_t>(std::max(count, 0));
    for (std::size_t at = 0; at < picture.count; ++at)
        if (picture.frames[at] == back) picture.first = at + 1;
}

/// Only what is async-signal-safe: atomics, copies, write in ring(), and backtrace(3), whose
/// library was loaded before.
void on_probe(int signal, siginfo_t* info, void* where) {
    if (info->si_code != SI_QUEUE || info->si_value.sival_ptr != &wanted) {
        probe_signal_guard::pass_on(signal, info, where);
        return;
    }
    const int saved = errno;
    answering.fetch_add(1);
    probe_request* const request = wanted.load();
    auto asked = probe_request::state::asked;
    if (request != nullptr && current == request->of &&
        request->at.compare_exchange_strong(asked, probe_request::state::answering)) {
        answer(*request, __builtin_return_address(0));
        request->at.store(probe_request::state::answered);
        request->rung->ring();
    }
    answering.fetch_sub(1);
    errno = saved;
}

/// The signal carries a mark: the program may send itself the same one, by pthread_kill(3) or
/// raise(3). The C library has no such call for the number of a thread, which does no harm when the
/// thread has ended.
bool send_marked(std::int32_t thread) noexcept {
    siginfo_t info{};
    info.si_signo = probe_signal;
    info.si_code = SI_QUEUE;
    info.si_pid = ::getpid();
    info.si_uid = ::getuid();
    info.si_value.sival_ptr = &wanted;
    return ::syscall(SYS_rt_tgsigqueueinfo, ::getpid(), thread, probe_signal, &info) == 0;
}

void add_hexadecimal(text_line<512>& text, std::uintptr_t number) noexcept {
    constexpr std::string_view digits = "0123456789abcdef";
    int shift = 60;
    while (shift > 0 && number >> shift == 0) shift -= 4;
    text.add("0x");
    for (; shift >= 0; shift -= 4) text.add(digits.substr(number >> shift & 15, 1));
}

/// An address of return is behind the call, perhaps in the next function.
void add_frame(text_line<512>& text, void* returns_to) {
    const auto address = reinterpret_cast<std::uintptr_t>(returns_to) - 1;
    Dl_info where{};
    if (::dladdr(reinterpret_cast<void*>(address), &where) == 0 || where.dli_fname == nullptr) {
        add_hexadecimal(text, address);
        return;
    }
    if (where.dli_sname != nullptr) {
        int status = -1;
        const std::unique_ptr<char, decltype(&std::free)> plain(
            abi::__cxa_demangle(where.dli_sname, nullptr, nullptr, &status), &std::free);
        text.add(status == 0 ? plain.get() : where.dli_sname);
        return;
    }
    const std::string_view path = where.dli_fname;
    text.add(path.substr(path.rfind('/') + 1)).add("+");
    add_hexadecimal(text, address - reinterpret_cast<std::uintptr_t>(where.dli_fbase));
}

}  // namespace

std::string thread_picture::stack() const {
    std::string all;
    for (std::size_t at = first; at < count; ++at) {
        text_line<512> frame;
        add_frame(frame, frames[at]);
        if (!all.empty()) all += " ← ";
        all += frame.view();
    }
    return all;
}

thread_probe::thread_probe() : signal_(&on_probe) {
    // The first call loads a library, which a handler must not do.
    std::array<void*, 4> warm{};
    ::backtrace(warm.data(), static_cast<int>(warm.size()));
}

thread_picture thread_probe::ask(const scheduler& loop, std::uint64_t beat, std::int32_t thread,
                                 bell& rung, world& in) noexcept {
    constexpr duration patience = std::chrono::seconds(1);
    probe_request mine{.of = &loop, .beat = beat, .rung = &rung};
    const time_point until = saturating_add(in.now(), patience);
    for (probe_request* none = nullptr; !wanted.compare_exchange_strong(none, &mine);
         none = nullptr) {
        if (in.now() >= until) return {};
        rung.wait(std::chrono::milliseconds(1));
    }
    if (!send_marked(thread)) {
        wanted.store(nullptr);
        return {.kind = thread_picture::answer::not_asked};
    }
    for (time_point now = in.now();
         now < until && mine.at.load() != probe_request::state::answered; now = in.now())
        rung.wait(until - now);
    wanted.store(nullptr);
    while (answering.load() != 0) std::this_thread::yield();
    return mine.picture;
}

}}}  // namespace coro::v0::detail
