// Latency histogram with logarithmic buckets: constant memory, one increment per sample.
//
// Values below 256 have a bucket each. Above, every power of two is cut into 128 equal buckets and
// a bucket is reported by its middle, so a percentile is off by at most 1/256 of its value (0.4 %).
// Values from 2^40 on (18 minutes in nanoseconds) share the last bucket; the maximum is exact.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace perf {

class histogram {
public:
    void add(std::uint64_t value) {
        ++counts_[bucket_of(std::min(value, highest))];
        ++total_;
        largest_ = std::max(largest_, value);
    }

    void clear() { *this = histogram{}; }

    std::uint64_t count() const { return total_; }
    std::uint64_t largest() const { return largest_; }

    /// Smallest bucket that at least `percent` of the samples do not exceed; 0 without samples.
    std::uint64_t percentile(double percent) const {
        const double wanted = std::ceil(percent / 100.0 * static_cast<double>(total_));
        const auto rank = std::max<std::uint64_t>(1, static_cast<std::uint64_t>(wanted));
        std::uint64_t seen = 0;
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen >= rank) return std::min(middle_of(i), largest_);
        }
        return largest_;
    }

    /// Calls `tell` with the value and the number of samples of each bucket that has some, from the
    /// smallest. Histograms have the same buckets, so whoever adds these up has merged them.
    template <typename Tell>
    void for_each(Tell tell) const {
        for (std::size_t i = 0; i < counts_.size(); ++i) {
            if (counts_[i] != 0) tell(std::min(middle_of(i), largest_), counts_[i]);
        }
    }

private:
    static constexpr unsigned exact_bits = 8;  // values below 2^8 are kept exactly
    static constexpr unsigned most_bits = 40;
    static constexpr std::uint64_t highest = (std::uint64_t{1} << most_bits) - 1;
    static constexpr std::size_t exact = std::size_t{1} << exact_bits;
    static constexpr std::size_t per_octave = exact / 2;
    static constexpr std::size_t buckets = exact + (most_bits - exact_bits) * per_octave;

    static std::size_t bucket_of(std::uint64_t value) {
        if (value < exact) return static_cast<std::size_t>(value);
        const auto width = static_cast<unsigned>(std::bit_width(value));
        const unsigned shift = width - exact_bits;
        const auto top = static_cast<std::size_t>(value >> shift);  // 128 ... 255
        return exact + (shift - 1) * per_octave + (top - per_octave);
    }

    static std::uint64_t middle_of(std::size_t bucket) {
        if (bucket < exact) return bucket;
        const std::size_t shift = (bucket - exact) / per_octave + 1;
        const std::uint64_t top = (bucket - exact) % per_octave + per_octave;
        return (top << shift) + (std::uint64_t{1} << (shift - 1));
    }

    std::array<std::uint64_t, buckets> counts_{};
    std::uint64_t total_ = 0;
    std::uint64_t largest_ = 0;
};

}  // namespace perf
