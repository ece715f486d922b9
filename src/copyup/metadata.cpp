// SPDX-License-Identifier: GPL-2.0-or-later
#include "copyup/metadata.h"

#include <linux/fs.h>

#include <string>

#include "sys/credentials.h"
#include "sys/data.h"
#include "sys/metadata.h"

namespace plyfs::copyup {
namespace {

constexpr std::uint32_t kKeptFlags = FS_SYNC_FL | FS_NOATIME_FL | FS_NODUMP_FL | FS_DIRSYNC_FL;

timespec to_timespec(const Timestamp& time) {
    return {time.seconds, static_cast<long>(time.nanoseconds)};
}

// What says who may do what: a copy without it would allow more, or less.
bool guards_access(std::string_view name) {
    return name.starts_with("security.") || name == "system.posix_acl_access" ||
           name == "system.posix_acl_default";
}

bool may_be_lost(std::string_view name, Errno error, LostXattrs lost) {
    switch (lost) {
        case LostXattrs::AsOverlayfs: return error == EOPNOTSUPP && !guards_access(name);
        case LostXattrs::LeftOut: return error == EOPNOTSUPP || error == EPERM;
    }
    return false;
}

// What file systems without inode flags answer; ntfs3 and FUSE have errnos of their own.
bool has_no_flags(Errno error) {
    return error == ENOTTY || error == EOPNOTSUPP || error == EINVAL || error == ENOSYS;
}

}  // namespace

Result<void> copy_xattrs(int source, int target, const XattrOptions& options) {
    const auto names = sys::xattr_names(source);
    if (!names) return names.error() == EOPNOTSUPP ? Result<void>{} : fail(names.error());
    for (const std::string& name : *names) {
        if (options.leave_out && options.leave_out(name)) continue;
        const auto value = sys::xattr_value(source, name.c_str());
        if (!value && value.error() == ENODATA) continue;
        const auto set = sys::set_xattr(target, name.c_str(), TRY(value), 0);
        if (!set && !may_be_lost(name, set.error(), options.lost)) return set;
    }
    return {};
}

Result<void> copy_ownership(int source, const Attributes& source_attributes, int target,
                            const XattrOptions& options) {
    // chown(2) takes away SUID, SGID and security.capability; setting an ACL changes the group's
    // permission bits, and can take away SGID.
    TRY(sys::change_owner(target, source_attributes.uid, source_attributes.gid));
    TRY(copy_xattrs(source, target, options));
    if (S_ISLNK(source_attributes.mode)) return {};
    const sys::KeepSetId keep((source_attributes.mode & S_ISGID) != 0);
    return sys::change_mode(target, source_attributes.mode & 07777);
}

Result<void> copy_times(const Attributes& source_attributes, int target) {
    return sys::change_times(target, to_timespec(source_attributes.access_time),
                             to_timespec(source_attributes.modification_time));
}

Result<std::uint32_t> inode_flags(int source) {
    const auto flags = sys::inode_flags(source);
    if (!flags && has_no_flags(flags.error())) return std::uint32_t{0};
    return flags;
}

Result<void> copy_inode_flags(std::uint32_t flags, int target) {
    const auto inherited = sys::inode_flags(target);
    if (!inherited)
        return has_no_flags(inherited.error()) ? Result<void>{} : fail(inherited.error());
    const std::uint32_t wanted = (*inherited & ~kKeptFlags) | (flags & kKeptFlags);
    if (wanted == *inherited) return {};
    const auto set = sys::set_inode_flags(target, wanted);
    return !set && has_no_flags(set.error()) ? Result<void>{} : set;
}

std::uint32_t protecting_flags(std::uint32_t flags) {
    return flags & (FS_APPEND_FL | FS_IMMUTABLE_FL);
}

bool has_kept_flags(std::uint32_t flags) {
    return (flags & kKeptFlags) != 0;
}

}  // namespace plyfs::copyup
