// The bytes that a connection sends, and the proof that they came back.
//
// A connection's stream is an endless row of 8-byte words, each a constant step above the one
// before, from a start that depends on the connection. A byte therefore depends on connection,
// message number and offset; foreign, lost, repeated, reordered or altered bytes all differ from
// what the stream must hold at that place. Writing and checking are one addition per word, and any
// stretch of the stream can be made again from its offset, so nothing sent has to be kept.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace load {

class pattern {
public:
    static constexpr std::size_t no_difference = ~std::size_t{0};

    explicit pattern(std::uint64_t connection) : start_(scattered(connection)) {}

    std::byte at(std::uint64_t offset) const {
        std::byte bytes[word_bytes];
        const std::uint64_t word = word_at(offset / word_bytes);
        std::memcpy(bytes, &word, word_bytes);
        return bytes[offset % word_bytes];
    }

    /// Writes the stream's bytes from `offset` on.
    void fill(std::uint64_t offset, std::span<std::byte> into) const {
        std::size_t done = 0;
        for (; done < into.size() && (offset + done) % word_bytes != 0; ++done) {
            into[done] = at(offset + done);
        }
        words expected = words_at((offset + done) / word_bytes);
        for (; into.size() - done >= block_bytes; done += block_bytes) {
            for (std::size_t i = 0; i < block_bytes; i += sizeof(words)) {
                std::memcpy(into.data() + done + i, &expected, sizeof(words));
                expected += advance;
            }
        }
        for (; done < into.size(); ++done)
            into[done] = at(offset + done);
    }

    /// Index of the first byte that is not the stream's, or no_difference.
    std::size_t first_difference(std::uint64_t offset, std::span<const std::byte> bytes) const {
        std::size_t done = 0;
        for (; done < bytes.size() && (offset + done) % word_bytes != 0; ++done) {
            if (bytes[done] != at(offset + done)) return done;
        }
        words expected = words_at((offset + done) / word_bytes);
        for (; bytes.size() - done >= block_bytes; done += block_bytes) {
            words difference{};
            for (std::size_t i = 0; i < block_bytes; i += sizeof(words)) {
                words found;
                std::memcpy(&found, bytes.data() + done + i, sizeof(words));
                difference |= found ^ expected;
                expected += advance;
            }
            if ((difference[0] | difference[1]) != 0) break;  // the loop below finds the byte
        }
        for (; done < bytes.size(); ++done) {
            if (bytes[done] != at(offset + done)) return done;
        }
        return no_difference;
    }

private:
    static constexpr std::size_t word_bytes = 8;
    static constexpr std::size_t block_bytes = 64;
    static constexpr std::uint64_t step = 0x9e37'79b9'7f4a'7c15;  // odd: no word repeats

    /// Two words side by side, in one SSE register: g++ 12 at -O2 does not vectorize the plain
    /// loops, and at 16 KiB a message they cost more than the system calls.
    using words = std::uint64_t __attribute__((vector_size(16)));
    static constexpr words advance{2 * step, 2 * step};

    words words_at(std::uint64_t index) const { return words{word_at(index), word_at(index + 1)}; }

    /// Spreads neighbouring connection numbers over the whole range (an invertible mix).
    static std::uint64_t scattered(std::uint64_t connection) {
        std::uint64_t mixed = (connection + 1) * 0xd6e8'feb8'6659'fd93;
        mixed ^= mixed >> 32;
        mixed *= 0xd6e8'feb8'6659'fd93;
        return mixed ^ (mixed >> 32);
    }

    std::uint64_t word_at(std::uint64_t index) const { return start_ + index * step; }

    std::uint64_t start_;
};

}  // namespace load
