// SPDX-License-Identifier: GPL-2.0-or-later
//
// The requests of one mount, counted by type, with how long each took: from its receipt by a
// serving thread until that thread is done with it.
//
// Counting is to cost next to nothing: each serving thread has counters of its own, on cache lines
// of their own, which nobody else writes; whoever asks adds them up. A request is counted when it
// has been answered: who has the answer may look a moment too early. Thread-safe: requests() may be
// called at any time; its numbers are of no one moment, but no request is counted without its time.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>

#include "session/latency_histogram.h"
#include "session/request_names.h"
#include "sys/mutex.h"

namespace plyfs::session {

// The attribute of a mount's root that is answered with statistics (statistics_report.h).
inline constexpr char kStatisticsAttribute[] = "user.plyfs.stats";

// By opcode; 0 stands for what has no name.
inline constexpr std::size_t kRequestTypes = kRequestNames.size();

struct RequestCounts {
    std::uint64_t errors = 0;   // answered with an errno; ENOENT of a LOOKUP is one
    std::uint64_t total = 0;    // nanoseconds
    std::uint64_t longest = 0;  // nanoseconds
    LatencyBuckets buckets{};   // their sum is the number of requests
};
using AllRequestCounts = std::array<RequestCounts, kRequestTypes>;

// What one thread has served. count() is for that thread alone.
class alignas(64) ThreadStatistics {
public:
    void count(std::uint32_t opcode, std::uint64_t nanoseconds, bool failed) noexcept;
    void add_to(AllRequestCounts& sums) const noexcept;

private:
    // Changed without locked instructions: one thread writes, the others only read.
    using Counter = std::atomic<std::uint64_t>;
    struct Counters {
        Counter errors{0};
        Counter total{0};
        Counter longest{0};
        std::array<Counter, kLatencyBuckets> buckets{};
    };

    std::array<Counters, kRequestTypes> types_{};
};

class Statistics {
public:
    // The counters of one more thread, which live as long as this.
    ThreadStatistics& add_thread();
    // How many have been added.
    std::size_t threads() const;
    // Since this was made.
    std::chrono::nanoseconds uptime() const noexcept;
    // The sums over all threads.
    AllRequestCounts requests() const;

private:
    using Clock = std::chrono::steady_clock;

    const Clock::time_point begin_ = Clock::now();
    mutable Mutex mutex_;
    std::deque<ThreadStatistics> threads_ GUARDED_BY(mutex_);
};

// Of the request that the calling thread serves: it is answered with an errno.
void note_error() noexcept;
// Whether it was, since this was asked last.
bool take_error() noexcept;

}  // namespace plyfs::session
