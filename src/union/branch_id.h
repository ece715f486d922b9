// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random ids of branches and mounts. A branch's is kept in its work directory and tells the branch
// whatever path it is mounted from; a mount's is new at each mount and the same on all branches.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "sys/result.h"

namespace plyfs {

// 128 random bits in hexadecimal digits.
inline constexpr std::size_t kIdDigits = 32;
using BranchId = std::string;
using MountId = std::string;

bool is_id(std::string_view text);

Result<MountId> make_mount_id();

// The id kept in the work directory `directory`. ENOENT: none, or not one.
Result<BranchId> read_branch_id(int directory);

// The same, made if there is none; then it is on disk when this returns, and so is the work
// directory itself in `home`. Nobody else may be doing it at the same time.
Result<BranchId> read_or_make_branch_id(int home, int directory);

}  // namespace plyfs
