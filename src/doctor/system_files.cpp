#include "doctor/system_files.hpp"

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <memory>
#include <system_error>

namespace coro_doctor {
namespace {

constexpr std::size_t largest_file = 1024 * 1024;  ///< the files that are read have a few lines
constexpr std::string_view blanks = " \t\n\r";

struct close_file {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

read_state state_of(int error) noexcept {
    // ESRCH: the process of a file of /proc has ended since it was opened.
    if (error == ENOENT || error == ENOTDIR || error == ESRCH) return read_state::missing;
    if (error == EACCES || error == EPERM) return read_state::refused;
    return read_state::failed;
}

reading unreadable(int error) {
    return {state_of(error), {}, std::generic_category().message(error)};
}

std::string_view trimmed(std::string_view text) noexcept {
    const std::size_t first = text.find_first_not_of(blanks);
    if (first == std::string_view::npos) return {};
    return text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

}  // namespace

reading system_files::read(const std::string& path) const {
    const std::unique_ptr<std::FILE, close_file> file(std::fopen((root_ + path).c_str(), "re"));
    if (file == nullptr) return unreadable(errno);
    reading result{read_state::present, {}, {}};
    std::array<char, 4096> buffer;
    errno = 0;
    while (const std::size_t count = std::fread(buffer.data(), 1, buffer.size(), file.get())) {
        result.text.append(buffer.data(), count);
        if (result.text.size() > largest_file) return unreadable(EFBIG);
    }
    if (std::ferror(file.get()) != 0) return unreadable(errno);
    return result;
}

std::optional<std::vector<std::string>> system_files::names_in(const std::string& path) const {
    std::error_code error;
    std::filesystem::directory_iterator entry(root_ + path, error);
    if (error) return std::nullopt;
    std::vector<std::string> names;
    while (entry != std::filesystem::directory_iterator()) {
        names.push_back(entry->path().filename().string());
        entry.increment(error);
        if (error) return std::nullopt;
    }
    return names;
}

std::optional<std::string> system_files::link(const std::string& path) const {
    std::error_code error;
    const std::filesystem::path target = std::filesystem::read_symlink(root_ + path, error);
    if (error) return std::nullopt;
    return target.string();
}

std::optional<std::uint64_t> parse_number(std::string_view text) noexcept {
    text = trimmed(text);
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
    return number;
}

std::vector<std::string_view> words_of(std::string_view text) {
    std::vector<std::string_view> words;
    while (true) {
        const std::size_t first = text.find_first_not_of(blanks);
        if (first == std::string_view::npos) return words;
        text.remove_prefix(first);
        words.push_back(text.substr(0, text.find_first_of(blanks)));
        text.remove_prefix(words.back().size());
    }
}

std::optional<std::vector<std::uint64_t>> numbers_of(std::string_view text) {
    std::vector<std::uint64_t> numbers;
    for (const std::string_view word : words_of(text)) {
        const auto number = parse_number(word);
        if (!number) return std::nullopt;
        numbers.push_back(*number);
    }
    if (numbers.empty()) return std::nullopt;
    return numbers;
}

std::optional<std::string_view> field_of(std::string_view text, std::string_view key) noexcept {
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        const std::string_view line = text.substr(0, end);
        text.remove_prefix(std::min(end + 1, text.size()));
        if (line.size() > key.size() && line.starts_with(key) && line[key.size()] == ':')
            return trimmed(line.substr(key.size() + 1));
    }
    return std::nullopt;
}

std::optional<std::uint64_t> kibibytes_of(std::string_view text, std::string_view key) noexcept {
    std::optional<std::string_view> field = field_of(text, key);
    if (!field || !field->ends_with(" kB")) return std::nullopt;
    field->remove_suffix(3);
    const auto count = parse_number(*field);
    if (!count || *count > std::numeric_limits<std::uint64_t>::max() / 1024) return std::nullopt;
    return *count * 1024;
}

std::string printable(std::string_view text) {
    std::string out(text);
    for (char& letter : out) {
        if (letter < ' ' || letter > '~' || letter == '"' || letter == '\\') letter = '?';
    }
    return out;
}

std::string quoted(std::string_view text) {
    constexpr std::size_t most = 40;
    text = trimmed(text);
    return '"' + printable(text.substr(0, most)) + (text.size() > most ? "...\"" : "\"");
}

}  // namespace coro_doctor
