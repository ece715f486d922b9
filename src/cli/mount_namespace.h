// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include <string>
#include <system_error>

namespace plyfs::cli {

// Moves the process into the mount namespace that `file` stands for (/proc/PID/ns/mnt, or a
// descriptor of mount(8) under /proc). Only while there is one thread. The error is the system's.
std::error_code enter_mount_namespace(const std::string& file);

}  // namespace plyfs::cli
