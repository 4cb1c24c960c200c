// Yardstick: an echo server on select(2), one thread.
//
// Run:  select_echo --port 7000         then connect anything to 127.0.0.1:7000; q ends it
// Every wait copies three sets of descriptors into the kernel and back, and both sides look at each
// descriptor up to the highest one, ready or not. The program keeps its sets and copies them, and
// looks at the answer by words of 64 descriptors. Above FD_SETSIZE, 1024, there is no bit for a
// descriptor: this model ends there.
#include "contenders/readiness.hpp"

#include "common/failure.hpp"
#include "common/keyboard.hpp"
#include "common/server.hpp"

#include <sys/select.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>

namespace {

constexpr int bits_per_word = 64;
using set_words = std::array<std::uint64_t, FD_SETSIZE / bits_per_word>;
static_assert(sizeof(set_words) == sizeof(fd_set));

class select_echo {
public:
    select_echo(int listener, std::size_t buffer_bytes)
        : acceptor_(listener), table_(buffer_bytes) {
        FD_ZERO(&input_);
        FD_ZERO(&room_);
        watch(listener, input_);
        if (keyboard_.fd() >= 0) watch(keyboard_.fd(), input_);
    }

    [[noreturn]] void run() {
        for (;;) {
            fd_set readable = input_;
            fd_set writable = room_;
            timeval pause{0, acceptor_.timeout_milliseconds() * 1000};
            const int count = select(highest_ + 1, &readable, blocked_ > 0 ? &writable : nullptr,
                                     nullptr, acceptor_.is_paused() ? &pause : nullptr);
            if (acceptor_.resumes()) watch(acceptor_.fd(), input_);
            if (count < 0 && errno != EINTR) {
                perf::fail_errno("wait for events", errno, "report this; it should not happen");
            }
            if (count <= 0) continue;
            for_each_in(readable, [this](int fd) { handle(fd); });
            if (blocked_ > 0) for_each_in(writable, [this](int fd) { handle(fd); });
        }
    }

private:
    void watch(int fd, fd_set& set) {
        FD_SET(fd, &set);
        highest_ = std::max(highest_, fd);
    }

    template <typename Handle>
    void for_each_in(const fd_set& set, Handle handle) {
        set_words words;
        std::memcpy(words.data(), &set, sizeof words);
        const int used = highest_ / bits_per_word;
        for (int i = 0; i <= used; ++i) {
            for (std::uint64_t word = words[static_cast<std::size_t>(i)]; word != 0;
                 word &= word - 1) {
                handle(i * bits_per_word + std::countr_zero(word));
            }
        }
    }

    void handle(int fd) {
        if (fd == acceptor_.fd()) {
            accept_all();
        } else if (fd == keyboard_.fd()) {
            if (!keyboard_.take_typed()) FD_CLR(fd, &input_);
        } else {
            serve(fd);
        }
    }

    void accept_all() {
        acceptor_.accept_all([this](int fd) {
            if (fd >= FD_SETSIZE) {
                perf::cannot_serve("serve descriptor " + std::to_string(fd) +
                                   ": select knows those below " + std::to_string(FD_SETSIZE) +
                                   " only; give it fewer connections, or take poll_echo");
            }
            table_.add(fd);
            watch(fd, input_);
        });
        if (acceptor_.is_paused()) FD_CLR(acceptor_.fd(), &input_);
    }

    void serve(int fd) {
        const bool was_blocked = table_.is_blocked(fd);
        const perf::served now = table_.serve(fd);
        const bool is_blocked = now == perf::served::blocked;
        blocked_ += static_cast<int>(is_blocked) - static_cast<int>(was_blocked);
        if (now == perf::served::closed) {
            FD_CLR(fd, &input_);
            FD_CLR(fd, &room_);
            while (highest_ > acceptor_.fd() && !FD_ISSET(highest_, &input_) &&
                   !FD_ISSET(highest_, &room_)) {
                --highest_;
            }
        } else if (is_blocked != was_blocked) {
            FD_CLR(fd, is_blocked ? &input_ : &room_);
            FD_SET(fd, is_blocked ? &room_ : &input_);
        }
    }

    perf::acceptor acceptor_;
    perf::keyboard keyboard_;
    perf::echo_table table_;
    fd_set input_;
    fd_set room_;
    int highest_ = -1;
    int blocked_ = 0;  // connections in `room_`; without any the second set stays at home
};

}  // namespace

int main(int argc, char** argv) {
    const perf::loop_start start("select_echo", argc, argv);
    select_echo server(start.listener, start.buffer_bytes);
    perf::announce(start.listener);
    server.run();
}
