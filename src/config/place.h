// SPDX-License-Identifier: GPL-2.0-or-later
//
// Where a directory is, so that two names of one place are recognized: through symlinks by the real
// path, through bind mounts by the file system and the path within it.
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include "config/mount_table.h"

namespace plyfs::config {

struct Place {
    std::string path;  // real
    bool directory = false;
    std::uint64_t device = 0;  // st_dev and st_ino
    std::uint64_t inode = 0;
    std::uint64_t mount = 0;     // of the mount table; 0 unknown
    std::string file_system;     // MAJOR:MINOR in the mount table; "" where not found there
    std::string path_within;     // the directory's path from that file system's own root
    std::uint64_t capacity = 0;  // bytes; 0 unknown
    bool read_only = false;      // the mount or the file system is
};

// `path` must be real. The error is the system's.
std::error_code find_place(const std::string& path, const std::vector<MountedFileSystem>& table,
                           Place& place);

// One directory by its device and inode number.
bool is_same(const Place& a, const Place& b);

// Whether `inner` is somewhere below `outer`, by either kind of path.
bool is_below(const Place& inner, const Place& outer);

}  // namespace plyfs::config
