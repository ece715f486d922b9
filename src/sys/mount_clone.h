// SPDX-License-Identifier: GPL-2.0-or-later
//
// Detached clones of mounts, with flags of their own: how a read-only branch is reached, so that
// the kernel itself refuses every write, and a branch of a union mounted noatime, so that reads
// that are passed through leave its access times.
#pragma once

#include <cstdint>

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

struct CloneFlags {
    bool read_only = false;
    bool no_atime = false;
};

// A detached clone of the mount that `directory` lies on, rooted at `directory`, together with the
// mounts below it: open_tree(2) with OPEN_TREE_CLONE, then mount_setattr(2). Gone with its last
// descriptor. Hard links and renames between a clone and its original are EXDEV.
// EPERM: no right to mount. ENOSYS: a kernel before 5.12.
Result<UniqueFd> clone_mount(int directory, CloneFlags flags);

}  // namespace plyfs::sys
