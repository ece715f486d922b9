// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/statx.h"

#include <fcntl.h>
#include <sys/sysmacros.h>

#include "sys/fault.h"

namespace plyfs::sys {
namespace {

Timestamp timestamp(const statx_timestamp& time) {
    return {time.tv_sec, time.tv_nsec};
}

Result<Attributes> statx_call(int directory, const char* path, int flags) {
    if (const int error = fault::check()) return fail(error);
    struct statx stx{};
    constexpr unsigned kMask = STATX_BASIC_STATS | STATX_BTIME;
    if (::statx(directory, path, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, kMask, &stx) != 0) {
        return fail(Errno::last());
    }
    Attributes attributes;
    attributes.real.device = makedev(stx.stx_dev_major, stx.stx_dev_minor);
    attributes.real.inode = stx.stx_ino;
    attributes.has_birth = (stx.stx_mask & STATX_BTIME) != 0;
    if (attributes.has_birth) attributes.real.birth = timestamp(stx.stx_btime);
    attributes.inode = stx.stx_ino;
    attributes.mode = stx.stx_mode;
    attributes.links = stx.stx_nlink;
    attributes.uid = stx.stx_uid;
    attributes.gid = stx.stx_gid;
    attributes.device_number = makedev(stx.stx_rdev_major, stx.stx_rdev_minor);
    attributes.size = stx.stx_size;
    attributes.blocks = stx.stx_blocks;
    attributes.block_size = stx.stx_blksize;
    attributes.access_time = timestamp(stx.stx_atime);
    attributes.modification_time = timestamp(stx.stx_mtime);
    attributes.change_time = timestamp(stx.stx_ctime);
    attributes.flags = stx.stx_attributes;
    attributes.flags_mask = stx.stx_attributes_mask;
    return attributes;
}

}  // namespace

Result<Attributes> stat_at(int directory, Name name) {
    return statx_call(directory, name.c_str(), 0);
}

Result<Attributes> stat_descriptor(int descriptor) {
    return statx_call(descriptor, "", AT_EMPTY_PATH);
}

}  // namespace plyfs::sys
