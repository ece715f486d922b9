// SPDX-License-Identifier: GPL-2.0-or-later
//
// Opening. Every descriptor is close-on-exec; a final symlink is never followed.
#pragma once

#include <fcntl.h>

#include <string>
#include <sys/types.h>

#include "sys/name.h"
#include "sys/result.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {

// openat(2) of one component with O_CLOEXEC | O_NOFOLLOW added. `mode` counts with O_CREAT and is
// subject to the thread's umask. With O_TMPFILE use open_temporary. Retries EINTR.
Result<UniqueFd> open_at(int directory, Name name, int flags, mode_t mode = 0);

// O_PATH | O_DIRECTORY: a directory to stand on. ENOTDIR for anything else, symlinks included.
Result<UniqueFd> open_directory_at(int directory, Name name);

// The directory at `path` (components joined by '/', relative, not empty) below `directory`, as
// O_PATH. openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS.
Result<UniqueFd> open_directory_beneath(int directory, const std::string& path);

// An unnamed file in `directory` (O_TMPFILE). `flags` holds the access mode and may hold O_EXCL.
Result<UniqueFd> open_temporary(int directory, int flags, mode_t mode);

// A new open file description of what `descriptor` is open on (O_PATH will do), through
// /proc/self/fd. Symlinks can't be opened so: ELOOP.
Result<UniqueFd> reopen(int descriptor, int flags);

// A descriptor of an absolute path of the host, following symlinks: for what the user named on
// the command line, never for what lies in a branch.
Result<UniqueFd> open_host_path(const std::string& path, int flags);

// open(flags) with O_NOATIME added, which only the owner may ask for and CAP_FOWNER (open(2)): for
// others without it.
template <typename Open>
Result<UniqueFd> open_sparing_access_time(int flags, Open&& open) {
    auto opened = open(flags | O_NOATIME);
    if (!opened && opened.error() == EPERM) return open(flags);
    return opened;
}

// The flags of an open file description: F_GETFL of fcntl(2).
Result<int> open_flags(int descriptor);

// dup(2) with O_CLOEXEC.
Result<UniqueFd> duplicate(int descriptor);
// dup3(2): `descriptor` is open on what `other` is open on, from now on.
Result<void> replace(int descriptor, int other);

}  // namespace plyfs::sys
