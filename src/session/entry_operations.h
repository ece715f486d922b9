// SPDX-License-Identifier: GPL-2.0-or-later
//
// Names: finding, making, linking, renaming and removing them. Each is the operation of the same
// name of fuse_lowlevel_ops.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>

namespace plyfs::session {

void lookup(fuse_req_t request, fuse_ino_t parent, const char* name);
void forget(fuse_req_t request, fuse_ino_t node, std::uint64_t count);
void forget_multi(fuse_req_t request, std::size_t count, fuse_forget_data* forgets);
void mknod(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode, dev_t device);
void mkdir(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode);
void symlink(fuse_req_t request, const char* target, fuse_ino_t parent, const char* name);
void link(fuse_req_t request, fuse_ino_t node, fuse_ino_t new_parent, const char* new_name);
void unlink(fuse_req_t request, fuse_ino_t parent, const char* name);
void rmdir(fuse_req_t request, fuse_ino_t parent, const char* name);
void rename(fuse_req_t request, fuse_ino_t parent, const char* name, fuse_ino_t new_parent,
            const char* new_name, unsigned flags);
void readlink(fuse_req_t request, fuse_ino_t node);

}  // namespace plyfs::session
