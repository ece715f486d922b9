// SPDX-License-Identifier: GPL-2.0-or-later
//
// Why the kernel refused registrations, counted by reason. Thread-safe.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "sys/error.h"

namespace plyfs::passthrough {

// As Registrar::open_backing tells them.
enum class Refusal : std::uint8_t {
    NoPrivilege,    // EPERM
    Stacked,        // ELOOP
    NoIterators,    // EOPNOTSUPP
    NoDescriptors,  // EMFILE, ENFILE
    Other,
};
inline constexpr std::size_t kRefusals = 5;

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
    void add(Errno error) noexcept {
        const auto reason = static_cast<std::size_t>(refusal_of(error));
        counters_[reason].fetch_add(1, std::memory_order_relaxed);
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
