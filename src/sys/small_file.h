// SPDX-License-Identifier: GPL-2.0-or-later
//
// Small files as a whole, directories made durable, and random bytes: what records on disk need.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::sys {

// The bytes of a regular file. EFBIG: there are more than `limit`. EINVAL: not a regular file.
// Else the errnos of openat(2) and pread(2).
Result<std::string> read_small_file(int directory, Name name, std::size_t limit);

// Makes the file with these bytes and waits until they are on disk (fsync). Its name is not on
// disk until the directory is synchronized; after an error it may exist, with part of the bytes.
// EEXIST: something of that name is there.
Result<void> write_new_file(int directory, Name name, std::string_view bytes, mode_t mode);

// fsync(2) of a directory (O_PATH will do): its names are on disk. File systems that know no such
// thing (EINVAL, EOPNOTSUPP) have nothing to wait for.
Result<void> synchronize_directory(int directory);

// syncfs(2): everything of the file system that `directory` (O_PATH will do) is on.
Result<void> synchronize_file_system(int directory);

// getrandom(2).
Result<void> random_bytes(std::span<std::byte> bytes);

}  // namespace plyfs::sys
