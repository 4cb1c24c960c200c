// The table and the JSON line of coro_load.
#include "load/report.hpp"

#include "common/failure.hpp"

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

/// CPU microseconds per message. With firehoses or slow connections the server's time is theirs
/// too, so there is none.
std::optional<double> server_cost(const load_options& options, const measurement& window) {
    const std::uint64_t messages = window.messages + window.greedy_messages;
    if (!window.server_cpu || messages == 0 || options.firehoses != 0 || options.slow != 0) {
        return {};
    }
    return static_cast<double>(*window.server_cpu) / 1e3 / static_cast<double>(messages);
}

/// What the greedy connection has of all messages; 0 without one.
double greedy_share(const measurement& window) {
    const std::uint64_t all = window.messages + window.greedy_messages;
    if (all == 0) return 0;
    return static_cast<double>(window.greedy_messages) / static_cast<double>(all);
}

/// Bytes a second that each slow connection has read.
double slow_rate(const load_options& options, const measurement& window) {
    if (options.slow == 0) return 0;
    return static_cast<double>(window.slow_bytes) / window.seconds /
           static_cast<double>(options.slow);
}

double percent_busy(std::int64_t cpu_nanoseconds, double seconds) {
    return static_cast<double>(cpu_nanoseconds) / 1e7 / seconds;
}

double firehose_rate(const measurement& window) {
    return static_cast<double>(window.firehose_bytes) / window.seconds / (1 << 20);
}

/// The lines about what only some loads have.
void print_parts(const load_options& options, const measurement& window) {
    if (options.greedy != 0) {
        std::printf("greedy           %.1f %% of the messages on 1 of %zu connections, depth %zu\n",
                    100 * greedy_share(window), options.connections, options.greedy);
    }
    if (options.slow != 0) {
        std::printf("slow             %zu connections read %.0f B/s each; %zu are held back\n",
                    options.slow, slow_rate(options, window), window.held_back);
    }
    if (options.firehoses != 0) {
        std::printf("firehose MiB/s   %.0f over %zu connections (not in the lines above)\n",
                    firehose_rate(window), options.firehoses);
    }
}

