// SPDX-License-Identifier: GPL-2.0-or-later
//
// The names of the kernel's requests (enum fuse_opcode of <linux/fuse.h>), by number.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace plyfs::session {

// clang-format off
inline constexpr auto kRequestNames = std::to_array<std::string_view>({
    "?", "LOOKUP", "FORGET", "GETATTR", "SETATTR", "READLINK", "SYMLINK", "?", "MKNOD", "MKDIR",
    "UNLINK", "RMDIR", "RENAME", "LINK", "OPEN", "READ", "WRITE", "STATFS", "RELEASE", "?", "FSYNC",
    "SETXATTR", "GETXATTR", "LISTXATTR", "REMOVEXATTR", "FLUSH", "INIT", "OPENDIR", "READDIR",
    "RELEASEDIR", "FSYNCDIR", "GETLK", "SETLK", "SETLKW", "ACCESS", "CREATE", "INTERRUPT", "BMAP",
    "DESTROY", "IOCTL", "POLL", "NOTIFY_REPLY", "BATCH_FORGET", "FALLOCATE", "READDIRPLUS",
    "RENAME2", "LSEEK", "COPY_FILE_RANGE", "SETUPMAPPING", "REMOVEMAPPING", "SYNCFS", "TMPFILE",
    "STATX", "COPY_FILE_RANGE_64"
});
// clang-format on

// "?" for a number that has none.
constexpr std::string_view request_name(std::uint32_t opcode) {
    return opcode < kRequestNames.size() ? kRequestNames[opcode] : "?";
}

}  // namespace plyfs::session
