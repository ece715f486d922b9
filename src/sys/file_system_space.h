// SPDX-License-Identifier: GPL-2.0-or-later
//
// statvfs(3) of one file system.
#pragma once

#include <cstdint>

#include "sys/result.h"

namespace plyfs {

struct FileSystemSpace {
    std::uint64_t block_size = 0;  // f_bsize: bytes, preferred for I/O
    std::uint64_t unit = 0;        // f_frsize: bytes, what the three block counts count
    std::uint64_t blocks = 0;
    std::uint64_t free_blocks = 0;       // those kept for root included
    std::uint64_t available_blocks = 0;  // to users without privileges
    std::uint64_t files = 0;             // inodes; 0 where they are made as needed (btrfs)
    std::uint64_t free_files = 0;
    std::uint64_t available_files = 0;
    std::uint64_t name_max = 0;  // bytes; 0: not said
    bool read_only = false;      // the file system or the mount that was asked

    // Bytes that a user without privileges may still write; at most 2^64 - 1.
    std::uint64_t available() const noexcept {
        std::uint64_t bytes = 0;
        return __builtin_mul_overflow(available_blocks, unit, &bytes) ? UINT64_MAX : bytes;
    }
    bool operator==(const FileSystemSpace&) const = default;
};

namespace sys {

// Of the file system that `descriptor` (O_PATH will do) is open on. May block for as long as a
// network file system does. Retries EINTR; else the errnos of fstatvfs(3).
Result<FileSystemSpace> file_system_space(int descriptor);

}  // namespace sys
}  // namespace plyfs
