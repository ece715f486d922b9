// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/place.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace plyfs::config {

namespace {

// The part of `path` after `prefix`, with its slash, if `path` is `prefix` or below it.
bool strip_prefix(std::string_view path, std::string_view prefix, std::string_view& rest) {
    if (prefix == "/") prefix = "";
    if (!path.starts_with(prefix)) return false;
    rest = path.substr(prefix.size());
    return rest.empty() || rest.front() == '/';
}

bool is_below_path(std::string_view inner, std::string_view outer) {
    std::string_view rest;
    return strip_prefix(inner, outer, rest) && rest.size() > 1;
}

void find_in_table(unsigned long mount_id, const std::vector<MountedFileSystem>& table,
                   Place& place) {
    const auto mounted = std::ranges::find(table, mount_id, &MountedFileSystem::id);
    std::string_view rest;
    if (mounted == table.end() || !strip_prefix(place.path, mounted->mountpoint, rest)) return;
    place.file_system = mounted->device;
    place.path_within =
        mounted->root == "/" ? std::string(rest) : mounted->root + std::string(rest);
    if (place.path_within.empty()) place.path_within = "/";
}

}  // namespace

std::error_code find_place(const std::string& path, const std::vector<MountedFileSystem>& table,
                           Place& place) {
    struct statx status{};
    if (statx(AT_FDCWD, path.c_str(), AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO | STATX_MNT_ID,
              &status) != 0)
        return {errno, std::generic_category()};
    place.path = path;
    place.directory = S_ISDIR(status.stx_mode);
    place.device = (std::uint64_t{status.stx_dev_major} << 32) | status.stx_dev_minor;
    place.inode = status.stx_ino;
    if ((status.stx_mask & STATX_MNT_ID) != 0) {
        place.mount = status.stx_mnt_id;
        find_in_table(static_cast<unsigned long>(status.stx_mnt_id), table, place);
    }

    struct statvfs space{};
    if (statvfs(path.c_str(), &space) == 0) {
        place.capacity = std::uint64_t{space.f_blocks} * space.f_frsize;
        place.read_only = (space.f_flag & ST_RDONLY) != 0;
    }
    return {};
}

bool is_same(const Place& a, const Place& b) {
    return a.device == b.device && a.inode == b.inode;
}

bool is_below(const Place& inner, const Place& outer) {
    if (is_below_path(inner.path, outer.path)) return true;
    return !inner.file_system.empty() && inner.file_system == outer.file_system &&
           is_below_path(inner.path_within, outer.path_within);
}

}  // namespace plyfs::config
