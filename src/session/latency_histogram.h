// SPDX-License-Identifier: GPL-2.0-or-later
//
// How long requests took, by powers of two: the buckets, and what is read from them. Pure
// functions.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <numeric>

namespace plyfs::session {

// Bucket 0 holds 0 ns, bucket b what is in [2^(b-1), 2^b) ns; the last one all above 2^38 ns (275
// s) too.
inline constexpr std::size_t kLatencyBuckets = 40;
using LatencyBuckets = std::array<std::uint64_t, kLatencyBuckets>;

constexpr std::size_t latency_bucket(std::uint64_t nanoseconds) noexcept {
    return std::min<std::size_t>(static_cast<std::size_t>(std::bit_width(nanoseconds)),
                                 kLatencyBuckets - 1);
}

// The shortest duration in the bucket, in nanoseconds.
constexpr std::uint64_t latency_begin(std::size_t bucket) noexcept {
    return bucket == 0 ? 0 : std::uint64_t{1} << (bucket - 1);
}

constexpr std::uint64_t latency_count(const LatencyBuckets& buckets) noexcept {
    return std::accumulate(buckets.begin(), buckets.end(), std::uint64_t{0});
}

// The duration that `share` (0 to 1) of the requests did not exceed, in nanoseconds: found in the
// bucket as if those in it were spread evenly, so right to a factor of two; at most `longest`,
// which is exact. 0: there were no requests.
constexpr double latency_quantile(const LatencyBuckets& buckets, double share,
                                  std::uint64_t longest) noexcept {
    const double wanted = share * static_cast<double>(latency_count(buckets));
    const auto limit = static_cast<double>(longest);
    double below = 0;
    for (std::size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
        const auto here = static_cast<double>(buckets[bucket]);
        if (here > 0 && below + here >= wanted) {
            const auto begin = static_cast<double>(latency_begin(bucket));
            const double end = bucket + 1 < kLatencyBuckets
                                   ? static_cast<double>(latency_begin(bucket + 1))
                                   : limit;
            return std::min(begin + (std::min(end, limit) - begin) * (wanted - below) / here,
                            limit);
        }
        below += here;
    }
    return 0;
}

}  // namespace plyfs::session
