// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/umount.h"

#include <spawn.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <ranges>

#include <fmt/format.h>

#include "config/mount_table.h"

namespace plyfs::cli {

namespace {

namespace fs = std::filesystem;

using MountTable = std::vector<config::MountedFileSystem>;

// Null if nothing is mounted at `path`; of several mounts the one on top.
const config::MountedFileSystem* find_mount(const MountTable& table, const std::string& path) {
    const auto newest_first = table | std::views::reverse;
    const auto found =
        std::ranges::find(newest_first, path, &config::MountedFileSystem::mountpoint);
    return found == newest_first.end() ? nullptr : &*found;
}

// The real path without looking at the last component, which may be a mount that does not answer.
std::string mountpoint_path(const std::string& given) {
    std::error_code error;
    fs::path path = fs::absolute(given, error).lexically_normal();
    if (!path.has_filename()) path = path.parent_path();
    const fs::path parent = fs::canonical(path.parent_path(), error);
    return error ? path.string() : (parent / path.filename()).string();
}

// Whether fusermount3 did it; it prints its own reason.
bool unmount_as_user(const std::string& path, bool lazy) {
    std::string words[] = {"fusermount3", lazy ? "-uz" : "-u", "--", path};
    char* arguments[] = {words[0].data(), words[1].data(), words[2].data(), words[3].data(),
                         nullptr};
    pid_t child = 0;
    if (::posix_spawnp(&child, "fusermount3", nullptr, nullptr, arguments, environ) != 0)
        return false;
    int status = 0;
    while (::waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return false;
    return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// "" when unmounted, else the reason.
std::string unmount(const std::string& path, bool lazy) {
    if (::geteuid() == 0) {
        if (::umount2(path.c_str(), UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0) return "";
        if (errno == EBUSY)
            return "busy: `fuser -vm " + path + "` shows by whom; -l unmounts lazily";
        if (errno != EPERM) return std::generic_category().message(errno);
    }
    return unmount_as_user(path, lazy) ? "" : "fusermount3 did not unmount it";
}

std::string unmount_checked(const std::string& given, bool lazy) {
    const MountTable table = config::read_mount_table();
    std::string path = mountpoint_path(given);
    const auto* mounted = find_mount(table, path);
    if (mounted == nullptr) {  // perhaps a symlink to it
        std::error_code error;
        const fs::path real = fs::canonical(path, error);
        if (!error) path = real.string();
        mounted = find_mount(table, path);
    }
    if (mounted == nullptr) return "nothing is mounted there";
    if (!config::is_plyfs(*mounted))
        return "not a plyfs mount but " + mounted->type + ": use umount(8)";
    return unmount(path, lazy);
}

}  // namespace

int umount(const UmountCommand& command, std::ostream& messages) {
    int exit_code = kSuccess;
    for (const std::string& mountpoint : command.mountpoints) {
        const std::string reason = unmount_checked(mountpoint, command.lazy);
        if (reason.empty()) continue;
        messages << message_line(fmt::format("{}: {}", mountpoint, reason));
        exit_code = kFailure;
    }
    return exit_code;
}

}  // namespace plyfs::cli
