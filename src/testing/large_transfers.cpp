// Transfers whose size does not fit into 32 bits. The memory is mapped and hardly touched.
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <system_error>

#include <coro/core/when_all.hpp>

#include "testing/trial.hpp"

namespace coro { inline namespace v0 { namespace testing {
namespace {

constexpr std::size_t four_gib = std::size_t{1} << 32;

/// Zeros that take no memory: they may only be read, so the kernel need not promise any, proc(5) on
/// overcommit_memory.
class sparse_bytes {
public:
    explicit sparse_bytes(std::size_t size)
        : size_(size),
          begin_(::mmap(nullptr, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
                        0)) {
        if (begin_ == MAP_FAILED)
            throw std::system_error(errno, std::generic_category(), "map 4 GiB for a test");
    }
    sparse_bytes(const sparse_bytes&) = delete;
    sparse_bytes& operator=(const sparse_bytes&) = delete;
    ~sparse_bytes() { static_cast<void>(::munmap(begin_, size_)); }

    [[nodiscard]] const_bytes all() const noexcept { return bytes(); }
    /// All of them, for reads that fill no more than the first `count`.
    [[nodiscard]] mutable_bytes writable(std::size_t count) const {
        if (::mprotect(begin_, std::min(count, size_), PROT_READ | PROT_WRITE) != 0)
            throw std::system_error(errno, std::generic_category(), "get memory for a test");
        return bytes();
    }

private:
    [[nodiscard]] mutable_bytes bytes() const noexcept {
        return {static_cast<std::byte*>(begin_), size_};
    }

    std::size_t size_;
    void* begin_;
};

/// A size whose lower 32 bits are those of a much smaller one: cut to 32 bits it would be `low`.
task<> single_calls(trial& t, const sparse_bytes& memory, std::size_t low) {
    const const_bytes large = memory.all().first(four_gib + low);
    const std::size_t sent = co_await t.near.write_some(large);
    t.expect(sent > low && sent <= large.size(),
             "a write of more than 4 GiB did not move as much as a small one may");
    const mutable_bytes room = memory.writable(sent).first(large.size());
    std::size_t got = 0;
    while (got < sent) {
        const std::size_t some = co_await t.far.read_some(room);
        t.expect(some != 0 && some <= sent - got,
                 "a read into more than 4 GiB returned what was not sent");
        if (some == 0) break;
        got += some;
    }
}

task<> slices(trial& t, const sparse_bytes& memory) {
    const const_bytes half = memory.all().first(four_gib / 2);
    const std::array<const_bytes, 2> out{half, half};
    const std::size_t sent = co_await t.near.write_some(out);
    const mutable_bytes room = memory.writable(sent).first(four_gib / 2);
    const std::array<mutable_bytes, 2> in{room, room};
    std::size_t got = 0;
    while (got < sent) {
        const std::size_t some = co_await t.far.read_some(in);
        if (some == 0) break;
        got += some;
    }
    t.expect(sent != 0 && got == sent,
             "slices of 4 GiB together did not move, or not as many bytes as were sent");
}

/// An exact transfer counts beyond 4 GiB; it is cut off here after a few reads.
task<> exact_and_cut(trial& t, const sparse_bytes& memory) {
    std::size_t moved = 0;
    const auto writer = [](trial& of, const_bytes large, std::size_t& moved_at_cut) -> task<> {
        const auto make = [&] { return net::write_all(of.near, large); };
        const failure met = co_await failure_of(make);
        moved_at_cut = met.moved;
        of.expect(is_gone(met.code), "write_all of more than 4 GiB ended as if all had moved");
    };
    const auto reader = [](trial& of) -> task<> {
        std::vector<std::byte> buffer(64 * 1024);
        std::size_t got = 0;
        while (got < 1'000'000) {
            const std::size_t some = co_await of.far.read_some(buffer);
            of.expect(some != 0, "the stream ended in the middle of a write_all");
            if (some == 0) break;
            got += some;
        }
        of.far.abort();
    };
    co_await when_all(writer(t, memory.all(), moved), reader(t));
    t.expect(moved >= 1'000'000 && moved < four_gib,
             "write_all that was cut short does not say how many bytes had moved");
}

}  // namespace

task<> more_than_4_gib(trial& t) {
    const sparse_bytes memory(four_gib + 1024);
    co_await single_calls(t, memory, 0);
    co_await single_calls(t, memory, 1);
    co_await slices(t, memory);
    co_await exact_and_cut(t, memory);
}

task<> write_all_cut_short(trial& t) {
    const sparse_bytes memory(four_gib);
    const const_bytes much = memory.all();
    const auto write = [&] { return net::write_all(t.near, much); };
    const auto in_time = [](stream& to, const_bytes from) -> task<> {
        co_await with_timeout(20ms, net::write_all(to, from));
    };
    const auto limited = [&] { return in_time(t.near, much); };
    const failure cut = co_await failure_of(limited);
    t.expect(cut.code == errc::deadline_exceeded, "write_all did not wait for a reader");
    t.expect(cut.peer == t.near.describe(),
             "the error of a deadline that ended write_all does not name describe()");
    t.expect(t.near.is_broken(), "a write_all that was cut short does not mark the stream");
    const failure after = co_await failure_of(write);
    t.expect(after.code == errc::broken && after.verb == "write_all" &&
                 after.peer == t.near.describe(),
             "write_all after one that was cut short: not broken, with verb and describe()");
}

}}}  // namespace coro::v0::testing
