// The rows of the report, by subject; each function adds its own.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "doctor/finding.hpp"
#include "doctor/machine.hpp"

namespace coro_doctor {

void add_descriptor_rows(const machine& seen, std::vector<finding>& rows);
void add_tcp_rows(const machine& seen, std::vector<finding>& rows);
void add_memory_rows(const machine& seen, std::vector<finding>& rows);
void add_thread_rows(const machine& seen, std::vector<finding>& rows);
void add_ring_rows(const machine& seen, std::vector<finding>& rows);

/// What the connections that were asked for, and a million, need.
[[nodiscard]] std::vector<need> compute_needs(const machine& seen);

/// A kernel variable of numbers, and the judge of them.
struct variable_row {
    std::string_view section;
    std::string_view path;  ///< below /proc/sys, "net/core/somaxconn"
    std::size_t count;      ///< numbers in it
    std::string_view unit;  ///< behind the value, " s"; may be empty
    std::string_view meaning;
    verdict (*judge)(const machine& seen, const std::vector<std::uint64_t>& numbers);
    std::string_view when_missing;
};

void add_variable(const machine& seen, const variable_row& row, std::vector<finding>& rows);

/// "net.core.somaxconn" of "net/core/somaxconn".
[[nodiscard]] std::string dotted(std::string_view path);
/// A row whose value is not known: why, and what to do.
void say_unreadable(finding& row, const reading& file, std::string_view when_missing);
void say_garbage(finding& row, const reading& file);
[[nodiscard]] verdict fine(std::string advice);
[[nodiscard]] verdict note(std::string advice);
[[nodiscard]] verdict warning(std::string advice);
[[nodiscard]] verdict problem(std::string advice);
/// "1000 connections".
[[nodiscard]] std::string connections_text(const machine& seen);

}  // namespace coro_doctor
