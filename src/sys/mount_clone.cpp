// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/mount_clone.h"

#include <fcntl.h>
#include <linux/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace plyfs::sys {

Result<UniqueFd> clone_mount(int directory, CloneFlags flags) {
    UniqueFd clone(static_cast<int>(
        ::syscall(SYS_open_tree, directory, "",
                  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE)));
    if (!clone) return fail(Errno::last());
    mount_attr attributes{};
    if (flags.read_only) attributes.attr_set |= MOUNT_ATTR_RDONLY;
    if (flags.no_atime) {
        // The access time modes are one field: the old one is cleared (mount_setattr(2)).
        attributes.attr_set |= MOUNT_ATTR_NOATIME;
        attributes.attr_clr |= MOUNT_ATTR__ATIME;
    }
    if (::syscall(SYS_mount_setattr, clone.get(), "", AT_EMPTY_PATH | AT_RECURSIVE, &attributes,
                  sizeof attributes) != 0) {
        return fail(Errno::last());
    }
    return clone;
}

}  // namespace plyfs::sys