void print_table(const load_options& options, const outcome& found) {
    const measurement& window = found.window;
    std::printf(
        "load             %zu connections, %zu of them active, x %zu B, depth %zu, "
        "%.3f s after %.3f s warm-up\n",
        options.connections, options.active, options.size, options.depth, window.seconds,
        options.warmup);
    std::printf("messages/s       %.0f (%" PRIu64 " in the window, every byte verified)\n",
                per_second(window), window.messages);
    std::printf(
        "latency us       p50 %.1f   p99 %.1f   p99.9 %.1f   max %.1f%s\n",
        microseconds(window.latency.percentile(50)), microseconds(window.latency.percentile(99)),
        microseconds(window.latency.percentile(99.9)), microseconds(window.latency.largest()),
        options.rate > 0 ? "   since each was due" : "");
    std::printf("fairness         %.4f (%" PRIu64 " to %" PRIu64 " messages of a connection)\n",
                window.among.jain, window.among.least, window.among.most);
    if (const auto cost = server_cost(options, window)) {
        std::printf("server CPU       %.3f us/message\n", *cost);
    }
    if (window.server_cpu) {
        std::printf("server busy      %.1f %% of a processor\n",
                    percent_busy(*window.server_cpu, window.seconds));
    }
    std::printf("generator busy   %.1f %% of a processor\n",
                percent_busy(window.own_cpu, window.seconds));
    print_parts(options, window);
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

/// The samples, for whoever merges those of several generators: with --cues, where several run.
void print_buckets(const perf::histogram& latency) {
    std::printf("\"buckets\": [");
    const char* between = "";
    latency.for_each([&between](std::uint64_t value, std::uint64_t samples) {
        std::printf("%s[%.3f, %" PRIu64 "]", between, microseconds(value), samples);
        between = ", ";
    });
    std::printf("], ");
}

/// All that is known of the distribution, by percentile.
void print_latency(const load_options& options, const perf::histogram& latency) {
    std::printf("\"latency_us\": {\"samples\": %" PRIu64 ", ", latency.count());
    for (const double percent : {1.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.9, 99.99}) {
        std::printf("\"p%g\": %.3f, ", percent, microseconds(latency.percentile(percent)));
    }
    if (options.cues) print_buckets(latency);
    std::printf("\"max\": %.3f}, ", microseconds(latency.largest()));
}

void print_json(const load_options& options, const outcome& found) {
    const measurement& window = found.window;
    std::printf("{\"connections\": %zu, \"active\": %zu, \"size\": %zu, \"depth\": %zu, ",
                options.connections, options.active, options.size, options.depth);
    std::printf("\"rate\": %.3f, \"loop\": \"%s\", \"polling\": %s, ", options.rate,
                options.rate > 0 ? "open" : "closed", options.poll ? "true" : "false");
    std::printf("\"seconds\": %.6f, \"messages\": %" PRIu64 ", \"messages_total\": %" PRIu64 ", ",
                window.seconds, window.messages, found.messages_total);
    std::printf("\"messages_per_second\": %.1f, \"p50_us\": %.3f, \"p99_us\": %.3f, ",
                per_second(window), microseconds(window.latency.percentile(50)),
                microseconds(window.latency.percentile(99)));
    std::printf("\"p999_us\": %.3f, \"max_us\": %.3f, ",
                microseconds(window.latency.percentile(99.9)),
                microseconds(window.latency.largest()));
    print_latency(options, window.latency);
    print_or_null("server_cpu_us_per_message", server_cost(options, window));
    std::optional<double> busy;
    if (window.server_cpu) busy = percent_busy(*window.server_cpu, window.seconds);
    print_or_null("server_busy_percent", busy);
    std::printf("\"generator_busy_percent\": %.2f, ", percent_busy(window.own_cpu, window.seconds));
    std::printf("\"fairness\": {\"jain\": %.6f, \"least\": %" PRIu64 ", \"most\": %" PRIu64 "}, ",
                window.among.jain, window.among.least, window.among.most);
    std::printf("\"greedy_depth\": %zu, \"greedy_messages\": %" PRIu64 ", \"greedy_share\": %.6f, ",
                options.greedy, window.greedy_messages, greedy_share(window));
    std::printf(
        "\"slow_connections\": %zu, \"slow_bytes_per_second_each\": %.1f, "
        "\"slow_held_back\": %zu, ",
        options.slow, slow_rate(options, window), window.held_back);
    std::printf("\"firehose_connections\": %zu, \"firehose_mib_per_second\": %.2f, ",
                options.firehoses, firehose_rate(window));
    std::printf("\"ended_by_eof\": %" PRIu64 ", \"ended_by_error\": %" PRIu64 "}\n",
                found.ended_by_eof, found.ended_by_error);
}

double each(std::int64_t before, std::int64_t after, const idle_memory& found) {
    return static_cast<double>(after - before) / static_cast<double>(found.connections);
}

void print_memory_table(const idle_memory& found) {
    if (const auto& after = found.server_after) {
        const auto& before = found.server_before;
        std::printf("server memory    %" PRId64 " KiB before, %" PRId64
                    " KiB held: %.0f B per connection, %.0f B of them anonymous\n",
                    before.resident / 1024, after->resident / 1024,
                    each(before.resident, after->resident, found),
                    each(before.anonymous, after->anonymous, found));
    }
    if (const auto& after = found.kernel_after) {
        std::printf("kernel memory    %" PRId64 " KiB before, %" PRId64
                    " KiB held: %.0f B per connection, both ends, whoever else runs included\n",
                    found.kernel_before.all() / 1024, after->all() / 1024,
                    each(found.kernel_before.all(), after->all(), found));
    }
}

void print_kernel_json(const char* when, const perf::kernel_memory& memory) {
    std::printf(", \"kernel_%s_bytes\": {\"slab\": %" PRId64 ", \"stacks\": %" PRId64
                ", \"page_tables\": %" PRId64 ", \"tcp_queues\": %" PRId64 "}",
                when, memory.slab, memory.stacks, memory.page_tables, memory.tcp_queues);
}

void print_memory_json(const idle_memory& found) {
    std::printf("{\"connections\": %zu, \"alive\": %zu", found.connections, found.alive);
    if (const auto& after = found.server_after) {
        const auto& before = found.server_before;
        std::printf(", \"rss_before_bytes\": %" PRId64 ", \"rss_after_bytes\": %" PRId64
                    ", \"anonymous_before_bytes\": %" PRId64 ", \"anonymous_after_bytes\": %" PRId64
                    ", \"user_bytes_per_connection\": %.1f",
                    before.resident, after->resident, before.anonymous, after->anonymous,
                    each(before.anonymous, after->anonymous, found));
    }
    if (const auto& after = found.kernel_after) {
        print_kernel_json("before", found.kernel_before);
        print_kernel_json("after", *after);
        std::printf(", \"kernel_bytes_per_connection\": %.1f",
                    each(found.kernel_before.all(), after->all(), found));
    }
    std::printf("}\n");
}

}  // namespace

void print_outcome(const load_options& options, const outcome& found) {
    if (options.json)
        print_json(options, found);
    else
        print_table(options, found);
    std::fflush(stdout);
}

void print_memory(const load_options& options, const idle_memory& found) {
    if (options.json)
        print_memory_json(found);
    else
        print_memory_table(found);
    std::fflush(stdout);
}

void refuse_losses(const ends& found) {
    if (const auto lost = found.ended_by_eof + found.ended_by_error; lost != 0) {
        perf::fail(found.first_end + "; in all " + std::to_string(lost) + " connections ended (" +
                   std::to_string(found.ended_by_eof) + " by end of stream, " +
                   std::to_string(found.ended_by_error) + " by reset or another error)");
    }
}

}  // namespace load
