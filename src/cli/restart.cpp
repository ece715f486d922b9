// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/restart.h"

#include <fcntl.h>
#include <sys/ioctl.h>

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <thread>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "cli/stats.h"
#include "session/restarts.h"
#include "sys/open.h"

namespace plyfs::cli {

namespace {

constexpr std::chrono::milliseconds kPause{20};
// The daemon gives up earlier.
constexpr std::chrono::minutes kPatience{2};

// What the statistics say of restarts.
struct Restarted {
    std::uint64_t done = 0;
    std::uint64_t failed = 0;
    std::string reason;
};

std::expected<Restarted, std::string> look(const std::string& mountpoint) {
    const auto report = read_statistics(mountpoint);
    if (!report) return std::unexpected(report.error());
    const auto json = nlohmann::json::parse(*report, nullptr, false);
    // The library's barrier.
    try {
        const auto& daemon = json.at("daemon");
        return Restarted{daemon.at("restarts"), daemon.at("failed_restarts"),
                         daemon.at("failed_because")};
    } catch (const nlohmann::json::exception&) {
        return std::unexpected("its daemon is of an older version, which can't be restarted");
    }
}

std::expected<void, std::string> ask(const std::string& mountpoint) {
    const auto root = sys::open_host_path(mountpoint, O_RDONLY | O_DIRECTORY);
    if (!root) return std::unexpected(root.error().message());
    if (::ioctl(root->get(), session::kRestartCommand) == 0) return {};
    const Errno error = Errno::last();
    return std::unexpected(error == EPERM ? "only root and who mounted it may restart its daemon"
                                          : std::string(error.message()));
}

std::expected<void, std::string> restart(const std::string& mountpoint) {
    const auto before = look(mountpoint);
    if (!before) return std::unexpected(before.error());
    if (auto asked = ask(mountpoint); !asked) return asked;
    const auto until = std::chrono::steady_clock::now() + kPatience;
    while (std::chrono::steady_clock::now() < until) {
        std::this_thread::sleep_for(kPause);
        const auto now = look(mountpoint);
        if (!now) return std::unexpected(now.error());
        if (now->done > before->done) return {};
        if (now->failed > before->failed) {
            return std::unexpected("not restarted, the daemon goes on: " + now->reason);
        }
    }
    return std::unexpected("its daemon does not answer");
}

}  // namespace

int restart(const RestartCommand& command, std::ostream& messages) {
    const auto restarted = restart(command.mountpoint);
    if (restarted) return kSuccess;
    messages << message_line(fmt::format("{}: {}", command.mountpoint, restarted.error()));
    return kFailure;
}

}  // namespace plyfs::cli
