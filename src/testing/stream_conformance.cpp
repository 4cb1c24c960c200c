// The promises of net::stream as cases; ordinary code over the public headers.
#include <coro/testing/stream_conformance.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <coro/core/as_result.hpp>
#include <coro/core/when_all.hpp>
#include <coro/net/buffered_stream.hpp>
#include <coro/net/buffered_writer.hpp>
#include <coro/net/framed_stream.hpp>
#include <coro/net/exact.hpp>
#include <coro/runtime/sleep.hpp>
#include <coro/runtime/stats.hpp>
#include <coro/runtime/timeout.hpp>

#include "testing/trial.hpp"

namespace coro { inline namespace v0 { namespace testing {
namespace {

// --- the cases

task<> both_directions(trial& t) {
    constexpr std::size_t much = 300'000;
    const auto receive = [](stream& from, std::size_t& got) -> task<> {
        got = co_await read_pattern(from, 0, much);
    };
    std::size_t forth = 0;
    std::size_t back = 0;
    co_await when_all(write_pattern(t.near, 0, much), write_pattern(t.far, 0, much),
                      receive(t.near, back), receive(t.far, forth));
    t.expect(forth == much && back == much,
             "bytes that were written in both directions at once did not arrive in order");
}

task<> exact_transfers(trial& t) {
    std::vector<std::byte> got(100'000);
    co_await when_all(write_pattern(t.near, 0, got.size()), net::read_exact(t.far, got));
    t.expect(is_pattern(got, 0), "read_exact did not get what write_all wrote");
}

task<> vectored(trial& t) {
    const std::vector<std::byte> all = patterned(0, 1000);
    const const_bytes bytes(all);
    const std::array<const_bytes, 4> out{bytes.first(10), const_bytes(), bytes.subspan(10, 90),
                                         bytes.subspan(100)};
    const std::size_t sent = co_await t.near.write_some(out);
    t.expect(sent >= 1 && sent <= all.size(), "a vectored write said that it moved too much");
    std::array<std::byte, 7> first{};
    std::vector<std::byte> second(993);
    std::size_t got = 0;
    while (got < sent) {
        const std::array<mutable_bytes, 3> in{first, mutable_bytes(), second};
        const std::size_t some = co_await t.far.read_some(in);
        const std::size_t in_first = std::min(some, first.size());
        t.expect(is_pattern(std::span(first).first(in_first), got) &&
                     is_pattern(std::span(second).first(some - in_first), got + in_first),
                 "a vectored read did not fill its buffers in order");
        if (some == 0) break;
        got += some;
    }
    t.expect(got == sent, "a vectored read found the end of the stream before its bytes");
}

task<> leases(trial& t) {
    const auto reader = [](trial& of) -> task<> {
        std::size_t got = 0;
        for (;;) {
            const net::read_lease lease = co_await of.far.read_leased(700);
            of.expect(lease.size() <= 700, "read_leased lent more than it was asked for");
            of.expect(is_pattern(lease.bytes(), got), "leased bytes are not those that were sent");
            if (lease.empty()) break;
            got += lease.size();
        }
        of.expect(got == 3000, "leased reads have lost bytes");
        const net::read_lease end = co_await of.far.read_leased();
        of.expect(end.empty(), "a lease at the end of the stream is not empty");
    };
    co_await when_all(write_and_end(t.near, 3000), reader(t));
}

task<> no_bytes(trial& t) {
    const std::size_t read = co_await t.near.read_some(mutable_bytes());
    const std::size_t written = co_await t.near.write_some(const_bytes());
    const net::read_lease lease = co_await t.near.read_leased(0);
    const std::array<mutable_bytes, 2> into;
    const std::array<const_bytes, 2> from;
    const std::size_t read_vectored = co_await t.near.read_some(into);
    const std::size_t written_vectored = co_await t.near.write_some(from);
    co_await net::write_all(t.near, const_bytes());
    co_await net::read_exact(t.near, mutable_bytes());
    t.expect(read + written + lease.size() + read_vectored + written_vectored == 0,
             "a transfer of no byte moved one");
    co_await write_pattern(t.far, 0, 10);
    const std::size_t got = co_await read_pattern(t.near, 0, 10);
    t.expect(got == 10, "a transfer of no byte took bytes that came later");
}

task<> half_close(trial& t) {
    const auto forth = [](trial& of) -> task<> {
        const std::size_t before = co_await read_pattern(of.far, 0, 2000);
        std::array<std::byte, 8> buffer{};
        const std::size_t end = co_await of.far.read_some(buffer);
        const std::size_t again = co_await of.far.read_some(buffer);
        of.expect(before == 2000, "half-closing has lost bytes that were written before");
        of.expect(end == 0 && again == 0, "after a half-close the peer does not read the end");
    };
    const auto back = [](trial& of) -> task<> {
        const std::size_t got = co_await read_pattern(of.near, 0, 3000);
        of.expect(got == 3000, "after a half-close the other direction does not work");
    };
    co_await when_all(write_and_end(t.near, 2000), forth(t));
    co_await when_all(write_pattern(t.far, 0, 3000), back(t));
    const failure late = co_await waiting_write(t.near);
    t.expect(static_cast<bool>(late.code), "a write after shutdown_send() succeeded");
}

task<> end_by_close(trial& t) {
    const auto writer = [](trial& of) -> task<> {
        co_await write_pattern(of.near, 0, 2000);
        of.near.close();
        of.near.close();
    };
    const auto reader = [](trial& of) -> task<> {
        const std::size_t got = co_await read_pattern(of.far, 0, 5000);
        of.expect(got == 2000, "what was written before close() did not arrive, and then the end");
    };
    co_await when_all(writer(t), reader(t));
    failure met;
    std::array<std::byte, 64> block{};
    const auto write = [&] { return t.far.write_some(block); };
    for (int round = 0; round < 100 && !met.code; ++round) {
        met = co_await failure_of(write);
        co_await a_moment();
    }
    t.expect(is_gone(met.code), "writing to a peer that has closed is not broken_pipe");
    t.expect(met.verb == "send", "the error of a write does not name its verb, send");
}

task<> graceful_close(trial& t) {
    const auto writer = [](trial& of) -> task<> {
        co_await write_pattern(of.near, 0, 50'000);
        co_await of.near.close_gracefully(10s);
    };
    const auto peer = [](trial& of) -> task<> {
        const std::size_t got = co_await read_pattern(of.far, 0, 50'001);
        of.expect(got == 50'000, "close_gracefully() lost bytes");
        of.far.close();
    };
    co_await when_all(writer(t), peer(t));
    t.expect(!t.near, "close_gracefully() has left the stream open");
}

task<> reset(trial& t) {
    const auto wait = [](trial& of) -> task<> {
        const failure met = co_await waiting_read(of.far);
        of.expect(met.code == std::errc::connection_reset || (!of.can_reset && !met.code),
                  "a read that waits does not end with connection_reset when the peer aborts");
    };
    const auto abort = [](trial& of) -> task<> {
        co_await a_moment();
        of.near.abort();
        of.near.abort();
    };
    co_await when_all(wait(t), abort(t));
    t.expect(!t.near, "abort() has left the stream open");
}

/// As a stream of a handler that fails.
task<> reset_by_a_failure(trial& t) {
    const auto fails = [](stream mine) -> task<> {
        mine.reset_on_failure();
        co_await a_moment();
        throw io_error(errc::broken, "fail");
    };
    const auto make = [&] { return fails(std::move(t.near)); };
    const failure own = co_await failure_of(make);
    t.expect(own.code == errc::broken, "a stream that an exception destroys changes the exception");
    const failure met = co_await waiting_read(t.far);
    t.expect(met.code == std::errc::connection_reset || (!t.can_reset && !met.code),
             "after reset_on_failure() an exception does not end the stream by a reset");
}

task<> busy(trial& t) {
    const auto first = [](trial& of) -> task<> {
        const std::size_t got = co_await read_pattern(of.near, 0, 1);
        of.expect(got == 1, "a second reader has disturbed the first");
    };
    const auto second = [](trial& of) -> task<> {
        co_await a_moment();
        const failure met = co_await waiting_read(of.near);
        of.expect(met.code == errc::busy, "a second reader does not meet errc::busy");
        of.expect(met.verb == "recv" && met.peer == of.near.describe(),
                  "the error of a read does not name its verb, recv, and describe()");
        co_await write_pattern(of.far, 0, 1);
    };
    co_await when_all(first(t), second(t));
    static_cast<void>(co_await fill(t.near));
    std::error_code first_error;
    const auto writer = [](trial& of, std::error_code& error) -> task<> {
        const failure met = co_await waiting_write(of.near);
        if (!error) error = met.code;
        of.near.close();
    };
    co_await when_all(writer(t, first_error), writer(t, first_error));
    t.expect(first_error == errc::busy, "a second writer does not meet errc::busy");
}

/// The name may be gone with the stream.
bool names_no_other(const failure& met, const std::string& name) {
    return met.peer.empty() || met.peer == name;
}

task<> close_under_waiters(trial& t) {
    static_cast<void>(co_await fill(t.near));
    const auto reader = [](trial& of) -> task<> {
        const std::string name = of.near.describe();
        const failure met = co_await waiting_read(of.near);
        of.expect(met.code == errc::closed, "closing does not end a read that waits: errc::closed");
        of.expect(met.verb == "recv" && names_no_other(met, name),
                  "the error of a read under close() does not name its verb, or another peer");
    };
    const auto writer = [](trial& of) -> task<> {
        const std::string name = of.near.describe();
        const failure met = co_await waiting_write(of.near);
        of.expect(met.code == errc::closed,
                  "closing does not end a write that waits: errc::closed");
        of.expect(met.verb == "send" && names_no_other(met, name),
                  "the error of a write under close() does not name its verb, or another peer");
    };
    const auto closer = [](trial& of) -> task<> {
        co_await a_moment();
        of.near.close();
    };
    co_await when_all(reader(t), writer(t), closer(t));
    const failure late = co_await waiting_read(t.near);
    t.expect(late.code == errc::closed, "a read of a closed stream is not errc::closed");
    const failure late_write = co_await waiting_write(t.near);
    t.expect(late_write.code == errc::closed, "a write to a closed stream is not errc::closed");
    t.expect(!t.near && t.near.describe().empty(), "a closed stream says that it is open");
}

task<> destroy_under_a_waiter(trial& t) {
    const auto reader = [](trial& of) -> task<> {
        const failure met = co_await waiting_read(of.near);
        of.expect(met.code == errc::closed, "destroying a stream does not end a read that waits");
    };
    const auto destroyer = [](trial& of) -> task<> {
        co_await a_moment();
        const stream gone = std::move(of.near);
    };
    co_await when_all(reader(t), destroyer(t));
}

/// What came within `limit`; nothing when that was over before. By each of the forms in turn.
task<std::optional<std::vector<std::byte>>> limited_read(stream& from, std::size_t form,
                                                         std::chrono::microseconds limit) {
    std::array<std::byte, 64> buffer{};
    const std::span<std::byte> whole(buffer);
    const std::array<mutable_bytes, 2> two{whole.first(5), whole.subspan(5)};
    std::vector<std::byte> bytes;
    try {
        if (form == 2) {
            const net::read_lease lease = co_await with_timeout(limit, from.read_leased());
            bytes.assign(lease.bytes().begin(), lease.bytes().end());
            co_return bytes;
        }
        std::size_t count = 0;
        if (form == 0) count = co_await with_timeout(limit, from.read_some(whole));
        else count = co_await with_timeout(limit, from.read_some(two));
        bytes.assign(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(count));
        co_return bytes;
    } catch (const io_error& error) {
        if (error != errc::deadline_exceeded) throw;
    }
    co_return std::nullopt;
}

/// Reads of each form are cancelled at ever other moments while bytes come; none may be lost.
task<> cancelled_reads(trial& t) {
    constexpr std::size_t rounds = 120;
    constexpr std::size_t each = 37;
    const auto sender = [](trial& of) -> task<> {
        for (std::size_t i = 0; i < rounds; ++i) {
            co_await write_pattern(of.far, i * each, each);
            co_await sleep_for(std::chrono::microseconds(20 + i % 7 * 30));
        }
        of.far.shutdown_send();
    };
    const auto reader = [](trial& of) -> task<> {
        std::size_t got = 0;
        for (std::size_t i = 0; i < 20'000; ++i) {
            const std::chrono::microseconds limit(i % 11 * 15);
            const auto came = co_await limited_read(of.near, i % 3, limit);
            if (!came.has_value()) continue;
            if (came->empty() || !is_pattern(*came, got)) break;
            got += came->size();
        }
        of.expect(got == rounds * each, "a cancelled read has taken bytes with it");
    };
    co_await when_all(sender(t), reader(t));
}

/// How much a write of `piece`, in one or in two buffers, has moved within `limit`.
task<std::size_t> limited_write(stream& to, const_bytes piece, bool vectored,
                                std::chrono::microseconds limit) {
    const std::array<const_bytes, 2> two{piece.first(3), piece.subspan(3)};
    std::size_t moved = 0;
    try {
        if (vectored) moved = co_await with_timeout(limit, to.write_some(two));
        else moved = co_await with_timeout(limit, to.write_some(piece));
    } catch (const io_error& error) {
        if (error != errc::deadline_exceeded) throw;
    }
    co_return moved;
}

/// The same for writes: what they say that they have moved is what arrives.
task<> cancelled_writes(trial& t) {
    std::size_t sent = 0;
    const auto writer = [](trial& of, std::size_t& moved) -> task<> {
        constexpr std::size_t period = 251 * 256;  // of the pattern
        const std::vector<std::byte> pieces = patterned(0, 2 * period);
        for (std::size_t i = 0; i < 150; ++i) {
            const const_bytes piece = std::span(pieces).subspan(moved % period, 40'000);
            const std::chrono::microseconds limit(i % 5 * 20);
            moved += co_await limited_write(of.near, piece, i % 2 == 0, limit);
        }
        of.near.shutdown_send();
    };
    const auto reader = [](trial& of, std::size_t& got) -> task<> {
        co_await a_moment();
        got = co_await read_pattern(of.far, 0, SIZE_MAX);
    };
    std::size_t got = 0;
    co_await when_all(writer(t, sent), reader(t, got));
    t.expect(got == sent, "writes of which some were cancelled said another count than arrived");
}

task<> broken_by_a_cut(trial& t) {
    std::vector<std::byte> buffer(100);
    co_await write_pattern(t.far, 0, 30);
    co_await a_moment();
    const auto read = [&] { return net::read_exact(t.near, buffer); };
    const auto in_time = [](stream& of, mutable_bytes into) -> task<> {
        co_await with_timeout(20ms, net::read_exact(of, into));
    };
    const auto limited = [&] { return in_time(t.near, buffer); };
    const failure cut = co_await failure_of(limited);
    t.expect(cut.code == errc::deadline_exceeded, "read_exact did not wait for the rest");
    t.expect(t.near.is_broken(), "a read_exact that was cut short does not mark the stream");
    const failure after = co_await failure_of(read);
    t.expect(after.code == errc::broken, "read_exact after one that was cut short: not broken");
    t.expect(after.verb == "read_exact" && after.peer == t.near.describe(),
             "the error of read_exact does not name it and describe()");
    const stream moved = std::move(t.near);
    t.expect(moved.is_broken() && !t.near.is_broken(), "the mark does not move with the stream");
}

task<> input(trial& t) {
    // What was sent is on its way, and comes at a moment that nobody is told.
    const auto comes = [](const stream& to) -> task<bool> {
        for (int looks = 0; looks < 5000 && !to.has_input(); ++looks) co_await sleep_for(1ms);
        co_return to.has_input();
    };
    t.expect(!t.near.has_input() && !t.far.has_input(), "a stream has input before it was used");
    co_await write_pattern(t.far, 0, 30);
    const bool came = co_await comes(t.near);
    t.expect(came, "has_input() does not see bytes that have come");
    std::vector<std::byte> bytes(30);
    co_await net::read_exact(t.near, std::span(bytes).first(10));
    t.expect(t.near.has_input(), "has_input() does not see the bytes that a read has left");
    co_await net::read_exact(t.near, std::span(bytes).subspan(10));
    t.expect(is_pattern(bytes, 0), "has_input() has taken a byte");
    t.expect(!t.near.has_input(), "a stream has input of which all was read");
    t.far.shutdown_send();
    const bool ended = co_await comes(t.near);
    t.expect(ended, "has_input() does not see the end of the stream");
    t.expect(!t.far.has_input(), "a stream has input because it has ended its sending");
    t.near.close();
    t.expect(t.near.has_input(), "a read of a closed stream does not wait, but it has no input");
}

task<> interrupted(trial& t) {
    std::array<std::byte, 8> buffer{};
    co_await write_pattern(t.far, 0, 8);
    co_await with_timeout(10s, net::read_exact(t.near, buffer));
    t.expect(!t.near.was_interrupted(), "was_interrupted() of a stream on which nothing was");
    const auto came = co_await move_on_after(5ms, t.near.read_some(buffer));
    t.expect(!came && t.near.was_interrupted() && !t.near.is_broken(),
             "a read that was cancelled is not told by was_interrupted()");
    t.expect(!t.far.was_interrupted(), "was_interrupted() tells what the peer has cancelled");
}

task<> end_inside_of_an_exact_read(trial& t) {
    co_await write_pattern(t.far, 0, 30);
    t.far.shutdown_send();
    std::vector<std::byte> buffer(100);
    const auto read = [&] { return net::read_exact(t.near, buffer); };
    const failure met = co_await failure_of(read);
    t.expect(met.code == errc::end_of_stream && met.moved == 30,
             "read_exact at the end of the stream is not end_of_stream with the bytes that came");
}

task<> buffered_and_framed(trial& t) {
    const auto speak = [](stream& on) -> task<> {
        net::buffered_writer out(on);
        net::buffered_stream in(on);
        net::framed_stream messages(in, out);
        co_await out.write(as_bytes("hello\r\n"));
        co_await out.write(as_bytes("world\n"));
        const std::vector<std::byte> large = patterned(0, 200'000);
        co_await messages.write(large);
        co_await messages.write(const_bytes());
        co_await messages.flush();
        on.shutdown_send();
    };
    const auto listen = [](trial& of) -> task<> {
        net::buffered_writer out(of.far);
        net::buffered_stream in(of.far);
        net::framed_stream messages(in, out);
        std::string lines;
        for (int i = 0; i < 2; ++i) {
            const auto line = co_await in.read_line();
            lines += line.has_value() ? std::string(*line) + "|" : std::string("end|");
        }
        const auto large = co_await messages.read();
        const bool whole = large.has_value() && large->size() == 200'000 && is_pattern(*large, 0);
        const auto empty = co_await messages.read();
        const bool is_empty = empty.has_value() && empty->empty();
        const auto end = co_await messages.read();
        of.expect(lines == "hello|world|", "lines were read otherwise than they were written");
        of.expect(whole && is_empty && !end.has_value(),
                  "frames were read otherwise than they were written");
    };
    co_await when_all(speak(t.near), listen(t));
}

task<> moved_and_empty(trial& t) {
    const std::string name = t.near.describe();
    t.expect(!name.empty(), "describe() of an open stream is empty");
    stream moved = std::move(t.near);
    t.expect(moved && !t.near && moved.describe() == name, "a stream does not move");
    const std::uint64_t before = moved.activity();
    co_await write_pattern(t.far, 0, 50);
    const std::size_t got = co_await read_pattern(moved, 0, 50);
    t.expect(got == 50, "a stream that was moved has lost bytes");
    t.expect(moved.activity() != before, "activity() does not see bytes that came");
    const failure met = co_await waiting_read(t.near);
    t.expect(met.code == errc::closed, "a read of a stream that was moved from is not closed");
}

struct test_case {
    const char* name;
    task<> (*run)(trial& of);
};

constexpr std::array<test_case, 26> cases{{
    {"both directions at once", &both_directions},
    {"exact transfers", &exact_transfers},
    {"vectored forms", &vectored},
    {"leases", &leases},
    {"transfers of no byte", &no_bytes},
    {"half-close", &half_close},
    {"close", &end_by_close},
    {"graceful close", &graceful_close},
    {"reset", &reset},
    {"reset by a failure", &reset_by_a_failure},
    {"busy", &busy},
    {"closing under tasks that wait", &close_under_waiters},
    {"destroying under a task that waits", &destroy_under_a_waiter},
    {"cancelled reads", &cancelled_reads},
    {"cancelled writes", &cancelled_writes},
    {"an exact read that is cut short", &broken_by_a_cut},
    {"an exact write that is cut short", &write_all_cut_short},
    {"an exact read that meets the end", &end_inside_of_an_exact_read},
    {"input", &input},
    {"an interrupted read", &interrupted},
    {"buffered and framed", &buffered_and_framed},
    {"cancelled buffered reads", &cancelled_buffered_reads},
    {"cancelled framed reads", &cancelled_framed_reads},
    {"cancelled flush", &cancelled_flush},
    {"moved and empty streams", &moved_and_empty},
    {"more than 4 GiB in one call", &more_than_4_gib},
}};

/// Only against hanging.
constexpr auto longest_case = 60s;

task<> attempt(const test_case& which, trial& t) {
    try {
        co_await with_timeout(longest_case, which.run(t));
    } catch (const std::exception& error) {
        t.expect(false, std::string("it ended with: ") + error.what());
    }
    t.near.close();
    t.far.close();
}

task<> run_case(const test_case& which, const stream_factory& make, stream_kind kind,
                bool exchanged, std::vector<std::string>& failures) {
    const loop_stats before = current_loop_stats();
    const std::string name = std::string(which.name) + (exchanged ? ", ends exchanged" : "");
    {
        std::pair<stream, stream> ends = co_await make();
        if (exchanged) std::swap(ends.first, ends.second);
        trial t(std::move(ends.first), std::move(ends.second), name, kind);
        co_await attempt(which, t);
        failures.insert(failures.end(), t.failures.begin(), t.failures.end());
    }
    // What was closed while something was pending goes when that has ended.
    loop_stats after = current_loop_stats();
    for (int turn = 0; turn < 1000 && (after.operations != before.operations ||
                                       after.sockets != before.sockets); ++turn) {
        co_await sleep_for(1ms);
        after = current_loop_stats();
    }
    const auto look = [&](std::uint64_t was, std::uint64_t is, const char* what) {
        if (is > was) failures.push_back(name + ": " + what + " was left behind");
    };
    look(before.operations, after.operations, "an operation");
    look(before.leases, after.leases, "a lease");
    look(before.sockets, after.sockets, "a stream");
}

task<std::vector<std::string>> run_cases(const stream_factory& make, stream_kind kind) {
    std::vector<std::string> failures;
    for (const bool exchanged : {false, true}) {
        for (const test_case& each : cases)
            co_await run_case(each, make, kind, exchanged, failures);
    }
    co_return failures;
}

}  // namespace

std::vector<std::string> check_streams(const stream_factory& make, run_options options,
                                       stream_kind kind) {
    options.signals = signal_policy::leave;
    return run(run_cases(make, kind), options);
}

}}}  // namespace coro::v0::testing
