// The page of the mark: the kernel hands it out anew, hence as zeros, to a child of fork(2).
#include "poller/fork_mark.hpp"

#include <sys/mman.h>

#include <cerrno>

#include <coro/base/detail/assert.hpp>

namespace coro { inline namespace v0 { namespace detail {

fork_mark::fork_mark() noexcept : mark_(&unwiped_) {
    // A page of its own, because MADV_WIPEONFORK (madvise(2)) takes private anonymous pages only.
    void* const page =
        ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) {
        error_ = -errno;
        return;
    }
    if (::madvise(page, 1, MADV_WIPEONFORK) != 0) {
        error_ = -errno;
        ::munmap(page, 1);
        return;
    }
    mark_ = static_cast<unsigned char*>(page);
    *mark_ = 1;
}

fork_mark::~fork_mark() {
    if (mark_ != &unwiped_) ::munmap(mark_, 1);
}

void fork_mark::used_after_fork() noexcept {
    misused(__FILE__, __LINE__,
            "a child process went on in the loop of its parent after fork(2): let the child call "
            "exec, _exit, or a run of its own");
}

}}}  // namespace coro::v0::detail
