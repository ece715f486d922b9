// SPDX-License-Identifier: GPL-2.0-or-later
//
// What an object is beside its bytes: owner, mode, extended attributes, inode flags, times; copied
// from one object to another of the same type.
//
// Owns nothing; any number of threads at once, on different targets.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "sys/attributes.h"
#include "sys/result.h"

namespace plyfs::copyup {

// What to do where the target refuses an extended attribute.
enum class LostXattrs : std::uint8_t {
    // As the kernel's overlayfs: EOPNOTSUPP leaves the attribute out, unless it is a POSIX ACL or
    // in
    // security.*, which say who may do what: then, and with any other errno, the copy fails.
    AsOverlayfs,
    // EOPNOTSUPP and EPERM leave any of them out.
    LeftOut,
};

struct XattrOptions {
    // True: an attribute of this name is not copied. Empty: all are. Must not throw.
    std::function<bool(std::string_view)> leave_out;
    LostXattrs lost = LostXattrs::AsOverlayfs;
};

// Descriptors may be O_PATH, here and below. A source whose file system has no extended attributes
// has none. Errnos of listxattr(2), getxattr(2) and setxattr(2), EOPNOTSUPP as LostXattrs says.
Result<void> copy_xattrs(int source, int target, const XattrOptions& options);

// Owner, extended attributes, mode (SUID, SGID and the sticky bit too): in the order in which none
// takes another one away. To be called when the data is there, since writing takes SUID and
// security.capability away. `source` is read only for its extended attributes.
Result<void> copy_ownership(int source, const Attributes& source_attributes, int target,
                            const XattrOptions& options);

// Access and modification time, in nanoseconds as far as the target keeps them.
Result<void> copy_times(const Attributes& source_attributes, int target);

// The FS_*_FL inode flags of a regular file or directory opened for reading (not O_PATH); zero
// where the file system has none.
Result<std::uint32_t> inode_flags(int source);

// Sets those of `flags` that a copy keeps: sync, noatime, nodump, and dirsync of a directory, which
// is more than overlayfs keeps (the first two). What the target's file system refuses is left out.
// `target` is open, not O_PATH.
Result<void> copy_inode_flags(std::uint32_t flags, int target);

// Those of `flags` that stop writing (append-only, immutable): the copy could not be finished nor
// replaced with them, so overlayfs keeps them in a mark, and so has the caller to.
std::uint32_t protecting_flags(std::uint32_t flags);
// Whether copy_inode_flags() would have to do anything.
bool has_kept_flags(std::uint32_t flags);

}  // namespace plyfs::copyup
