// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/file_system_space.h"

#include <sys/statvfs.h>

#include "sys/fault.h"

namespace plyfs::sys {

Result<FileSystemSpace> file_system_space(int descriptor) {
    if (const int error = fault::check()) return fail(error);
    struct statvfs status{};
    int outcome = 0;
    do {
        outcome = ::fstatvfs(descriptor, &status);
    } while (outcome != 0 && errno == EINTR);
    if (outcome != 0) return fail(Errno::last());

    FileSystemSpace space;
    space.block_size = status.f_bsize;
    space.unit = status.f_frsize != 0 ? status.f_frsize : status.f_bsize;
    space.blocks = status.f_blocks;
    space.free_blocks = status.f_bfree;
    space.available_blocks = status.f_bavail;
    space.files = status.f_files;
    space.free_files = status.f_ffree;
    space.available_files = status.f_favail;
    space.name_max = status.f_namemax;
    space.read_only = (status.f_flag & ST_RDONLY) != 0;
    return space;
}

}  // namespace plyfs::sys
