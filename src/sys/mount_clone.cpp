// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/mount_clone.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace plyfs::sys {

Result<UniqueFd> clone_read_only(int directory) {
    UniqueFd clone(static_cast<int>(::syscall(SYS_open_tree, directory, "",
                                              OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)));
    if (!clone) return fail(Errno::last());
    mount_attr attributes{};
    attributes.attr_set = MOUNT_ATTR_RDONLY;
    if (::syscall(SYS_mount_setattr, clone.get(), "", AT_EMPTY_PATH, &attributes,
                  sizeof attributes) != 0) {
        return fail(Errno::last());
    }
    return clone;
}

}  // namespace plyfs::sys
