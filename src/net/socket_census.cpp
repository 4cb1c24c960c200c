// The kernel's list of sockets as typed values, and which of them are a process's.
#include <coro/net/socket_census.hpp>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <coro/base/error.hpp>

#include "net/proc_tables.hpp"
#include "runtime/socket_diag.hpp"

namespace coro { inline namespace v0 { namespace net {
namespace {

constexpr const char* verb_of_all = "list tcp sockets";
constexpr const char* verb_of_process = "list tcp sockets of a process";

/// The inodes of the sockets that a process has open; sorted. All sockets, where there is no list.
using inode_filter = std::optional<std::vector<std::uint64_t>>;

bool wants(const inode_filter& filter, std::uint64_t inode) noexcept {
    return !filter || std::binary_search(filter->begin(), filter->end(), inode);
}

/// `socket:[12345]`, or none.
std::optional<std::uint64_t> inode_of(std::string_view link) noexcept {
    constexpr std::string_view head = "socket:[";
    if (!link.starts_with(head)) return std::nullopt;
    link.remove_prefix(head.size());
    std::uint64_t inode = 0;
    const auto [end, error] = std::from_chars(link.data(), link.data() + link.size(), inode);
    if (error != std::errc{} || std::string_view(end, 1) != "]") return std::nullopt;
    return inode;
}

inode_filter inodes_of(int pid) {
    namespace fs = std::filesystem;
    detail::check_process(pid, verb_of_process);
    const std::string folder = "/proc/" + std::to_string(pid);
    const auto failed = [&](std::error_code error, const std::string& path) {
        const bool denied = error == std::errc::permission_denied;
        // It ended after the first look.
        if (error == std::errc::no_such_file_or_directory || error == std::errc::no_such_process)
            error = std::make_error_code(std::errc::no_such_process);
        return io_error(error, verb_of_process, path,
                        detail::error_text(denied ? "ask as its user, or as root" : ""));
    };
    std::error_code error;
    const fs::path theirs = fs::read_symlink(folder + "/ns/net", error);
    if (error) throw failed(error, folder + "/ns/net");
    const std::string own_namespace = "/proc/thread-self/ns/net";
    const fs::path ours = fs::read_symlink(own_namespace, error);
    if (error)
        throw io_error(error, verb_of_process, own_namespace,
                       detail::error_text("/proc must be mounted"));
    if (theirs != ours)
        throw io_error(std::make_error_code(std::errc::not_supported), verb_of_process, folder,
                       detail::error_text("it is in another network namespace: ask inside of that, "
                                          "as nsenter(1) --net does"));
    std::vector<std::uint64_t> found;
    fs::directory_iterator each(folder + "/fd", error);
    if (error) throw failed(error, folder + "/fd");
    for (; each != fs::directory_iterator(); each.increment(error)) {
        std::error_code gone;  // closed meanwhile
        const std::string link = fs::read_symlink(each->path(), gone).string();
        if (const auto inode = inode_of(link)) found.push_back(*inode);
    }
    if (error) throw failed(error, folder + "/fd");  // an error is an end of the folder
    std::sort(found.begin(), found.end());
    return found;
}

void visit(std::uint32_t states, bool with_info, detail::socket_visitor& to, const char* verb) {
    const int result = detail::visit_tcp_sockets(states, with_info, to);
    if (result < 0)
        throw io_error(std::error_code(-result, std::generic_category()), verb, "sock_diag");
}

tcp_census count(const inode_filter& filter, const char* verb) {
    struct counter final : detail::socket_visitor {
        explicit counter(const inode_filter& of) : filter(of) {}
        void see(const detail::socket_record& each) override {
            if (each.state < found.by_state.size() && wants(filter, each.inode))
                ++found.by_state[each.state];
        }
        const inode_filter& filter;
        tcp_census found;
    } counting(filter);
    visit(tcp_states::all().bits(), false, counting, verb);
    return counting.found;
}

tcp_socket typed(const detail::socket_record& from) {
    tcp_socket made;
    made.state = static_cast<tcp_state>(from.state);
    static_cast<void>(detail::from_socket_address(from.local, made.local));
    static_cast<void>(detail::from_socket_address(from.remote, made.remote));
    made.inode = from.inode;
    const bool is_a_rest = made.state == tcp_state::time_wait || from.ends;
    if (!is_a_rest && made.state != tcp_state::syn_received) made.uid = from.uid;
    made.receive_queue = from.receive_queue;
    made.send_queue = from.send_queue;
    if (from.ends) made.ends_in = from.ends_in;
    if (made.state == tcp_state::close_wait && from.info != nullptr) {
        made.close_wait_at_least = from.info->since_ack_received;
        made.close_wait_at_most = from.info->since_data_received;
    }
    return made;
}

std::vector<tcp_socket> list(const inode_filter& filter, tcp_states which, const char* verb) {
    struct collector final : detail::socket_visitor {
        explicit collector(const inode_filter& of) : filter(of) {}
        void see(const detail::socket_record& each) override {
            if (each.state < tcp_states_end && wants(filter, each.inode))
                found.push_back(typed(each));
        }
        const inode_filter& filter;
        std::vector<tcp_socket> found;
    } collecting(filter);
    visit(which.bits(), which.has(tcp_state::close_wait), collecting, verb);
    return std::move(collecting.found);
}

}  // namespace

tcp_census count_tcp_sockets() {
    detail::check_kernel_may_be_asked(verb_of_all);
    return count(std::nullopt, verb_of_all);
}

std::vector<tcp_socket> list_tcp_sockets(tcp_states which) {
    detail::check_kernel_may_be_asked(verb_of_all);
    return list(std::nullopt, which, verb_of_all);
}

tcp_census count_tcp_sockets_of(int pid) {
    detail::check_kernel_may_be_asked(verb_of_process);
    return count(inodes_of(pid), verb_of_process);
}

std::vector<tcp_socket> list_tcp_sockets_of(int pid, tcp_states which) {
    detail::check_kernel_may_be_asked(verb_of_process);
    return list(inodes_of(pid), which, verb_of_process);
}

}}}  // namespace coro::v0::net
