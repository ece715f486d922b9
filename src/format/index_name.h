// SPDX-License-Identifier: GPL-2.0-or-later
//
// Names in the index, a directory beside the work directory. It finds the copy of a lower inode,
// whatever their names: the entry's name is the record of the lower inode in hexadecimal digits
// (overlayfs: ovl_get_index_name_fh), and it is
//   - for a file, a hard link of the copy; names of the union that were not copied up yet find it;
//   - for a directory (mount option nfs_export), an empty directory whose overlay.upper is the
//     record of the copy;
//   - a whiteout, where the copy was removed: its file handles are stale (nfs_export). Of all forms
//     of whiteouts only a device is one here (overlayfs: ovl_verify_index).
// The index itself has overlay.upper, the record of the writable layer's root: it belongs to that
// one (overlayfs: ovl_get_indexdir), and the root has the first lower root as its overlay.origin.
//
// Thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "format/handle_record.h"
#include "sys/result.h"

namespace plyfs::format {

// ENAMETOOLONG: more than NAME_MAX digits (a handle of more than 106 bytes).
Result<std::string> index_name(const HandleRecord& lower);

// The lower inode that an entry stands for. EINVAL: not such a name; overlayfs does not mount then.
// Temporary objects (is_temporary_name) are in the index too.
Result<HandleRecord> parse_index_name(std::string_view name);

}  // namespace plyfs::format
