// SPDX-License-Identifier: GPL-2.0-or-later
//
// The bytes of one regular file, copied in the cheapest way that the two file systems allow: shared
// (FICLONE), else copied by the kernel (copy_file_range), else read and written. Holes stay holes.
//
// Owns no descriptors. Functions of their own state: any number of threads at once.
#pragma once

#include <cstdint>
#include <functional>

#include "sys/attributes.h"
#include "sys/result.h"

namespace plyfs::copyup {

// Who watches a long copy; called from the copying thread, between pieces of at most 8 MiB. Both
// may be empty. They must not throw.
struct Observer {
    std::function<bool()> cancelled;              // true: the copy ends with EINTR
    std::function<void(std::uint64_t)> advanced;  // bytes of data so far, holes not counted
};

enum class DataOrigin : std::uint8_t {
    None,    // there were no bytes, or none were wanted
    Cloned,  // the copy shares the source's blocks
    Copied,  // by the kernel, which may still have shared them, or by reading and writing
};

struct CopiedData {
    DataOrigin origin = DataOrigin::None;
    std::uint64_t bytes = 0;  // of data; of a clone: the size of the file
};

// Copies the bytes [0, source_attributes.size) of `source`, open for reading, into `target`, open
// for writing and without data yet: empty, or one hole. Afterwards its size is that of the source:
// what the source grows meanwhile is left out, and where it shrinks the copy ends there.
//
// EINTR: cancelled. ENOSPC: also found early, where the target's file system has fewer free bytes
// than a large source occupies (so a target that compresses is not given the chance). Else the
// errnos of ioctl_ficlone, copy_file_range, pread, pwrite, lseek and ftruncate. After an error the
// target holds part of the data.
Result<CopiedData> copy_data(int source, const Attributes& source_attributes, int target,
                             const Observer& observer);

}  // namespace plyfs::copyup
