// Listening at a path, unix(7): a server that dies leaves its file behind, and the next one has to
// tell that file from the file of a server that lives.
//
// A connect tells: a socket that nobody listens at refuses. But a server that has bound its name
// and does not listen yet refuses too. So the folder is locked, flock(2), while a server binds,
// looks, removes and listens, and while a listener removes its file at its end: servers that use
// this library never remove each other's file.
#include "poller/posix_sockets.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstring>

namespace coro { inline namespace v0 { namespace detail {
namespace {

constexpr mode_t all_permissions = 07777;
constexpr int lock_attempts = 1000;  ///< a millisecond each

/// A descriptor for the time of a call.
class scoped_descriptor {
public:
    explicit scoped_descriptor(int of) noexcept : descriptor_(of) {}
    scoped_descriptor(const scoped_descriptor&) = delete;
    scoped_descriptor& operator=(const scoped_descriptor&) = delete;
    ~scoped_descriptor() {
        if (descriptor_ >= 0) ::close(descriptor_);
    }
    [[nodiscard]] int get() const noexcept { return descriptor_; }

private:
    int descriptor_;
};

/// The path in `address`, with its final zero; empty for an abstract or unnamed one.
using path_text = std::array<char, sizeof(sockaddr_un::sun_path) + 1>;
path_text path_of(const socket_address& address) noexcept {
    path_text path{};
    constexpr std::size_t before = offsetof(sockaddr_un, sun_path);
    if (address.size <= before || address.size > sizeof(sockaddr_un)) return path;
    std::memcpy(path.data(), address.bytes.data() + before, address.size - before);
    return path;
}

/// The folder of `path`, opened to be locked, or -1.
int open_folder(const path_text& path) noexcept {
    path_text folder = path;
    char* const slash = std::strrchr(folder.data(), '/');
    const char* name = folder.data();
    if (slash == nullptr) name = ".";
    else if (slash == folder.data()) name = "/";
    else *slash = '\0';
    return ::open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/// 0 when it is locked, -EAGAIN when another process keeps the lock, another negated errno where
/// nothing can be locked.
int lock(int folder) noexcept {
    for (int attempt = 0; attempt < lock_attempts; ++attempt) {
        if (::flock(folder, LOCK_EX | LOCK_NB) == 0) return 0;
        if (errno != EWOULDBLOCK && errno != EINTR) return -errno;
        const timespec pause{0, 1'000'000};
        ::nanosleep(&pause, nullptr);
    }
    return -EAGAIN;
}

file_mark mark_of(const struct stat& file) noexcept {
    return {static_cast<std::uint64_t>(file.st_dev), static_cast<std::uint64_t>(file.st_ino),
            std::int64_t{file.st_mtim.tv_sec} * 1'000'000'000 + file.st_mtim.tv_nsec};
}

/// Which file is at `path`; an empty mark for none.
file_mark look_at(const char* path) noexcept {
    struct stat file{};
    return ::lstat(path, &file) == 0 ? mark_of(file) : file_mark{};
}

/// Whether nobody listens at the socket `where`: 0, or why it must stay.
int ask_whether_dead(const socket_address& where) noexcept {
    const scoped_descriptor probe(
        ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    if (probe.get() < 0) return -errno;
    const auto* address = reinterpret_cast<const sockaddr*>(where.bytes.data());
    if (::connect(probe.get(), address, where.size) == 0) return -EADDRINUSE;
    // ENOENT: it has gone meanwhile. EAGAIN: its backlog is full. EPROTOTYPE: no stream socket.
    // EACCES: one that we may not ask we may not remove.
    return errno == ECONNREFUSED || errno == ENOENT ? 0 : -EADDRINUSE;
}

/// Removes the file of a dead server. Requires: the folder is locked.
int remove_stale(const char* path, const socket_address& where) noexcept {
    struct stat file{};
    if (::lstat(path, &file) != 0) return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(file.st_mode)) return -EEXIST;
    if (const int error = ask_whether_dead(where); error != 0) return error;
    // Whoever does not lock may have replaced it since.
    if (look_at(path) != mark_of(file)) return -EADDRINUSE;
    return ::unlink(path) == 0 || errno == ENOENT ? 0 : -errno;
}

/// Requires: the folder is locked, or cannot be locked by anybody.
void remove_if_marked(const char* path, const file_mark& mark) noexcept {
    if (mark && look_at(path) == mark) ::unlink(path);
}

bool is_dead_socket(const char* path, const socket_address& where) noexcept {
    struct stat file{};
    return ::lstat(path, &file) == 0 && S_ISSOCK(file.st_mode) && ask_whether_dead(where) == 0;
}

int bind_to(int descriptor, const socket_address& where) noexcept {
    const auto* address = reinterpret_cast<const sockaddr*>(where.bytes.data());
    return ::bind(descriptor, address, where.size) == 0 ? 0 : -errno;
}

/// Gives the file `made` these permissions; what has taken its place meanwhile stays as it is.
int set_mode(const char* path, mode_t mode, const file_mark& made) noexcept {
    const scoped_descriptor file(::open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC));
    struct stat found{};
    if (file.get() < 0 || ::fstat(file.get(), &found) != 0) return -errno;
    if (mark_of(found) != made) return -EADDRINUSE;
    if ((found.st_mode & all_permissions) == mode) return 0;
    // fchmod(2) refuses such a descriptor; by this name chmod(2) takes the file, and no link.
    std::array<char, 40> name{};
    std::snprintf(name.data(), name.size(), "/proc/self/fd/%d", file.get());
    return ::chmod(name.data(), mode) == 0 ? 0 : -errno;
}

/// Binds, sets the permissions and listens; in `made` the file, also after an error behind bind.
int listen_at(int descriptor, const char* path, const socket_address& where,
              const local_file& options, bool locked, file_mark& made) noexcept {
    const auto mode = static_cast<mode_t>(options.mode);
    // bind(2) takes them for the file, less the umask: it never has more than it is to have.
    if (options.mode >= 0 && ::fchmod(descriptor, mode) != 0) return -errno;
    int error = bind_to(descriptor, where);
    if (error == -EADDRINUSE && locked) {
        error = remove_stale(path, where);
        if (error == 0) error = bind_to(descriptor, where);
    }
    // A dead server's file may be removed under the lock alone.
    if (error == -EADDRINUSE && !locked && is_dead_socket(path, where)) return -EACCES;
    if (error != 0) return error;
    made = look_at(path);
    // Nobody connects before listen().
    if (options.mode >= 0) error = set_mode(path, mode, made);
    if (error != 0) return error;
    return ::listen(descriptor, options.backlog) == 0 ? 0 : -errno;
}

}  // namespace

int posix_sockets::listen_local(detail::handle socket, const socket_address& where,
                                const local_file& options, file_mark& out) noexcept {
    out = {};
    socket_slot* const slot = find(socket);
    if (slot == nullptr) return result_closed;
    if (slot->datagram) return -EOPNOTSUPP;
    const path_text path = path_of(where);
    if (path[0] == '\0') {
        if (const int error = bind(socket, where); error != 0) return error;
        return listen(socket, options.backlog);
    }
    const scoped_descriptor folder(open_folder(path));
    // A folder that may not be read cannot be locked. A name that is free is bound there all the
    // same, and one that is taken stays.
    const int locked = folder.get() < 0 ? -EACCES : lock(folder.get());
    if (locked == -EAGAIN) return locked;
    const int error =
        listen_at(slot->descriptor, path.data(), where, options, locked == 0, out);
    if (error == 0) {
        slot->listening = true;
    } else {
        remove_if_marked(path.data(), out);
        out = {};
    }
    return error;
}

/// Locked, so that no successor replaces the file between the look and the removal. Who holds the
/// lock is binding in this folder: the file stays, and the next server at the path replaces it. A
/// folder that cannot be locked is one where no server replaces a file.
void posix_sockets::remove_file(const socket_address& where, const file_mark& mark) noexcept {
    mark_.check();  // in a child process the file is still the parent's
    const path_text path = path_of(where);
    const scoped_descriptor folder(open_folder(path));
    if (folder.get() >= 0 && ::flock(folder.get(), LOCK_EX | LOCK_NB) != 0 &&
        errno == EWOULDBLOCK)
        return;
    remove_if_marked(path.data(), mark);
}

}}}  // namespace coro::v0::detail
