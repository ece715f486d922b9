// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bytes of open files: reading, writing, holes, copies, making them durable, locks and inode
// flags. Errnos: those of the system calls named.
#pragma once

#include <fcntl.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/result.h"

namespace plyfs::sys {

// pread(2): bytes read, fewer than asked for at the end of file only.
Result<std::size_t> read_at(int descriptor, std::span<std::byte> bytes, off_t offset);

// pwrite(2), carried on until all is written; what was written where an error stops it later.
// On a descriptor with O_APPEND the kernel ignores the offset (pwrite(2), BUGS).
Result<std::size_t> write_at(int descriptor, std::span<const std::byte> bytes, off_t offset);

// fallocate(2) with its FALLOC_FL_* modes.
Result<void> allocate(int descriptor, int mode, off_t offset, off_t length);

// lseek(2): SEEK_DATA and SEEK_HOLE.
Result<off_t> seek(int descriptor, off_t offset, int whence);

// copy_file_range(2): bytes copied.
Result<std::size_t> copy_range(int source, off_t source_offset, int target, off_t target_offset,
                               std::size_t length);

// ioctl_ficlone(2): the bytes of `target`, open for writing, become those of `source`, sharing its
// blocks, and so does its size. EXDEV, EOPNOTSUPP, EINVAL, ETXTBSY: these two can't share.
Result<void> clone_data(int source, int target);

// fsync(2), or fdatasync(2) where `data_only`.
Result<void> synchronize(int descriptor, bool data_only);

// flock(2) with its LOCK_* operation.
Result<void> lock_whole(int descriptor, int operation);

// Open file description locks: F_OFD_SETLK, F_OFD_SETLKW and F_OFD_GETLK of fcntl(2).
Result<void> lock_range(int descriptor, struct flock& range, bool wait);
Result<void> query_lock(int descriptor, struct flock& range);

// The inode flags of ioctl_iflags(2): FS_IOC_GETFLAGS and FS_IOC_SETFLAGS. ENOTTY: the file
// system has none.
Result<std::uint32_t> inode_flags(int descriptor);
Result<void> set_inode_flags(int descriptor, std::uint32_t flags);

// The extended ones: FS_IOC_FSGETXATTR and FS_IOC_FSSETXATTR. The bytes are a `struct fsxattr`.
Result<void> extended_flags(int descriptor, std::span<std::byte> fsxattr);
Result<void> set_extended_flags(int descriptor, std::span<const std::byte> fsxattr);

}  // namespace plyfs::sys
