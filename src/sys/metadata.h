// SPDX-License-Identifier: GPL-2.0-or-later
//
// Changing owner, mode, times and size, and reading and writing extended attributes, of the object
// that a descriptor is open on. O_PATH descriptors will do for all of them; symlinks are changed
// themselves. Errnos: those of the system calls named.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "sys/attributes.h"
#include "sys/result.h"

namespace plyfs::sys {

// chmod(2). A symlink: EOPNOTSUPP.
Result<void> change_mode(int descriptor, mode_t mode);

// fchownat(2); (uid_t)-1 and (gid_t)-1 leave the one or the other.
Result<void> change_owner(int descriptor, uid_t uid, gid_t gid);

// utimensat(2); UTIME_NOW and UTIME_OMIT are understood in tv_nsec.
Result<void> change_times(int descriptor, const timespec& access, const timespec& modification);

// truncate(2) for an O_PATH descriptor or ftruncate(2) for one open for writing.
Result<void> truncate(int descriptor, off_t size);

// setxattr(2) with its flags XATTR_CREATE and XATTR_REPLACE.
Result<void> set_xattr(int descriptor, const char* name, std::span<const std::byte> value,
                       int flags);

// getxattr(2): the value's size in bytes; with an empty span only its size is asked for. ERANGE:
// the span is too small. ENODATA: there is none of that name.
Result<std::size_t> get_xattr(int descriptor, const char* name, std::span<std::byte> value);

// listxattr(2): names, each ended by NUL. Sizes as in get_xattr.
Result<std::size_t> list_xattrs(int descriptor, std::span<std::byte> names);

Result<void> remove_xattr(int descriptor, const char* name);

// Every name, read whole whatever their size.
Result<std::vector<std::string>> xattr_names(int descriptor);

// One value, read whole whatever its size.
Result<std::vector<std::byte>> xattr_value(int descriptor, const char* name);

}  // namespace plyfs::sys
