// SPDX-License-Identifier: GPL-2.0-or-later
//
// Emptying a directory that belongs to plyfs alone, whatever lies in it.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "sys/result.h"

namespace plyfs {

// Removes everything in `directory` (O_PATH will do) except the names that `keep` wants. Symlinks
// are removed, never followed. Each directory met is first flattened: what it holds is renamed
// into `directory` itself, so that depth costs neither descriptors nor memory. Returns how many
// objects were removed; the first error where something could not be, after everything else is.
Result<std::uint64_t> clear_directory(int directory,
                                      const std::function<bool(std::string_view)>& keep);

}  // namespace plyfs
