// SPDX-License-Identifier: GPL-2.0-or-later
//
// `plyfs stats`.
#pragma once

#include <expected>
#include <ostream>
#include <string>

#include "cli/command.h"

namespace plyfs::cli {

// The statistics of the plyfs mounted at `mountpoint`, as its daemon reports them: JSON on one
// line. Else the reason why there are none, in words for the user. Waits for the daemon.
std::expected<std::string, std::string> read_statistics(const std::string& mountpoint);

// Prints them on `output`, again and again if asked to, until they can't be had or printed any
// more. Says on `messages` what went wrong. Returns the exit code.
int stats(const StatsCommand& command, std::ostream& output, std::ostream& messages);

}  // namespace plyfs::cli
