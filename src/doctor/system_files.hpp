// system_files: what the kernel tells in /proc and /sys, below a root that a test may choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace coro_doctor {

enum class read_state : std::uint8_t {
    present,
    missing,  ///< no such file
    refused,  ///< there, and not ours to read
    failed,   ///< there, and it cannot be read for another reason
};

/// One file, read. `text` has it when it is present, else `why` has the reason.
struct reading {
    read_state state = read_state::missing;
    std::string text;
    std::string why;
    [[nodiscard]] bool is_present() const noexcept { return state == read_state::present; }
};

/// Reads the files of the kernel. All paths are absolute, as in "/proc/self/limits"; the root is
/// put in front of them.
class system_files {
public:
    explicit system_files(std::string root) : root_(std::move(root)) {}

    [[nodiscard]] reading read(const std::string& path) const;
    /// The names in a folder; nothing when it cannot be read.
    [[nodiscard]] std::optional<std::vector<std::string>> names_in(const std::string& path) const;
    /// Where a symbolic link leads, nothing when it cannot be read.
    [[nodiscard]] std::optional<std::string> link(const std::string& path) const;
    /// Whether the files are those of the running system.
    [[nodiscard]] bool are_real() const noexcept { return root_.empty(); }

private:
    std::string root_;
};

/// All of `text` as a number, without blanks around it.
[[nodiscard]] std::optional<std::uint64_t> parse_number(std::string_view text) noexcept;
/// The parts between blanks, tabs and ends of lines.
[[nodiscard]] std::vector<std::string_view> words_of(std::string_view text);
/// All words as numbers; nothing when there are none, or one of them is no number.
[[nodiscard]] std::optional<std::vector<std::uint64_t>> numbers_of(std::string_view text);
/// What stands behind "key:" at the beginning of a line, without blanks around it.
[[nodiscard]] std::optional<std::string_view> field_of(std::string_view text,
                                                       std::string_view key) noexcept;
/// The number behind "key:" in bytes, where the line counts in kB, as in /proc/meminfo.
[[nodiscard]] std::optional<std::uint64_t> kibibytes_of(std::string_view text,
                                                        std::string_view key) noexcept;
/// The same length in printable ASCII, whatever the file had in it.
[[nodiscard]] std::string printable(std::string_view text);
/// In quotes, cut after some letters, and printable.
[[nodiscard]] std::string quoted(std::string_view text);

}  // namespace coro_doctor
