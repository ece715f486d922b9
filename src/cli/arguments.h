// SPDX-License-Identifier: GPL-2.0-or-later
//
// The syntax of each command's arguments: what CLI11 knows, and nothing of what they mean.
#pragma once

#include <expected>
#include <string>
#include <variant>
#include <vector>

namespace plyfs::cli {

// Union of what mounting, the mount helper and checking take.
struct MountArguments {
    std::string source;
    std::string mountpoint;
    std::vector<std::string> option_lists;
    bool foreground = false;
    bool debug = false;
    bool fake = false;
    bool sloppy = false;
    bool verbose = false;
    std::string mount_namespace;  // -N: a file below /proc; "" none
};

struct UmountArguments {
    std::vector<std::string> mountpoints;
    bool lazy = false;
};

struct StatsArguments {
    std::string mountpoint;
    bool json = false;
    unsigned interval = 0;  // seconds; 0 once
};

struct RestartArguments {
    std::string mountpoint;
};

struct HelpText {
    std::string text;
};

struct UsageError {
    std::string reason;
};

template <typename Arguments>
using ParsedArguments = std::expected<std::variant<Arguments, HelpText>, UsageError>;

// `words` are what follows the name of the program and of the command.
ParsedArguments<MountArguments> parse_mount(const std::vector<std::string>& words);
ParsedArguments<MountArguments> parse_mount_helper(const std::vector<std::string>& words);
ParsedArguments<MountArguments> parse_check(const std::vector<std::string>& words);
ParsedArguments<UmountArguments> parse_umount(const std::vector<std::string>& words);
ParsedArguments<StatsArguments> parse_stats(const std::vector<std::string>& words);
ParsedArguments<RestartArguments> parse_restart(const std::vector<std::string>& words);

}  // namespace plyfs::cli
