// SPDX-License-Identifier: GPL-2.0-or-later
//
// From argv to a Command:
//
//   plyfs [mount] SOURCE [MOUNTPOINT] [-o OPTIONS]... [-f] [-d]
//   plyfs -o lowerdir=LOWER[:...][,upperdir=UPPER,workdir=WORK][,...] MOUNTPOINT
//   plyfs umount [-l] MOUNTPOINT...
//   plyfs check SOURCE [MOUNTPOINT] [-o OPTIONS]...
//   plyfs stats [--json] [-w SECONDS] MOUNTPOINT
//   mount.plyfs SOURCE MOUNTPOINT [-sfnv] [-N NAMESPACE] [-t TYPE] [-o OPTIONS]
//
// The last form is taken if the program's name begins with `mount.`. SOURCE is a branch list or a
// YAML file. A directory that is called like a command is given as `./mount`.
#pragma once

#include <expected>

#include "cli/command.h"

namespace plyfs::cli {

// Reads the configuration too, and validates it. Touches nothing but, with -N, the process's mount
// namespace: call it before there are threads.
std::expected<Command, Failure> parse_command_line(int argc, const char* const* argv);

}  // namespace plyfs::cli
