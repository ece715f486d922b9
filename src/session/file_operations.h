// SPDX-License-Identifier: GPL-2.0-or-later
//
// Open files. read and write reach the daemon for files that are not passed through only. Each is
// the operation of the same name of fuse_lowlevel_ops.
#pragma once

#include <fuse_lowlevel.h>

#include <cstddef>
#include <cstdint>

#include "session/context.h"
#include "sys/result.h"

namespace plyfs::session {

// After `node` was truncated by path: who reads the file that it was copied from, in passthrough,
// reads the copy from now on.
Result<void> follow_copy(fuse_req_t request, Context& context, fuse_ino_t node);

void open(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void create(fuse_req_t request, fuse_ino_t parent, const char* name, mode_t mode,
            fuse_file_info* info);
void tmpfile(fuse_req_t request, fuse_ino_t parent, mode_t mode, fuse_file_info* info);
void release(fuse_req_t request, fuse_ino_t node, fuse_file_info* info);
void read(fuse_req_t request, fuse_ino_t node, std::size_t size, off_t offset,
          fuse_file_info* info);
void write(fuse_req_t request, fuse_ino_t node, const char* bytes, std::size_t size, off_t offset,
           fuse_file_info* info);
void fsync(fuse_req_t request, fuse_ino_t node, int data_only, fuse_file_info* info);
void fallocate(fuse_req_t request, fuse_ino_t node, int mode, off_t offset, off_t length,
               fuse_file_info* info);
void copy_file_range(fuse_req_t request, fuse_ino_t node, off_t offset, fuse_file_info* info,
                     fuse_ino_t target_node, off_t target_offset, fuse_file_info* target_info,
                     std::size_t length, int flags);
void lseek(fuse_req_t request, fuse_ino_t node, off_t offset, int whence, fuse_file_info* info);
void ioctl(fuse_req_t request, fuse_ino_t node, unsigned command, void* argument,
           fuse_file_info* info, unsigned flags, const void* in, std::size_t in_size,
           std::size_t out_size);

}  // namespace plyfs::session
