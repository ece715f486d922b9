// SPDX-License-Identifier: GPL-2.0-or-later
//
// Locks under `locks: branch`: taken on the branch's file, so that its other users see them. (By
// default none of these is served and the kernel keeps the locks of this mount by itself.)
#pragma once

#include <fuse_lowlevel.h>

namespace plyfs::session {

void flush(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void getlk(fuse_req_t request, fuse_ino_t node, fuse_file_info* info, struct flock* range);
void setlk(fuse_req_t request, fuse_ino_t node, fuse_file_info* info, struct flock* range,
           int wait);
void flock(fuse_req_t request, fuse_ino_t node, fuse_file_info* info, int operation);

}  // namespace plyfs::session
