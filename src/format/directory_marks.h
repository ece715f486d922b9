// SPDX-License-Identifier: GPL-2.0-or-later
//
// Marks of a directory as a whole: whether it hides what lower branches have in it, what its names
// may be, and whether its contents came from elsewhere.
//
// Thread-safe; `directory` is a descriptor of the directory, O_PATH will do.
#pragma once

#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

inline constexpr char kOpaqueFileName[] = ".wh..wh..opq";

struct DirectoryMarks {
    // Nothing of this directory on lower branches is seen. overlayfs: opaque = "y"
    // (ovl_lookup_single).
    bool opaque = false;
    // Empty files in it may be whiteouts. overlayfs: opaque = "x" (ovl_lookup_single), which the
    // kernel believes in lower layers only.
    bool whiteout_files = false;
    bool operator==(const DirectoryMarks&) const = default;
};

// Opaque is a directory with overlay.opaque = "y" (exactly: ovl_get_dir_xattr_val reads one byte
// and refuses more), user.fuseoverlayfs.opaque beginning with "y", or a name `.wh..wh..opq` in it.
// Up to four system calls, fewer with stricter rules. Errnos: of getxattr(2) and statx(2).
Result<DirectoryMarks> directory_marks(int directory, const MarkRules& rules);

// Makes it opaque. Whiteouts inside of it have no meaning any more and must be gone before.
// Errnos: of write_mark, or of openat(2) where `format` has no attributes.
Result<void> set_opaque(int directory, const MarkFormat& format);

// Lets empty files in it be whiteouts: to be called before the first one is made. EINVAL: it is
// opaque, so that it needs none (one attribute holds either). Errnos: of write_mark.
Result<void> allow_whiteout_files(int directory, const MarkFormat& format);

// overlay.impure = "y": objects in it may have an origin (were copied up, or are moved merged
// directories), so that their inode numbers are not those on the branch. Without the mark readdir
// need not look at each of them (overlayfs: ovl_set_impure, ovl_dir_read_impure).
Result<bool> is_impure(int directory, const MarkRules& rules);
Result<void> set_impure(int directory, const MarkFormat& format);

}  // namespace plyfs::format
