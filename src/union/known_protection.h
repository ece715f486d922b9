// SPDX-License-Identifier: GPL-2.0-or-later
//
// What overlay.protattr (format/protection.h) of one object on a writable branch says, as far as
// somebody has read it. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "format/protection.h"

namespace plyfs {

class KnownProtection {
public:
    // None: nobody has read it.
    std::optional<format::Protection> get() const noexcept {
        const std::uint8_t bits = bits_.load(std::memory_order_acquire);
        if (bits == 0) return std::nullopt;
        return format::Protection{.append = (bits & kAppend) != 0,
                                  .immutable = (bits & kImmutable) != 0};
    }
    // It was read: by then it may have been set.
    void learn(const format::Protection& protection) noexcept {
        std::uint8_t unknown = 0;
        bits_.compare_exchange_strong(unknown, bits_of(protection));
    }
    // It was written.
    void set(const format::Protection& protection) noexcept { bits_.store(bits_of(protection)); }
    void forget() noexcept { bits_.store(0); }

private:
    static constexpr std::uint8_t kKnown = 1;
    static constexpr std::uint8_t kAppend = 2;
    static constexpr std::uint8_t kImmutable = 4;
    static std::uint8_t bits_of(const format::Protection& protection) noexcept {
        return static_cast<std::uint8_t>(kKnown | (protection.append ? kAppend : 0) |
                                         (protection.immutable ? kImmutable : 0));
    }

    std::atomic<std::uint8_t> bits_{0};
};

}  // namespace plyfs
