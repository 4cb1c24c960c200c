// The table and the JSON line of coro_load.
#include "load/report.hpp"

#include <cinttypes>
#include <cstdio>

namespace load {

namespace {

double microseconds(std::uint64_t nanoseconds) {
    return static_cast<double>(nanoseconds) / 1e3;
}

double per_second(const measurement& window) {
    return static_cast<double>(window.messages) / window.seconds;
}

/// CPU microseconds per message; with firehoses the server's time is theirs too, so there is none.
std::optional<double> server_cost(const measurement& window) {
    if (!window.server_cpu || window.messages == 0 || window.firehose_bytes != 0) return {};
    return static_cast<double>(*window.server_cpu) / 1e3 / static_cast<double>(window.messages);
}

double percent_busy(std::int64_t cpu_nanoseconds, double seconds) {
    return static_cast<double>(cpu_nanoseconds) / 1e7 / seconds;
}

double firehose_rate(const measurement& window) {
    return static_cast<double>(window.firehose_bytes) / window.seconds / (1 << 20);
}

void print_table(const load_options& options, const outcome& found) {
    const measurement& window = found.window;
    std::printf(
        "load             %zu connections x %zu B, depth %zu, "
        "%.3f s after %.3f s warm-up\n",
        options.connections, options.size, options.depth, window.seconds, options.warmup);
    std::printf("messages/s       %.0f (%" PRIu64 " in the window, every byte verified)\n",
                per_second(window), window.messages);
    std::printf(
        "latency us       p50 %.1f   p99 %.1f   p99.9 %.1f   max %.1f\n",
        microseconds(window.latency.percentile(50)), microseconds(window.latency.percentile(99)),
        microseconds(window.latency.percentile(99.9)), microseconds(window.latency.largest()));
    if (const auto cost = server_cost(window)) {
        std::printf("server CPU       %.3f us/message\n", *cost);
    }
    if (window.server_cpu) {
        std::printf("server busy      %.1f %% of a processor\n",
                    percent_busy(*window.server_cpu, window.seconds));
    }
    std::printf("generator busy   %.1f %% of a processor\n",
                percent_busy(window.own_cpu, window.seconds));
    if (options.firehoses != 0) {
        std::printf("firehose MiB/s   %.0f over %zu connections (not in the lines above)\n",
                    firehose_rate(window), options.firehoses);
    }
    if (found.ended_by_eof + found.ended_by_error != 0) {
        std::printf("connections lost %" PRIu64 " by end of stream, %" PRIu64 " by an error\n",
                    found.ended_by_eof, found.ended_by_error);
    }
}

void print_or_null(const char* name, std::optional<double> value) {
    if (value)
        std::printf("\"%s\": %.4f, ", name, *value);
    else
        std::printf("\"%s\": null, ", name);
}

void print_json(const load_options& options, const outcome& found) {
    const measurement& window = found.window;
    std::printf("{\"connections\": %zu, \"size\": %zu, \"depth\": %zu, \"rate\": %.3f, ",
                options.connections, options.size, options.depth, options.rate);
    std::printf("\"seconds\": %.6f, \"messages\": %" PRIu64 ", \"messages_total\": %" PRIu64 ", ",
                window.seconds, window.messages, found.messages_total);
    std::printf("\"messages_per_second\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, ",
                per_second(window), microseconds(window.latency.percentile(50)),
                microseconds(window.latency.percentile(99)));
    std::printf("\"p999_us\": %.3f, \"max_us\": %.3f, ",
                microseconds(window.latency.percentile(99.9)),
                microseconds(window.latency.largest()));
    print_or_null("server_cpu_us_per_message", server_cost(window));
    std::optional<double> busy;
    if (window.server_cpu) busy = percent_busy(*window.server_cpu, window.seconds);
    print_or_null("server_busy_percent", busy);
    std::printf("\"generator_busy_percent\": %.2f, ", percent_busy(window.own_cpu, window.seconds));
    std::printf("\"firehose_connections\": %zu, \"firehose_mib_per_second\": %.2f, ",
                options.firehoses, firehose_rate(window));
    std::printf("\"ended_by_eof\": %" PRIu64 ", \"ended_by_error\": %" PRIu64 "}\n",
                found.ended_by_eof, found.ended_by_error);
}

}  // namespace

void print_outcome(const load_options& options, const outcome& found) {
    if (options.json)
        print_json(options, found);
    else
        print_table(options, found);
    std::fflush(stdout);
}

}  // namespace load
