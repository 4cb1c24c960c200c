// Unread bytes in a lease and a spill: searching, taking, and what each request waits for.
#include <coro/net/detail/read_buffer.hpp>

#include <algorithm>
#include <array>
#include <cstring>
#include <new>
#include <utility>

#include <coro/base/detail/assert.hpp>
#include <coro/core/detail/loop.hpp>

#include "net/io_failure.hpp"

namespace coro { inline namespace v0 { namespace detail {
namespace {

/// The most that a read past the leases asks for while fewer bytes than that have come. A peer that
/// announces much and sends little makes us hold little.
constexpr std::size_t first_direct_bytes = 16384;

/// Copying nothing from or to nowhere is undefined for memcpy.
void copy_bytes(std::byte* to, const std::byte* from, std::size_t count) noexcept {
    if (count != 0) std::memcpy(to, from, count);
}

}  // namespace

read_buffer::read_buffer(socket_ref source, std::size_t limit) noexcept
    : source_(source), limit_(limit) {
    CORO_ASSERT(limit != 0, "a buffered_stream with a limit of 0 bytes can read nothing");
}

read_buffer::read_buffer(read_buffer&& other) noexcept
    : source_(std::exchange(other.source_, {})),
      lease_(std::move(other.lease_)),
      lease_begin_(std::exchange(other.lease_begin_, 0)),
      spill_(std::exchange(other.spill_, nullptr)),
      spill_capacity_(std::exchange(other.spill_capacity_, 0)),
      spill_begin_(std::exchange(other.spill_begin_, 0)),
      spill_end_(std::exchange(other.spill_end_, 0)),
      limit_(other.limit_),
      ended_(std::exchange(other.ended_, false)) {
    CORO_ASSERT(!other.waited_, "a buffered_stream was moved while a task waits in its read");
}

read_buffer& read_buffer::operator=(read_buffer&& other) noexcept {
    CORO_ASSERT(!waited_, "a buffered_stream was replaced while a task waits in its read");
    if (this == &other) return *this;
    this->~read_buffer();
    return *::new (this) read_buffer(std::move(other));
}

void read_buffer::fail(errc code, const char* verb, std::size_t unread) const {
    std::array<char, name_capacity> peer;
    throw io_error(code, verb, peer_text(source_, peer), unread);
}

void read_buffer::begin(const char* verb) {
    if (waited_) fail(errc::busy, verb);
    drop_taken();
}

void read_buffer::drop_taken() noexcept {
    if (spilled() == 0) drop_spill();
    if (leased() != 0) return;
    lease_ = {};
    lease_begin_ = 0;
}

void read_buffer::drop_spill() noexcept {
    if (spill_ != nullptr) free_block(spill_, spill_capacity_);
    spill_ = nullptr;
    spill_capacity_ = spill_begin_ = spill_end_ = 0;
}

std::byte read_buffer::at(std::size_t index) const noexcept {
    const std::size_t before = spilled();
    return index < before ? spill_[spill_begin_ + index]
                          : lease_.bytes()[lease_begin_ + index - before];
}

std::size_t read_buffer::find_end(std::string_view what, std::size_t& from) const noexcept {
    const std::size_t before = spilled();
    while (size() >= what.size() && from <= size() - what.size()) {
        // The first character, in the part in which `from` is; the rest may go on in the other.
        const const_bytes part =
            from < before ? spill_bytes().subspan(from) : lease_bytes().subspan(from - before);
        const void* found = std::memchr(part.data(), what.front(), part.size());
        if (found == nullptr) {
            from += part.size();
            continue;
        }
        from += static_cast<std::size_t>(static_cast<const std::byte*>(found) - part.data());
        if (from > size() - what.size()) break;
        std::size_t same = 1;
        while (same < what.size() && at(from + same) == static_cast<std::byte>(what[same])) ++same;
        if (same == what.size()) return from + same;
        ++from;
    }
    return npos;
}

const_bytes read_buffer::peek(std::size_t count) {
    CORO_ASSERT(count <= size(), "more bytes were taken than are buffered");
    if (spilled() == 0) return lease_bytes().first(count);
    if (count > spilled()) spill(count - spilled());
    return spill_bytes().first(count);
}

const_bytes read_buffer::take(std::size_t count) {
    const const_bytes taken = peek(count);
    advance(count);
    return taken;
}

void read_buffer::take_into(mutable_bytes into) noexcept {
    CORO_ASSERT(into.size() <= size(), "more bytes were taken than are buffered");
    const std::size_t first = std::min(into.size(), spilled());
    copy_bytes(into.data(), spill_ + spill_begin_, first);
    copy_bytes(into.data() + first, lease_bytes().data(), into.size() - first);
    advance(into.size());
    drop_taken();
}

void read_buffer::advance(std::size_t count) noexcept {
    const std::size_t first = std::min(count, spilled());
    spill_begin_ += first;
    lease_begin_ += count - first;
}

/// Makes room for `more` bytes behind the spill; the capacity at least doubles, so that appending
/// costs a constant per byte.
void read_buffer::reserve(std::size_t more) {
    const std::size_t unread = spilled();
    if (spill_end_ + more <= spill_capacity_) return;
    if (unread + more <= spill_capacity_) {
        std::memmove(spill_, spill_ + spill_begin_, unread);
        spill_begin_ = 0;
        spill_end_ = unread;
        return;
    }
    const std::size_t doubled = std::min(2 * spill_capacity_, std::max(limit_, unread + more));
    const std::size_t capacity = std::max(unread + more, doubled);
    auto* larger = static_cast<std::byte*>(allocate_block(capacity));
    copy_bytes(larger, spill_ + spill_begin_, unread);
    drop_spill();
    spill_ = larger;
    spill_capacity_ = capacity;
    spill_end_ = unread;
}

/// Moves the first `count` bytes of the lease to the spill.
void read_buffer::spill(std::size_t count) {
    if (count == 0) return;
    reserve(count);
    std::memcpy(spill_ + spill_end_, lease_bytes().data(), count);
    spill_end_ += count;
    lease_begin_ += count;
}

void read_buffer::gather() {
    spill(leased());
    drop_taken();
}

std::size_t read_buffer::prepare(std::size_t bound) {
    CORO_ASSERT(size() < bound, "a buffered_stream wanted more than its limit");
    gather();
    return bound - size();
}

mutable_bytes read_buffer::spill_room(std::size_t count) {
    gather();
    // What the last growth left is used up first. Growing copies all that is unread; a peer that
    // sends single bytes would have it copied at each of them.
    const std::size_t left = spill_capacity_ - spill_end_;
    if (left < std::min(count, first_direct_bytes)) reserve(count);
    return {spill_ + spill_end_, std::min(count, spill_capacity_ - spill_end_)};
}

void read_buffer::arrived(net::read_lease&& lease) noexcept {
    if (lease.empty()) ended_ = true;
    lease_ = std::move(lease);
    lease_begin_ = 0;
}

void read_buffer::arrived(std::size_t count) noexcept {
    if (count == 0) ended_ = true;
    spill_end_ += count;
}

// --- requests

void counted_request::check_limit(const read_buffer& buffer, std::size_t needed, const char* verb) {
    if (needed > buffer.limit()) buffer.fail(errc::limit_exceeded, verb);
}

bool counted_request::look(const read_buffer& buffer, std::size_t needed, const char* verb) {
    check_limit(buffer, needed, verb);
    if (buffer.size() >= needed) return true;
    if (buffer.ended()) buffer.fail(errc::end_of_stream, verb, buffer.size());
    return false;
}

mutable_bytes counted_request::direct(read_buffer& buffer, std::size_t needed) {
    // The first bytes come in a lease, because the wait for them may be long.
    const std::size_t unread = buffer.size();
    if (unread == 0 || needed - unread < direct_bytes) return {};
    return buffer.spill_room(std::min(needed - unread, std::max(unread, first_direct_bytes)));
}

delimited_request::delimited_request(std::string_view delimiter) noexcept
    : delimiter_(delimiter) {
    CORO_ASSERT(!delimiter.empty(), "read_until needs a delimiter of at least one byte");
}

bool delimited_request::find(const read_buffer& buffer) noexcept {
    end_ = buffer.find_end(delimiter_, from_);
    return end_ != read_buffer::npos;
}

bool until_request::look(const read_buffer& buffer) {
    if (find(buffer)) return true;
    if (buffer.ended()) buffer.fail(errc::end_of_stream, verb, buffer.size());
    if (buffer.size() >= buffer.limit()) buffer.fail(errc::limit_exceeded, verb);
    return false;
}

std::string_view until_request::take(read_buffer& buffer) const {
    return as_text(buffer.take(end()));
}

bool line_request::look(const read_buffer& buffer) {
    if (find(buffer) || buffer.ended()) return true;
    if (buffer.size() >= buffer.limit()) buffer.fail(errc::limit_exceeded, verb);
    return false;
}

std::optional<std::string_view> line_request::take(read_buffer& buffer) const {
    if (buffer.size() == 0) return std::nullopt;
    std::string_view line = as_text(buffer.take(std::min(end(), buffer.size())));
    if (!line.ends_with('\n')) return line;  // the last line, which nothing ends
    line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

}}}  // namespace coro::v0::detail
