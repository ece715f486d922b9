// SPDX-License-Identifier: GPL-2.0-or-later
//
// Attributes, extended attributes and the space of the union. Each is the operation of the same
// name of fuse_lowlevel_ops.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>

namespace plyfs::session {

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
             fuse_file_info* info);
#if FUSE_USE_VERSION >= 318
void statx(fuse_req_t request, fuse_ino_t node, int flags, int mask, fuse_file_info* info);
#endif
void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t size);
void listxattr(fuse_req_t request, fuse_ino_t node, std::size_t size);
void setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
              std::size_t size, int flags);
void removexattr(fuse_req_t request, fuse_ino_t node, const char* name);
void statfs(fuse_req_t request, fuse_ino_t node);

}  // namespace plyfs::session
