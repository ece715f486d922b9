// SPDX-License-Identifier: GPL-2.0-or-later
//
// Detached clones of mounts: how a read-only branch is reached, so that the kernel itself refuses
// every write, atime updates included.
#pragma once

#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

// A detached clone of the mount that `directory` lies on, rooted at `directory`, read-only:
// open_tree(2) with OPEN_TREE_CLONE, then mount_setattr(2) with MOUNT_ATTR_RDONLY. Mounts below
// are not cloned. Gone with its last descriptor.
// EPERM: no right to mount. ENOSYS: a kernel before 5.12.
Result<UniqueFd> clone_read_only(int directory);

}  // namespace plyfs::sys
