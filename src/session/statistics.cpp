// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/statistics.h"

#include <algorithm>
#include <utility>

namespace plyfs::session {
namespace {

thread_local bool error_noted = false;

std::uint64_t get(const std::atomic<std::uint64_t>& counter) noexcept {
    return counter.load(std::memory_order_acquire);
}

// By the one thread that writes it.
void set(std::atomic<std::uint64_t>& counter, std::uint64_t number) noexcept {
    counter.store(number, std::memory_order_release);
}

void add(std::atomic<std::uint64_t>& counter, std::uint64_t number) noexcept {
    set(counter, counter.load(std::memory_order_relaxed) + number);
}

}  // namespace

// Read in the reverse order, so that what is seen of a request is not ahead of what it adds to:
// neither its place in a bucket of its time, nor the longest time of the sum.
void ThreadStatistics::count(std::uint32_t opcode, std::uint64_t nanoseconds,
                             bool failed) noexcept {
    const bool named = opcode < kRequestTypes && kRequestNames[opcode] != kRequestNames[0];
    Counters& counters = types_[named ? opcode : 0];
    if (failed) add(counters.errors, 1);
    add(counters.total, nanoseconds);
    if (nanoseconds > counters.longest.load(std::memory_order_relaxed)) {
        set(counters.longest, nanoseconds);
    }
    add(counters.buckets[latency_bucket(nanoseconds)], 1);
}

void ThreadStatistics::add_to(AllRequestCounts& sums) const noexcept {
    for (std::size_t type = 0; type < kRequestTypes; ++type) {
        const Counters& counters = types_[type];
        RequestCounts& sum = sums[type];
        for (std::size_t bucket = 0; bucket < kLatencyBuckets; ++bucket) {
            sum.buckets[bucket] += get(counters.buckets[bucket]);
        }
        sum.longest = std::max(sum.longest, get(counters.longest));
        sum.total += get(counters.total);
        sum.errors += get(counters.errors);
    }
}

ThreadStatistics& Statistics::add_thread() {
    const Lock lock(mutex_);
    return threads_.emplace_back();
}

std::size_t Statistics::threads() const {
    const Lock lock(mutex_);
    return threads_.size();
}

std::chrono::nanoseconds Statistics::uptime() const noexcept {
    return Clock::now() - begin_;
}

AllRequestCounts Statistics::requests() const {
    const Lock lock(mutex_);
    AllRequestCounts sums{};
    for (const ThreadStatistics& thread : threads_) thread.add_to(sums);
    return sums;
}

void note_error() noexcept {
    error_noted = true;
}

bool take_error() noexcept {
    return std::exchange(error_noted, false);
}

}  // namespace plyfs::session
