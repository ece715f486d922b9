// SPDX-License-Identifier: GPL-2.0-or-later
//
// `plyfs umount`.
#pragma once

#include <ostream>

#include "cli/command.h"

namespace plyfs::cli {

// Unmounts each mountpoint and says on `messages` what went wrong. Only plyfs mounts are touched,
// also ones whose daemon has died. Root unmounts itself, others through fusermount3. Returns the
// exit code: that of a failure if any mountpoint failed.
int umount(const UmountCommand& command, std::ostream& messages);

}  // namespace plyfs::cli
