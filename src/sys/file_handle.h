// SPDX-License-Identifier: GPL-2.0-or-later
//
// File handles: what finds an inode again whatever became of its names, also after a remount.
#pragma once

#include <string>

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

// The handle of what `descriptor` (O_PATH will do) is open on: its type and its bytes, opaque, to
// be kept together with what tells the file system. EOPNOTSUPP: the file system has none.
Result<std::string> file_handle(int descriptor);

// Opens the inode of a handle on the file system of the directory `mount` (O_PATH will do). ESTALE:
// there is no such inode any more, or it is on another file system. EPERM: without
// CAP_DAC_READ_SEARCH. EINVAL: not a handle.
Result<UniqueFd> open_file_handle(int mount, const std::string& handle, int flags);

}  // namespace plyfs::sys
