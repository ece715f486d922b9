// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/file_system_identity.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <bit>

#include "sys/fault.h"
#include "sys/open.h"

namespace plyfs::sys {
namespace {

// FS_IOC_GETFSUUID and its struct fsuuid2 (include/uapi/linux/fs.h since Linux 6.9), under names
// of our own: Debian 12's headers lack them. The VFS answers it for any file system; ENOTTY where
// the file system has set no UUID.
struct FsUuid {
    std::uint8_t length;
    std::array<std::uint8_t, 16> uuid;
};
constexpr decltype(statfs::f_type) kFuseMagic = 0x65735546;  // FUSE_SUPER_MAGIC
constexpr unsigned long kGetFsUuid = _IOR(0x15, 0, FsUuid);
static_assert(kGetFsUuid == 0x80111500);

// ioctl(2) is refused on an O_PATH descriptor, and devices, FIFOs and sockets must not be opened.
Result<UniqueFd> readable(int descriptor) {
    if (const int error = fault::check()) return fail(error);
    struct stat status{};
    if (::fstat(descriptor, &status) != 0) return fail(Errno::last());
    if (!S_ISDIR(status.st_mode) && !S_ISREG(status.st_mode)) return fail(EINVAL);
    return reopen(descriptor, O_RDONLY | O_NONBLOCK);
}

// A failure of either ioctl means that no UUID is to be had: ENOTTY, or whatever a driver says that
// sees the unknown number on an older kernel.
void ask_vfs(int descriptor, FileSystemIdentity& identity) {
    FsUuid answer{};
    if (::ioctl(descriptor, kGetFsUuid, &answer) != 0) return;
    identity.uuid = answer.uuid;
    identity.uuid_length = std::min<std::uint8_t>(answer.length, 16);
}

// btrfs keeps its UUID from the VFS (seen on Linux 6.18) and has an older ioctl of its own.
void ask_btrfs(int descriptor, FileSystemIdentity& identity) {
    btrfs_ioctl_fs_info_args answer{};
    if (::ioctl(descriptor, BTRFS_IOC_FS_INFO, &answer) != 0) return;
    std::copy_n(answer.fsid, identity.uuid.size(), identity.uuid.begin());
    identity.uuid_length = 16;
}

}  // namespace

Result<FileSystemIdentity> file_system_identity(int descriptor) {
    FileSystemIdentity identity;

    if (const int error = fault::check()) return fail(error);
    struct statfs status{};
    if (::fstatfs(descriptor, &status) != 0) return fail(Errno::last());
    identity.fsid = std::bit_cast<std::uint64_t>(status.f_fsid);
    identity.has_subvolumes = status.f_type == BTRFS_SUPER_MAGIC;

    const UniqueFd opened = TRY(readable(descriptor));
    if (const int error = fault::check()) return fail(error);
    if (identity.has_subvolumes) {
        ask_btrfs(opened.get(), identity);
    } else {
        ask_vfs(opened.get(), identity);
    }
    return identity;
}

bool may_be_stacked(int descriptor) {
    struct statfs status{};
    if (::fstatfs(descriptor, &status) != 0) return false;
    return status.f_type == OVERLAYFS_SUPER_MAGIC || status.f_type == ECRYPTFS_SUPER_MAGIC ||
           status.f_type == kFuseMagic;
}

}  // namespace plyfs::sys
