// SPDX-License-Identifier: GPL-2.0-or-later
//
// The record of a plan on disk: text, one line per step, names escaped, closed by a checksum.
//
//   plyfs-intent 1
//   mount MOUNT
//   home BRANCH
//   sequence N
//   move BRANCH no-replace|exchange IDENTITY PLACE PLACE
//   replace BRANCH IDENTITY IDENTITY directory|other PLACE PLACE
//   bury BRANCH IDENTITY directory|other PLACE
//   end XXH3
//
// IDENTITY is inode:seconds:nanoseconds, PLACE is the parent's identity, its file handle with a
// colon before it, its path with a slash before it, and the name. Every byte of paths and names
// that is not plain ASCII is %XX.
//
// Plain values.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "union/plan.h"

namespace plyfs {

struct Intent {
    MountId mount;               // who wrote it
    BranchId home;               // the branch whose work directory it is kept in
    std::uint64_t sequence = 0;  // orders the plans of all mounts
    std::vector<BranchId> ids;   // of the branches; `branch` of a step is an index into it
    Plan plan;
};

// Larger than what any plan needs that names paths of PATH_MAX; more is not a record.
inline constexpr std::size_t kIntentSizeLimit = std::size_t{64} << 20;  // bytes

std::string encode(const Intent& intent);

// None: damaged, or of another version. Descriptors of the places are -1.
std::optional<Intent> decode(std::string_view text);

// The file name in the intents directory: MOUNT.SEQUENCE.
std::string file_name(const Intent& intent);

// Rises with every call in this process, and with time across processes.
std::uint64_t next_sequence();

// The name in the work directory of what step `step` of an intent took away.
std::string grave_name(const Intent& intent, std::size_t step);

// Which intent a grave belongs to; none: not a grave's name.
struct GraveOwner {
    BranchId home;
    std::uint64_t sequence = 0;
    friend auto operator<=>(const GraveOwner&, const GraveOwner&) = default;
};
std::optional<GraveOwner> owner_of_grave(std::string_view name);

}  // namespace plyfs
