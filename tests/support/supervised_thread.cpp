#include "support/supervised_thread.hpp"

#include <linux/filter.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <thread>

namespace coro_test {
namespace {

constexpr int no_listener = -1;

std::vector<sock_filter> filter_of(const std::vector<watched_call>& watched) {
    std::vector<sock_filter> filter;
    const auto load = [&](std::size_t offset) {
        filter.push_back(BPF_STMT(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset)));
    };
    const auto skip_unless = [&](std::uint32_t value, unsigned char count) {
        filter.push_back(BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, value, 0, count));
    };
    for (const watched_call& each : watched) {
        const bool narrow = each.argument >= 0;
        load(offsetof(seccomp_data, nr));
        skip_unless(static_cast<std::uint32_t>(each.number), narrow ? 3 : 1);
        if (narrow) {
            // The lower half stands first where the machine is little-endian.
            load(offsetof(seccomp_data, args) +
                 static_cast<std::size_t>(each.argument) * sizeof(std::uint64_t));
            skip_unless(each.value, 1);
        }
        filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF));
    }
    filter.push_back(BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW));
    return filter;
}

/// The listener of a filter on the calling thread, or a negated errno.
int listen_to_this_thread(const std::vector<watched_call>& watched) {
    std::vector<sock_filter> filter = filter_of(watched);
    const sock_fprog program{static_cast<unsigned short>(filter.size()), filter.data()};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -errno;
    const long listener = ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                                    SECCOMP_FILTER_FLAG_NEW_LISTENER, &program);
    return listener < 0 ? -errno : static_cast<int>(listener);
}

/// One call asked about, if there is one; see seccomp_unotify(2).
void answer_one(int listener, const std::function<verdict(const asked_call&)>& judge) {
    seccomp_notif asked{};
    if (::ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &asked) != 0) return;
    asked_call call;
    call.number = asked.data.nr;
    for (std::size_t i = 0; i < call.arguments.size(); ++i) call.arguments[i] = asked.data.args[i];
    const verdict given = judge(call);
    seccomp_notif_resp answer{};
    answer.id = asked.id;
    if (given.by_kernel) answer.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    else if (given.value < 0) answer.error = static_cast<std::int32_t>(given.value);
    else answer.val = given.value;
    ::ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &answer);
}

}  // namespace

std::string run_supervised(const std::vector<watched_call>& watched,
                           const std::function<verdict(const asked_call&)>& judge,
                           const std::function<void()>& body) {
    std::atomic<int> listener{no_listener};
    std::atomic<bool> told{false};
    std::atomic<bool> ended{false};
    std::thread subject([&] {
        listener.store(listen_to_this_thread(watched));
        told.store(true);
        if (listener.load() >= 0) body();
        ended.store(true);
    });
    while (!told.load()) std::this_thread::yield();
    const int line = listener.load();
    while (line >= 0 && !ended.load()) {
        pollfd wanted{line, POLLIN, 0};
        if (::poll(&wanted, 1, 20) == 1 && (wanted.revents & POLLIN) != 0) answer_one(line, judge);
    }
    subject.join();
    if (line < 0)
        return std::string("seccomp(2) with a listener answered ") + std::strerror(-line);
    ::close(line);
    return {};
}

}  // namespace coro_test
