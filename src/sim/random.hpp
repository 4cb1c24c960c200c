// The only source of chance in a simulation: the same seed gives the same bytes on every machine.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace coro { inline namespace v0 { namespace detail {

/// xoshiro256** (Blackman and Vigna), its state filled by splitmix64 so that the seeds 0, 1, 2…
/// give unrelated sequences. Not for secrets.
class sim_random {
public:
    explicit sim_random(std::uint64_t seed) noexcept {
        for (std::uint64_t& word : state_) word = splitmix(seed);
    }

    [[nodiscard]] std::uint64_t next() noexcept {
        const std::uint64_t answer = rotate(state_[1] * 5, 7) * 9;
        const std::uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = rotate(state_[3], 45);
        return answer;
    }

    void fill(void* into, std::size_t size) noexcept {
        auto* at = static_cast<std::byte*>(into);
        while (size > 0) {
            const std::uint64_t word = next();
            const std::size_t part = size < sizeof word ? size : sizeof word;
            std::memcpy(at, &word, part);
            at += part;
            size -= part;
        }
    }

private:
    static std::uint64_t splitmix(std::uint64_t& seed) noexcept {
        seed += 0x9e3779b97f4a7c15u;
        std::uint64_t mixed = seed;
        mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
        mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
        return mixed ^ (mixed >> 31);
    }
    static std::uint64_t rotate(std::uint64_t word, int by) noexcept {
        return (word << by) | (word >> (64 - by));
    }

    std::array<std::uint64_t, 4> state_{};
};

}}}  // namespace coro::v0::detail
