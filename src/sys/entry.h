// SPDX-License-Identifier: GPL-2.0-or-later
//
// Names in directories: making, linking, renaming and removing them. Each is the system call of
// the same name, with its errnos, on a directory descriptor (O_PATH will do) and one component.
#pragma once

#include <string>
#include <sys/types.h>

#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::sys {

Result<void> make_directory(int directory, Name name, mode_t mode);
Result<void> make_node(int directory, Name name, mode_t mode, dev_t device);
Result<void> make_symlink(int directory, Name name, const char* target);

// A further name for `old_name`; a symlink is linked itself, not followed.
Result<void> link(int old_directory, Name old_name, int new_directory, Name new_name);

// A name for the open object `descriptor` (an unnamed file or an unlinked one whose link count
// the file system lets rise again: ENOENT where not).
Result<void> link_descriptor(int descriptor, int new_directory, Name new_name);

Result<void> remove_name(int directory, Name name);
Result<void> remove_directory(int directory, Name name);

// `flags` are RENAME_* of renameat2(2).
Result<void> rename(int old_directory, Name old_name, int new_directory, Name new_name,
                    unsigned flags);

// The target of a symlink.
Result<std::string> read_link(int directory, Name name);
// The same for a symlink held as an O_PATH descriptor.
Result<std::string> read_link(int descriptor);

}  // namespace plyfs::sys
