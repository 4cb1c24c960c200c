// cost_table: what pool_demo shows: each way of having connections is given the same tasks for the
// same time, has a row in a table, and a bar in a picture, as text and as SVG.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <coro/coro.hpp>

#include "connection_count.hpp"

struct cost_row {
    std::string way;
    connection_count connections;
    unsigned failed = 0;  ///< requests that were refused, and made again
    double per_second = 0;
    double mean_ms = 0;
    double p99_ms = 0;
    double cpu_us = 0;  ///< of this process for one request
};

class cost_table {
public:
    cost_table(unsigned tasks, coro::duration span) : tasks_(tasks), span_(span) {}

    static void print_heading() {
        std::printf("%-23s %7s %7s %8s %11s %8s %8s %12s\n", "way", "opened", "at once", "refused",
                    "requests/s", "mean ms", "p99 ms", "CPU us/req.");
    }

    /// The tasks call `ask(number)` again and again, and await it: one request with its reply. The
    /// latency of one that was refused goes on until it is answered.
    template <typename Ask>
    coro::task<> measure(std::string way, const connection_count& connections, const Ask& ask) {
        const coro::time_point start = coro::now();
        window seen;
        seen.end = start + span_;
        const std::clock_t cpu = std::clock();
        const auto side_by_side = [&](coro::task_group& group) -> coro::task<> {
            for (unsigned i = 0; i < tasks_; ++i)
                group.spawn(keep_asking<Ask>, std::ref(seen), std::cref(ask));
            co_return;
        };
        co_await coro::with_task_group(side_by_side);
        const auto spent = static_cast<double>(std::clock() - cpu) / CLOCKS_PER_SEC;
        const std::chrono::duration<double> elapsed = coro::now() - start;
        add(std::move(way), connections, seen, elapsed.count(), spent);
    }

    /// Bars of the rates and of the costs.
    void draw() const {
        draw_bars("requests/s", "%.0f", &cost_row::per_second);
        draw_bars("CPU us per request", "%.2f", &cost_row::cpu_us);
    }
    /// Both throw std::runtime_error if the file cannot be written. The first leaves it as it is.
    static void check_writable(const std::string& name) {
        if (!std::ofstream(name, std::ios::app))
            throw std::runtime_error("write " + name + ": name a file that can be written");
    }
    void write_svg(const std::string& name, const std::string& caption) const {
        std::ofstream file(name);
        file << svg(caption);
        if (!file.flush()) throw std::runtime_error("write " + name + ": the disk may be full");
    }
    [[nodiscard]] std::string svg(const std::string& caption) const {
        const std::size_t bottom = head + row_height * rows_.size();
        const std::string height = std::to_string(bottom + 40);
        std::string out =
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 860 " + height +
            "\" width=\"860\" height=\"" + height + "\" role=\"img\" aria-label=\"" + title +
            "\"><style>" + style + "</style><rect class=\"paper\" width=\"860\" height=\"" +
            height + "\" rx=\"6\"/>" + words("title", 12, 24, title);
        for (std::size_t i = 0; i < rows_.size(); ++i)
            out += words("label", first - 10, middle(i) + 4, rows_[i].way);
        out += panel(0, "requests/s; longer is better", "%.0f", &cost_row::per_second);
        out += panel(1, "p99 latency, ms", "%.2f", &cost_row::p99_ms);
        out += panel(2, "CPU per request, µs", "%.2f", &cost_row::cpu_us);
        return out + words("soft", 12, bottom + 24, caption) + "</svg>\n";
    }

private:
    static constexpr coro::duration retry_pause = std::chrono::milliseconds(5);
    static constexpr int text_bar = 40;
    static constexpr const char* title = "The same work with its connections had in several ways";
    static constexpr std::size_t head = 66;
    static constexpr std::size_t row_height = 22;
    static constexpr std::size_t first = 190;  ///< where the first panel begins
    static constexpr std::size_t panel_width = 220;
    static constexpr double longest_bar = 130;
    /// Without variables of CSS: viewers of pictures that know none would draw all of it black.
    static constexpr const char* style =
        "text { font: 12px system-ui, \"DejaVu Sans\", sans-serif; fill: #1c1f24; } "
        ".title { font-size: 15px; font-weight: 600; } .panel { font-weight: 600; } "
        ".soft { fill: #5c636e; font-size: 11px; } .label { text-anchor: end; } "
        ".paper { fill: #fff; } .bar { fill: #2f6fb5; } "
        "@media (prefers-color-scheme: dark) { text { fill: #e6e8ec; } .soft { fill: #a0a7b3; } "
        ".paper { fill: #15171b; } .bar { fill: #5f9fe6; } }";

