// SPDX-License-Identifier: GPL-2.0-or-later
//
// `plyfs restart`.
#pragma once

#include <ostream>

#include "cli/command.h"

namespace plyfs::cli {

// Asks the daemon of a mount to let another process go on, and waits until that serves. Says on
// `messages` why it does not. Returns the exit code.
int restart(const RestartCommand& command, std::ostream& messages);

}  // namespace plyfs::cli
