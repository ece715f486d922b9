// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a file system says of itself that outlives its mount, unlike st_dev.
#pragma once

#include <array>
#include <cstdint>

#include "sys/result.h"

namespace plyfs {

struct FileSystemIdentity {
    std::array<std::uint8_t, 16> uuid{};
    std::uint8_t uuid_length = 0;  // bytes of `uuid` that count; 0: none is told
    // f_fsid of statfs(2). 0: none. What it is made of differs: on ext4 and btrfs the UUID, on
    // btrfs the subvolume too, on XFS only the device number.
    std::uint64_t fsid = 0;
    // btrfs: subvolumes have the UUID and the space in common, but each has a st_dev, an f_fsid and
    // inode numbers of its own.
    bool has_subvolumes = false;

    bool operator==(const FileSystemIdentity&) const = default;
};

namespace sys {

// The file system that `descriptor` is open on: a directory or a regular file, O_PATH will do.
// EINVAL: something else, which can't be reopened safely; ask with its parent directory. EACCES:
// the caller may not read the object. Else the errnos of openat(2) and fstatfs(2).
Result<FileSystemIdentity> file_system_identity(int descriptor);

// Whether the file system that `descriptor` is open on may itself stand on another one: overlayfs,
// eCryptfs, FUSE (whose server may pass files through). The kernel counts such levels.
bool may_be_stacked(int descriptor);

}  // namespace sys
}  // namespace plyfs
