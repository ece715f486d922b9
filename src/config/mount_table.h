// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is mounted where, as proc_pid_mountinfo(5) tells it.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plyfs::config {

struct MountedFileSystem {
    unsigned long id = 0;    // as statx(2) gives it in stx_mnt_id
    std::string device;      // MAJOR:MINOR of the file system, one for all its mounts
    std::string root;        // the directory of the file system that is mounted
    std::string mountpoint;  // absolute, escapes undone
    std::string type;        // with the subtype: fuse.plyfs
};

// Lines that are not understood are skipped.
std::vector<MountedFileSystem> parse_mount_table(std::string_view text);

// Of the calling thread's mount namespace; empty where /proc is not mounted. In the order of
// mounting: of two at one mountpoint the later one is on top.
std::vector<MountedFileSystem> read_mount_table();

// The type of what plyfs mounts: fuse.plyfs, unless the option subtype says otherwise.
bool is_plyfs(const MountedFileSystem& mounted);

}  // namespace plyfs::config
