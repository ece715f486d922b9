// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a command line asks for. Plain values.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "config/configuration.h"

namespace plyfs::cli {

// Exit codes. A mount helper's are mount(8)'s.
inline constexpr int kSuccess = 0;
inline constexpr int kFailure = 1;
inline constexpr int kUsage = 2;
inline constexpr int kHelperUsage = 1;
inline constexpr int kHelperFailure = 32;

// Mount what the configuration says. It is loaded and validated.
struct MountCommand {
    config::Configuration configuration;
    bool fake = false;  // mount -f: everything but the mount itself
    bool verbose = false;
    int failure = kFailure;  // the exit code if it cannot be mounted
};

struct UmountCommand {
    std::vector<std::string> mountpoints;  // as given
    bool lazy = false;                     // detach now, clean up when no longer busy
};

// Print the configuration (config::dump) and its warnings. It is loaded and validated.
struct CheckCommand {
    config::Configuration configuration;
};

// Print what the daemon of a mount has counted.
struct StatsCommand {
    std::string mountpoint;                        // as given
    bool json = false;                             // as the daemon reports it, instead of text
    std::optional<std::chrono::seconds> interval;  // again and again; at least a second
};

// Let another process of the program go on with a mount.
struct RestartCommand {
    std::string mountpoint;  // as given
};

// Go on with the mount of the daemon that started this process with a socket at this descriptor.
struct TakeOverCommand {
    int channel = -1;
};

struct VersionCommand {};

struct HelpCommand {
    std::string text;  // ends with a newline; for stdout
};

using Command = std::variant<MountCommand, UmountCommand, CheckCommand, StatsCommand,
                             RestartCommand, TakeOverCommand, VersionCommand, HelpCommand>;

// A command line that cannot be carried out.
struct Failure {
    int exit_code;
    std::string text;  // for stderr: lines that begin with `plyfs: `, each with its newline
};

// One line for stderr.
std::string message_line(const std::string& text);

}  // namespace plyfs::cli
