// SPDX-License-Identifier: GPL-2.0-or-later
//
// Writable branches on which nothing waits for the disk carry the mark of overlayfs's `volatile` as
// long as they are mounted (format/overlay_work.h). After a crash it keeps plyfs and the kernel's
// overlayfs from taking them for good. It is in the work directory.
//
// Thread-safe.
#pragma once

#include <string>
#include <vector>

#include "union/branch.h"

namespace plyfs {

// Marks because of which the branch must not be written, "volatile" or another feature's; empty:
// it may be. Touches nothing. Errnos: of format::incompatible_features.
Result<std::vector<std::string>> blocking_marks(const Branch& branch);

// Before the first change; on disk by the return. Errnos: of WorkDirectory::work and
// format::set_volatile.
Result<void> mark_volatile(const Branch& branch);

// At unmount: waits until everything of the branch's file system is on disk (syncfs(2)), and takes
// the mark away. Where that fails it stays.
Result<void> unmark_volatile(const Branch& branch);

}  // namespace plyfs
