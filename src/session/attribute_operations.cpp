// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/attribute_operations.h"

#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <string_view>
#include <vector>

#include "session/file_operations.h"
#include "session/reply.h"
#include "session/statistics_report.h"

namespace plyfs::session {
namespace {

// What libfuse has no name for: FATTR_KILL_SUIDGID of the kernel's protocol (1 << 11).
constexpr int kKillSuidGid = 1 << 11;

AttributeChange change_of(const struct stat& wanted, int which) {
    AttributeChange change;
    if ((which & FUSE_SET_ATTR_MODE) != 0) change.mode = wanted.st_mode;
    if ((which & FUSE_SET_ATTR_UID) != 0) change.uid = wanted.st_uid;
    if ((which & FUSE_SET_ATTR_GID) != 0) change.gid = wanted.st_gid;
    if ((which & FUSE_SET_ATTR_SIZE) != 0) change.size = wanted.st_size;
    if ((which & FUSE_SET_ATTR_ATIME) != 0) change.access_time = wanted.st_atim;
    if ((which & FUSE_SET_ATTR_MTIME) != 0) change.modification_time = wanted.st_mtim;
    if ((which & FUSE_SET_ATTR_ATIME_NOW) != 0) change.access_time = timespec{0, UTIME_NOW};
    if ((which & FUSE_SET_ATTR_MTIME_NOW) != 0) change.modification_time = timespec{0, UTIME_NOW};
    change.drop_set_id = (which & kKillSuidGid) != 0;
    return change;
}

void reply_attributes(fuse_req_t request, fuse_ino_t node, const Result<Attributes>& attributes) {
    if (!attributes) return reply_error(request, attributes.error());
    const struct stat answer = to_stat(*attributes);
    fuse_reply_attr(request, &answer, attribute_timeout(context_of(request), node));
}

// Answers with the bytes that `read(span)` puts into a span of `size`, or with their number where
// `size` is 0.
template <typename Read>
void reply_bytes(fuse_req_t request, std::size_t size, Read&& read) {
    std::vector<std::byte> bytes(size);
    const Result<std::size_t> filled = read(std::span(bytes));
    if (!filled) return reply_error(request, filled.error());
    if (size == 0) {
        fuse_reply_xattr(request, *filled);
    } else {
        fuse_reply_buf(request, reinterpret_cast<const char*>(bytes.data()), *filled);
    }
}

// Without posix_acl the kernel hands ACLs on like any other attribute: they would be kept, and
// nobody would obey them.
bool is_refused(const Context& context, std::string_view name) {
    return !context.options.posix_acl && name.starts_with("system.posix_acl_");
}

bool is_statistics(fuse_ino_t node, std::string_view name) {
    return node == kRootNode && name == kStatisticsAttribute;
}

// With an empty span how many bytes it takes, with room for what is counted until it is read.
Result<std::size_t> read_statistics(const Context& context, std::span<std::byte> value) {
    constexpr std::size_t kRoom = 1024;
    const std::string report = statistics_report(context);
    if (value.empty()) return report.size() + kRoom;
    if (value.size() < report.size()) return fail(ERANGE);
    std::memcpy(value.data(), report.data(), report.size());
    return report.size();
}

// listxattr(2) shows the names below `trusted.` to CAP_SYS_ADMIN only; the kernel leaves that to
// the file system, which knows of the caller's rights no more than the user. And what a branch
// calls like the statistics is not to be had.
bool is_listed(fuse_req_t request, fuse_ino_t node, std::string_view name) {
    if (is_statistics(node, name)) return false;
    return fuse_req_ctx(request)->uid == 0 || !name.starts_with("trusted.");
}

// Leaves those names for which keep(name) is true and returns how many bytes they take; each ends
// with a NUL.
template <typename Keep>
std::size_t keep_names(std::span<std::byte> names, Keep&& keep) {
    char* const all = reinterpret_cast<char*>(names.data());
    std::size_t kept = 0;
    for (std::size_t at = 0; at < names.size();) {
        const std::size_t length = ::strnlen(all + at, names.size() - at - 1) + 1;
        if (keep(std::string_view(all + at, length - 1))) {
            std::memmove(all + kept, all + at, length);
            kept += length;
        }
        at += length;
    }
    return kept;
}

#if FUSE_USE_VERSION >= 318
struct statx to_statx(const Attributes& attributes) {
    const auto stamp = [](const Timestamp& time) {
        struct statx_timestamp result{};
        result.tv_sec = time.seconds;
        result.tv_nsec = time.nanoseconds;
        return result;
    };
    struct statx result{};
    result.stx_mask = STATX_BASIC_STATS | (attributes.has_birth ? STATX_BTIME : 0);
    result.stx_blksize = attributes.block_size;
    result.stx_attributes = attributes.flags;
    result.stx_attributes_mask = attributes.flags_mask;
    result.stx_nlink = attributes.links;
    result.stx_uid = attributes.uid;
    result.stx_gid = attributes.gid;
    result.stx_mode = static_cast<std::uint16_t>(attributes.mode);
    result.stx_ino = attributes.inode;
    result.stx_size = attributes.size;
    result.stx_blocks = attributes.blocks;
    result.stx_atime = stamp(attributes.access_time);
    result.stx_btime = stamp(attributes.real.birth);
    result.stx_ctime = stamp(attributes.change_time);
    result.stx_mtime = stamp(attributes.modification_time);
    result.stx_rdev_major = major(attributes.device_number);
    result.stx_rdev_minor = minor(attributes.device_number);
    return result;
}
#endif

// Whether the caller may keep SGID of `node` when it sets an ACL: root, or in the file's group.
bool may_keep_set_id(fuse_req_t request, Context& context, fuse_ino_t node) {
    const fuse_ctx* const caller = fuse_req_ctx(request);
    if (caller->uid == 0) return true;
    const auto attributes = context.united.getattr(node);
    if (!attributes) return false;
    if (attributes->gid == caller->gid) return true;
    std::vector<gid_t> groups(64);
    const int count = fuse_req_getgroups(request, static_cast<int>(groups.size()), groups.data());
    if (count < 0) return false;
    groups.resize(std::min(groups.size(), static_cast<std::size_t>(count)));
    return std::ranges::find(groups, attributes->gid) != groups.end();
}

}  // namespace

void getattr(fuse_req_t request, fuse_ino_t node, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        reply_attributes(request, node,
                         context.united.getattr(node, info != nullptr ? info->fh : 0));
    });
}

