// SPDX-License-Identifier: GPL-2.0-or-later
//
// What statx(2) says of one object, and the identity that is made of it.
#pragma once

#include <sys/stat.h>

#include <compare>
#include <cstddef>
#include <cstdint>

namespace plyfs {

// A point in time as the file system stores it. `nanoseconds` is in [0, 1e9).
struct Timestamp {
    std::int64_t seconds = 0;
    std::uint32_t nanoseconds = 0;
    friend auto operator<=>(const Timestamp&, const Timestamp&) = default;
};

// An inode of a branch. Inode numbers are reused, so the birth time belongs to it; zero where the
// file system keeps none. Valid within one mount of that file system (`device` is st_dev): never
// persisted.
struct RealId {
    std::uint64_t device = 0;
    std::uint64_t inode = 0;
    Timestamp birth;
    friend bool operator==(const RealId&, const RealId&) = default;
};

struct RealIdHash {
    std::size_t operator()(const RealId& id) const noexcept {
        // Inode numbers are dense and devices few: multiplying spreads both over the buckets.
        return static_cast<std::size_t>((id.inode * 0x9E3779B97F4A7C15ULL) ^
                                        (id.device * 0xC2B2AE3D27D4EB4FULL) ^ id.birth.nanoseconds);
    }
};

struct Attributes {
    RealId real;
    std::uint64_t inode = 0;  // st_ino as the union shows it; as on the branch until it is set
    mode_t mode = 0;          // type and permission bits
    std::uint32_t links = 0;
    uid_t uid = 0;
    gid_t gid = 0;
    std::uint64_t device_number = 0;  // st_rdev of a device node
    std::uint64_t size = 0;           // bytes
    std::uint64_t blocks = 0;         // units of 512 bytes
    std::uint32_t block_size = 0;     // bytes, preferred for I/O
    Timestamp access_time;
    Timestamp modification_time;
    Timestamp change_time;
    bool has_birth = false;   // real.birth is meaningful
    std::uint64_t flags = 0;  // STATX_ATTR_*
    std::uint64_t flags_mask = 0;

    bool is_directory() const noexcept { return S_ISDIR(mode); }
    bool is_regular() const noexcept { return S_ISREG(mode); }
};

}  // namespace plyfs
