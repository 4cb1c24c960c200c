// A mark that fork(2) wipes: how a poller notices that it is in a child of its process.
#pragma once

namespace coro { inline namespace v0 { namespace detail {

/// A child of fork(2) has the parent's sockets, and its ring or its epoll set as well. What it asks
/// of these takes something from the parent: bytes, readiness, completions. So each poller has a
/// mark, and looks at it before it touches the kernel.
class fork_mark {
public:
    fork_mark() noexcept;
    fork_mark(const fork_mark&) = delete;
    fork_mark& operator=(const fork_mark&) = delete;
    ~fork_mark();

    /// 0, or a negated errno: this kernel wipes nothing (before Linux 4.14), or has no memory. Then
    /// a child is not noticed.
    [[nodiscard]] int error() const noexcept { return error_; }
    /// False in a child process after fork(2).
    [[nodiscard]] bool is_ours() const noexcept { return *mark_ != 0; }
    /// Aborts in such a child.
    void check() const noexcept {
        if (!is_ours()) [[unlikely]] used_after_fork();
    }

private:
    [[noreturn]] static void used_after_fork() noexcept;

    unsigned char* mark_;
    int error_ = 0;
    unsigned char unwiped_ = 1;  ///< the mark where there is no page for it
};

}}}  // namespace coro::v0::detail
