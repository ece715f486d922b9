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
// whatever is inside of it; `stale` has to say yes to temporary names (temporary_name.h). Symlinks
// are removed, never followed. Each directory met is first flattened: what it holds is renamed into
// `directory` under such names, so that depth costs neither descriptors nor memory. Not for a
// directory that somebody else changes meanwhile. Returns how many objects were removed; the first
// error of getdents64(2), openat(2), renameat2(2) and unlinkat(2) where something could not be,
// after everything else is.
Result<std::uint64_t> sweep(int directory, const std::function<bool(std::string_view)>& stale);

}  // namespace plyfs::format