void setattr(fuse_req_t request, fuse_ino_t node, struct stat* wanted, int which,
             fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto changed = context.united.setattr(Asked(request), node, change_of(*wanted, which),
                                                    info != nullptr ? info->fh : 0);
        if (!changed) return reply_parted(request, context, node, changed.error());
        if (info == nullptr && (which & FUSE_SET_ATTR_SIZE) != 0) {
            const auto moved = follow_copy(request, context, node);
            if (!moved) return reply_error(request, moved.error());
        }
        reply_attributes(request, node, changed);
    });
}

#if FUSE_USE_VERSION >= 318
void statx(fuse_req_t request, fuse_ino_t node, int /*flags*/, int /*mask*/, fuse_file_info* info) {
    serve(request, [&](Context& context) {
        const auto attributes = context.united.getattr(node, info != nullptr ? info->fh : 0);
        if (!attributes) return reply_error(request, attributes.error());
        struct statx answer = to_statx(*attributes);
        fuse_reply_statx(request, 0, &answer, attribute_timeout(context, node));
    });
}
#endif

void getxattr(fuse_req_t request, fuse_ino_t node, const char* name, std::size_t size) {
    serve(request, [&](Context& context) {
        if (is_refused(context, name)) return reply_error(request, Errno(EOPNOTSUPP));
        reply_bytes(request, size, [&](std::span<std::byte> value) {
            return is_statistics(node, name) ? read_statistics(context, value)
                                             : context.united.getxattr(node, name, value);
        });
    });
}

void listxattr(fuse_req_t request, fuse_ino_t node, std::size_t size) {
    serve(request, [&](Context& context) {
        reply_bytes(request, size, [&](std::span<std::byte> names) -> Result<std::size_t> {
            const std::size_t filled = TRY(context.united.listxattr(node, names));
            if (names.empty()) return filled;
            return keep_names(names.first(filled), [&](std::string_view name) {
                return is_listed(request, node, name);
            });
        });
    });
}

void setxattr(fuse_req_t request, fuse_ino_t node, const char* name, const char* value,
              std::size_t size, int flags) {
    serve(request, [&](Context& context) {
        if (is_refused(context, name)) return reply_error(request, Errno(EOPNOTSUPP));
        if (is_statistics(node, name)) return reply_error(request, Errno(EPERM));
        const bool is_acl = std::strcmp(name, "system.posix_acl_access") == 0;
        const bool keep_set_id = is_acl && may_keep_set_id(request, context, node);
        const auto bytes = std::as_bytes(std::span(value, size));
        reply_status(request, context.united.setxattr(Asked(request), node, name, bytes, flags,
                                                      keep_set_id));
    });
}

void removexattr(fuse_req_t request, fuse_ino_t node, const char* name) {
    serve(request, [&](Context& context) {
        if (is_refused(context, name)) return reply_error(request, Errno(EOPNOTSUPP));
        if (is_statistics(node, name)) return reply_error(request, Errno(EPERM));
        reply_status(request, context.united.removexattr(Asked(request), node, name));
    });
}

void statfs(fuse_req_t request, fuse_ino_t /*node*/) {
    serve(request, [&](Context& context) {
        const FileSystemSpace space = context.united.statfs();
        struct statvfs answer{};
        answer.f_bsize = space.block_size;
        answer.f_frsize = space.unit;
        answer.f_blocks = space.blocks;
        answer.f_bfree = space.free_blocks;
        answer.f_bavail = space.available_blocks;
        answer.f_files = space.files;
        answer.f_ffree = space.free_files;
        answer.f_favail = space.available_files;
        answer.f_namemax = space.name_max;
        fuse_reply_statfs(request, &answer);
    });
}

}  // namespace plyfs::session
