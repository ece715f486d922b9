// SPDX-License-Identifier: GPL-2.0-or-later
#include "cli/mount_namespace.h"

#include <fcntl.h>
#include <sched.h>

#include <cerrno>

#include "sys/unique_fd.h"

namespace plyfs::cli {

std::error_code enter_mount_namespace(const std::string& file) {
    const UniqueFd descriptor(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
    if (!descriptor || ::setns(descriptor.get(), CLONE_NEWNS) != 0)
        return {errno, std::generic_category()};
    return {};
}

}  // namespace plyfs::cli
