// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emptying a work directory of what an earlier mount left in it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "sys/result.h"

namespace plyfs::format {

// Removes what is in `directory` (O_PATH will do) and has a name that `stale` says yes to, and
// whatever is inside of it. Symlinks are removed, never followed. Directories met on the way are
// renamed into `directory` under temporary names, so that depth costs neither descriptors nor
// stack. Not for a directory that somebody else changes meanwhile. Returns how many objects were
// removed. Errnos: the first of getdents64(2), openat(2), renameat2(2), unlinkat(2).
Result<std::uint64_t> sweep(int directory, const std::function<bool(std::string_view)>& stale);

}  // namespace plyfs::format
