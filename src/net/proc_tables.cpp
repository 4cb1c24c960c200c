// Tables of /proc, and who may ask for them.
#include "net/proc_tables.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <system_error>

#include <coro/base/error.hpp>
#include <coro/core/detail/loop.hpp>

#include "runtime/scheduler.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// Takes the text up to `separator` off `rest`.
std::string_view take_up_to(std::string_view& rest, char separator) noexcept {
    const std::size_t end = std::min(rest.find(separator), rest.size());
    const std::string_view part = rest.substr(0, end);
    rest.remove_prefix(std::min(end + 1, rest.size()));
    return part;
}

std::string_view next_word(std::string_view& rest) noexcept {
    while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
    return take_up_to(rest, ' ');
}

/// The next line of `table` that begins with `head` and a colon, without these; empty at the end.
std::string_view next_line_of(std::string_view& table, std::string_view head) noexcept {
    while (!table.empty()) {
        std::string_view line = take_up_to(table, '\n');
        if (line.size() > head.size() && line.starts_with(head) && line[head.size()] == ':')
            return line.substr(head.size() + 1);
    }
    return {};
}

std::optional<std::uint64_t> number_of(std::string_view text) noexcept {
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
        return std::nullopt;
    return number;
}

}  // namespace

std::string read_proc_file(const std::string& path, const char* verb) {
    const auto failed = [&](int error) {
        return io_error(std::error_code(error, std::generic_category()), verb, path);
    };
    const std::unique_ptr<std::FILE, int (*)(std::FILE*)> file(std::fopen(path.c_str(), "re"),
                                                               &std::fclose);
    if (file == nullptr) throw failed(errno);
    std::string text;
    std::array<char, 4096> buffer;
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get()))
        text.append(buffer.data(), count);
    if (std::ferror(file.get()) != 0) throw failed(EIO);
    return text;
}

std::optional<std::uint64_t> number_in_columns(std::string_view table, std::string_view head,
                                               std::string_view name) noexcept {
    std::string_view names = next_line_of(table, head);
    std::string_view numbers = next_line_of(table, head);
    while (!names.empty() && !numbers.empty()) {
        const std::string_view number = next_word(numbers);
        if (next_word(names) == name) return number_of(number);
    }
    return std::nullopt;
}

std::optional<std::uint64_t> number_in_pairs(std::string_view table, std::string_view head,
                                             std::string_view name) noexcept {
    std::string_view pairs = next_line_of(table, head);
    while (!pairs.empty()) {
        const bool found = next_word(pairs) == name;
        const std::string_view number = next_word(pairs);
        if (found) return number_of(number);
    }
    return std::nullopt;
}

void check_process(int pid, const char* verb) {
    const std::string folder = "/proc/" + std::to_string(pid);
    std::error_code unknown;
    if (pid <= 0 || !std::filesystem::exists(folder, unknown))
        throw io_error(std::make_error_code(std::errc::no_such_process), verb, folder);
}

void check_kernel_may_be_asked(const char* verb) {
    if (current == nullptr || scheduler_of(*current).poller().name() != "simulation") return;
    throw io_error(std::make_error_code(std::errc::not_supported), verb,
                   error_text("a simulation has a network of its own: ask outside of its run()"));
}

}}}  // namespace coro::v0::detail
