// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why opens were not passed through, counted by reason. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sys/error.h"

namespace plyfs::passthrough {

enum class Refusal : std::uint8_t {
    // The kernel would not, as Registrar::open_backing tells it.
    NoPrivilege,    // EPERM
    Stacked,        // ELOOP
    NoIterators,    // EOPNOTSUPP
    NoDescriptors,  // EMFILE, ENFILE
    Other,
    // It was not wanted.
    Off,         // for the whole mount, or the kernel has no passthrough
    Followed,    // it may be copied up, and its readers follow
    AppendOnly,  // chattr +a
    Small,       // opened for reading, and below the size for which it is worth it
    Beside,      // the file is open in another mode already
};
inline constexpr std::size_t kRefusals = 10;

constexpr Refusal refusal_of(Errno error) noexcept {
    switch (error.code()) {
        case EPERM: return Refusal::NoPrivilege;
        case ELOOP: return Refusal::Stacked;
        case EOPNOTSUPP: return Refusal::NoIterators;
        case EMFILE:
        case ENFILE: return Refusal::NoDescriptors;
        default: return Refusal::Other;
    }
}

// By Refusal.
using RefusalCounts = std::array<std::uint64_t, kRefusals>;

class RefusalCounters {
public:
    void add(Refusal refusal) noexcept {
        counters_[static_cast<std::size_t>(refusal)].fetch_add(1, std::memory_order_relaxed);
    }
    RefusalCounts counts() const noexcept {
        RefusalCounts counts{};
        for (std::size_t reason = 0; reason < kRefusals; ++reason) {
            counts[reason] = counters_[reason].load(std::memory_order_relaxed);
        }
        return counts;
    }

private:
    std::array<std::atomic<std::uint64_t>, kRefusals> counters_{};
};

}  // namespace plyfs::passthrough
