// Sending and checking of one connection.
#include "load/connection.hpp"

#include "common/failure.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>

namespace load {

int connection::send_unsent(std::span<std::byte> scratch) {
    while (has_unsent()) {
        const std::uint64_t left = started_ * message_bytes_ - sent_bytes_;
        const auto part = scratch.first(std::min<std::uint64_t>(left, scratch.size()));
        pattern_.fill(sent_bytes_, part);
        const ssize_t sent = send(fd, part.data(), part.size(), MSG_NOSIGNAL);
        if (sent < 0) {
            if (errno == EINTR) continue;
            return errno;
        }
        sent_bytes_ += static_cast<std::uint64_t>(sent);
        if (static_cast<std::size_t>(sent) < part.size()) return EAGAIN;
    }
    return 0;
}

arrival connection::receive(std::span<std::byte> scratch, int& error) {
    const ssize_t count = recv(fd, scratch.data(), scratch.size(), 0);
    if (count == 0) return arrival::end_of_stream;
    if (count < 0) {
        error = errno;
        return error == EAGAIN || error == EINTR ? arrival::nothing : arrival::error;
    }
    check(scratch.first(static_cast<std::size_t>(count)));
    received_bytes_ += static_cast<std::uint64_t>(count);
    return arrival::bytes;
}

void connection::check(std::span<const std::byte> bytes) const {
    char sentence[256];
    if (const std::size_t wrong = pattern_.first_difference(received_bytes_, bytes);
        wrong != pattern::no_difference) {
        const std::uint64_t offset = received_bytes_ + wrong;
        std::snprintf(sentence, sizeof sentence,
                      "verify connection %u: message %llu, byte %llu is 0x%02x instead of 0x%02x; "
                      "the server altered, lost, repeated or mixed up bytes",
                      number_, static_cast<unsigned long long>(offset / message_bytes_),
                      static_cast<unsigned long long>(offset % message_bytes_),
                      static_cast<unsigned>(bytes[wrong]),
                      static_cast<unsigned>(pattern_.at(offset)));
        perf::fail(sentence);
    }
    if (received_bytes_ + bytes.size() > sent_bytes_) {
        std::snprintf(sentence, sizeof sentence,
                      "verify connection %u: %zu bytes came back before they were sent; the server "
                      "made bytes up",
                      number_,
                      static_cast<std::size_t>(received_bytes_ + bytes.size() - sent_bytes_));
        perf::fail(sentence);
    }
}

}  // namespace load
