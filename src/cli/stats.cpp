// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/stats.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <thread>

#include <fmt/format.h>

#include "cli/statistics_text.h"
#include "config/mount_table.h"
#include "session/statistics.h"
#include "sys/metadata.h"
#include "sys/open.h"

namespace plyfs::cli {

namespace {

// A directory that is to be asked for statistics.
struct Asked {
    std::string fault;                                   // why it can't be, or ""
    std::optional<config::MountedFileSystem> mounted{};  // none where /proc does not tell
};

Asked look(int directory) {
    struct statx status{};
    // The daemon is not asked: it may be dead.
    constexpr int kFlags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    if (::statx(directory, "", kFlags, STATX_MNT_ID, &status) != 0) {
        return {Errno::last().message()};
    }
    if ((status.stx_mask & STATX_MNT_ID) == 0) return {""};  // before Linux 5.8
    const auto table = config::read_mount_table();
    const auto mounted = std::ranges::find(table, static_cast<unsigned long>(status.stx_mnt_id),
                                           &config::MountedFileSystem::id);
    if ((status.stx_attributes & STATX_ATTR_MOUNT_ROOT) == 0) {
        const bool inside = mounted != table.end() && config::is_plyfs(*mounted);
        return {inside ? "not a mountpoint: the plyfs is mounted at " + mounted->mountpoint
                       : "not a mountpoint"};
    }
    if (mounted == table.end()) return {""};
    // Others may be plyfs with a subtype of the user's.
    if (!mounted->type.starts_with("fuse")) return {"not a plyfs mount but " + mounted->type};
    if (config::is_plyfs(*mounted) && mounted->root != "/") {
        return {"not the root of a plyfs but its directory " + mounted->root};
    }
    return {"", *mounted};
}

std::string refusal_text(Errno error, const Asked& asked) {
    switch (error.code()) {
        case ENODATA:
        case EOPNOTSUPP:
        case ENOSYS:
            return !asked.mounted || config::is_plyfs(*asked.mounted)
                       ? "has no statistics: its daemon is of an older version"
                       : "not a plyfs mount but " + asked.mounted->type;
        case EACCES: return "statistics take the right to read the root of the mount";
        case ENOTCONN: return "its daemon has ended: unmount it (plyfs umount)";
        default: return error.message();
    }
}

}  // namespace

std::expected<std::string, std::string> read_statistics(const std::string& mountpoint) {
    const auto directory = sys::open_host_path(mountpoint, O_PATH | O_DIRECTORY);
    if (!directory) return std::unexpected(directory.error().message());
    const Asked asked = look(directory->get());
    if (!asked.fault.empty()) return std::unexpected(asked.fault);
    const auto value = sys::xattr_value(directory->get(), session::kStatisticsAttribute);
    if (!value) return std::unexpected(refusal_text(value.error(), asked));
    return std::string(reinterpret_cast<const char*>(value->data()), value->size());
}

int stats(const StatsCommand& command, std::ostream& output, std::ostream& messages) {
    const auto give_up = [&](const std::string& reason) {
        messages << message_line(fmt::format("{}: {}", command.mountpoint, reason));
        return kFailure;
    };
    for (bool first = true;; first = false) {
        const auto report = read_statistics(command.mountpoint);
        if (!report) return give_up(report.error());
        const auto text = statistics_text(*report);
        if (!text) return give_up("its statistics are not understood");
        if (command.json) {
            output << *report << '\n';
        } else {
            output << (first ? "" : "\n") << *text;
        }
        output.flush();
        if (!output) return give_up("could not be printed");
        if (!command.interval) return kSuccess;
        std::this_thread::sleep_for(*command.interval);
    }
}

}  // namespace plyfs::cli
