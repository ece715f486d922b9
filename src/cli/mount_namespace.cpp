// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/mount_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <cerrno>

namespace plyfs::cli {

std::error_code enter_mount_namespace(const std::string& file) {
    const int descriptor = open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) return {errno, std::generic_category()};
    std::error_code error;
    if (setns(descriptor, CLONE_NEWNS) != 0) error = {errno, std::generic_category()};
    close(descriptor);
    return error;
}

}  // namespace plyfs::cli