    struct window {
        coro::time_point end{};
        unsigned next = 0;    ///< numbers the requests
        unsigned failed = 0;
        std::string failure;  ///< the last one
        std::vector<coro::duration> took;
    };

    template <typename Ask>
    static coro::task<> keep_asking(window& seen, const Ask& ask) {
        coro::time_point start = coro::now();
        while (coro::now() < seen.end) {
            bool served = true;
            try {
                co_await ask(seen.next++);
            } catch (const std::runtime_error& error) {  // an io_error is one
                served = false;
                ++seen.failed;
                seen.failure = error.what();
            }
            if (!served) {
                co_await coro::sleep_for(retry_pause);
                continue;
            }
            seen.took.push_back(coro::now() - start);
            start = coro::now();
        }
    }

    void add(std::string way, const connection_count& connections, window& seen, double elapsed,
             double spent) {
        std::vector<coro::duration>& took = seen.took;
        if (took.empty())
            throw std::runtime_error(way + ": no request was answered: " + seen.failure);
        coro::duration all{};
        for (const coro::duration each : took) all += each;
        const auto served = static_cast<double>(took.size());
        const auto at = took.begin() + static_cast<std::ptrdiff_t>((took.size() - 1) * 99 / 100);
        std::nth_element(took.begin(), at, took.end());
        rows_.push_back({.way = std::move(way),
                         .connections = connections,
                         .failed = seen.failed,
                         .per_second = served / elapsed,
                         .mean_ms = milliseconds(all) / served,
                         .p99_ms = milliseconds(*at),
                         .cpu_us = spent * 1e6 / served});
        const cost_row& row = rows_.back();
        std::printf("%-23s %7u %7u %8u %11.0f %8.2f %8.2f %12.2f\n", row.way.c_str(),
                    connections.opened, connections.most_open, row.failed, row.per_second,
                    row.mean_ms, row.p99_ms, row.cpu_us);
    }

    static double milliseconds(coro::duration span) {
        return std::chrono::duration<double, std::milli>(span).count();
    }
    [[nodiscard]] double largest(double cost_row::*what) const {
        double found = 1e-9;
        for (const cost_row& row : rows_) found = std::max(found, row.*what);
        return found;
    }
    static std::string shown(const char* format, double value) {
        char text[32];
        std::snprintf(text, sizeof text, format, value);
        return text;
    }
    void draw_bars(const char* heading, const char* format, double cost_row::*what) const {
        std::printf("\n%s\n", heading);
        for (const cost_row& row : rows_) {
            const auto length = static_cast<std::size_t>(text_bar * (row.*what) / largest(what));
            std::printf("%-23s %s %s\n", row.way.c_str(), std::string(length + 1, '#').c_str(),
                        shown(format, row.*what).c_str());
        }
    }

    static std::size_t middle(std::size_t row) { return head + row_height * row + row_height / 2; }
    static std::string words(const char* kind, std::size_t x, std::size_t y,
                             const std::string& text) {
        return std::string("<text class=\"") + kind + "\" x=\"" + std::to_string(x) + "\" y=\"" +
               std::to_string(y) + "\">" + text + "</text>";
    }
    [[nodiscard]] std::string panel(std::size_t place, const char* heading, const char* format,
                                    double cost_row::*what) const {
        const std::size_t left = first + panel_width * place;
        std::string out = words("panel", left, head - 10, heading);
        for (std::size_t i = 0; i < rows_.size(); ++i) {
            const double value = rows_[i].*what;
            const auto width = std::max<std::size_t>(
                1, static_cast<std::size_t>(longest_bar * value / largest(what)));
            out += "<rect class=\"bar\" x=\"" + std::to_string(left) + "\" y=\"" +
                   std::to_string(middle(i) - 6) + "\" width=\"" + std::to_string(width) +
                   "\" height=\"12\" rx=\"2\"/>" +
                   words("figure", left + width + 6, middle(i) + 4, shown(format, value));
        }
        return out;
    }

    unsigned tasks_;
    coro::duration span_;
    std::vector<cost_row> rows_;
};
