// A child process for a test: forked before any loop of its own, watched through a pipe.
#pragma once

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string>
#include <string_view>
#include <utility>

#include <gtest/gtest.h>

namespace coro { inline namespace v0 { namespace detail::conformance {

/// What the child has of its parent: somewhere to write words to.
class parent_line {
public:
    explicit parent_line(int descriptor) noexcept : descriptor_(descriptor) {}
    void say(std::string_view word) const noexcept {
        if (::write(descriptor_, word.data(), word.size()) < 0) ::_exit(99);
    }
    [[nodiscard]] int descriptor() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

/// Runs `body(line)` in a child, whose exit code is what it answers.
class child_process {
public:
    template <typename Body>
    explicit child_process(Body body) {
        int ends[2] = {-1, -1};
        if (::pipe(ends) != 0) std::abort();
        pid_ = ::fork();
        if (pid_ < 0) std::abort();
        if (pid_ == 0) {
            ::close(ends[0]);
            ::_exit(body(parent_line(ends[1])));
        }
        ::close(ends[1]);
        from_child_ = ends[0];
    }
    child_process(const child_process&) = delete;
    child_process& operator=(const child_process&) = delete;
    ~child_process() {
        if (pid_ > 0) {
            ::kill(pid_, SIGKILL);
            ::waitpid(pid_, nullptr, 0);
        }
        ::close(from_child_);
    }

    void signal(int number) const { ::kill(pid_, number); }

    /// Waits until the child has said `word`; false if it ended, or a minute passed, before.
    bool heard(std::string_view word) {
        while (words_.find(word) == std::string::npos) {
            pollfd wanted{from_child_, POLLIN, 0};
            if (::poll(&wanted, 1, 60'000) != 1) return false;
            char buffer[512];
            const ssize_t n = ::read(from_child_, buffer, sizeof buffer);
            if (n <= 0) return false;
            words_.append(buffer, static_cast<std::size_t>(n));
        }
        return true;
    }
    /// Everything that it has said up to its end.
    const std::string& all_words() {
        static_cast<void>(heard("no child says this"));
        return words_;
    }

    /// Whether it has ended; its status is then known.
    bool ended() { return pid_ < 0 || collect(WNOHANG); }
    /// Waits for the end and answers the status of wait(2).
    int status() {
        if (pid_ > 0) collect(0);
        return status_;
    }
    [[nodiscard]] bool exited_with(int code) {
        const int how = status();
        return WIFEXITED(how) && WEXITSTATUS(how) == code;
    }
    [[nodiscard]] bool killed_by(int number) {
        const int how = status();
        return WIFSIGNALED(how) && WTERMSIG(how) == number;
    }

private:
    bool collect(int flags) {
        if (::waitpid(pid_, &status_, flags) != pid_) return false;
        pid_ = -1;
        return true;
    }

    pid_t pid_ = -1;
    int from_child_ = -1;
    int status_ = 0;
    std::string words_;
};

}}}  // namespace coro::v0::detail::conformance
