// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading directories. Each is the operation of the same name of fuse_lowlevel_ops.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>

namespace plyfs::session {

void opendir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void readdir(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
             fuse_file_info* info);
void readdirplus(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
                 fuse_file_info* info);
void releasedir(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void fsyncdir(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* info);

}  // namespace plyfs::session
