// To be preloaded: the wall clock jumps a day ahead, a day back, and home again, call by call. The
// monotonic clocks are the kernel's.
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <ctime>

namespace {

constexpr long day = 24 * 60 * 60;

long next_jump() noexcept {
    static std::atomic<unsigned> calls{0};
    constexpr long jumps[] = {day, -day, 0};
    return jumps[calls.fetch_add(1, std::memory_order_relaxed) % 3];
}

}  // namespace

extern "C" {

int clock_gettime(clockid_t clock, timespec* out) noexcept {
    const long answer = ::syscall(SYS_clock_gettime, clock, out);
    const bool of_the_wall =
        clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
    if (answer == 0 && of_the_wall) out->tv_sec += next_jump();
    return static_cast<int>(answer);
}

int gettimeofday(timeval* out, void*) noexcept {
    timespec now{};
    if (::clock_gettime(CLOCK_REALTIME, &now) != 0) return -1;
    *out = {now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t* out) noexcept {
    timespec now{};
    ::clock_gettime(CLOCK_REALTIME, &now);
    if (out != nullptr) *out = now.tv_sec;
    return now.tv_sec;
}
}
