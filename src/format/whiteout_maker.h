// SPDX-License-Identifier: GPL-2.0-or-later
//
// Making whiteouts on one branch. All of them are hard links of one inode that is kept in the work
// directory, so that a branch whose inodes are used up can still delete (overlayfs: ovl_whiteout
// shares one too). When it has as many links as it may have, or the file system has no hard links,
// another one is made.
//
// Owns the name of that inode in the work directory. Thread-safe.
#pragma once

#include <string>

#include "format/marks.h"
#include "sys/mutex.h"
#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::format {

class WhiteoutMaker {
public:
    // `work` is the work directory, on the mount of the branch (a link or rename between two mounts
    // is EXDEV). Borrowed (O_PATH will do): it must stay open as long as this object lives. Touches
    // nothing.
    WhiteoutMaker(int work, const MarkFormat& format);

    // Makes the shared inode now, so that the first deletion does not need one. Errnos: of mknod(2)
    // (EPERM: no right to make devices), openat(2) and setxattr(2).
    Result<void> prepare() EXCLUDES(mutex_);

    // The name of the shared inode goes, as at unmount; what it hides stays hidden.
    Result<void> release() EXCLUDES(mutex_);

    // Each of these hides `name` of `directory` (O_PATH will do). Errnos in common: those of
    // prepare, linkat(2) and renameat2(2); EINVAL, ENAMETOOLONG: see dot_file_name(); EINVAL: the
    // directory is opaque and the kind is XattrFile, so that there is nothing to hide.
    //
    // Where no object bears the name. EEXIST: one does, a whiteout included; a DotFile does not see
    // it, and an existing `.wh.NAME` is what was asked for.
    Result<void> place(int directory, Name name);

    // In the place of the object of that name, not a directory (EISDIR), which is removed. No crash
    // shows the name absent, and the kinds other than DotFile replace it in one step.
    Result<void> replace(int directory, Name name);

    // In the place of an object of any type, which then has the name returned in the work
    // directory; the caller removes it. As above; EINVAL, where the file system has no
    // RENAME_EXCHANGE and the kind is not DotFile. A DotFile comes before the object goes: a crash
    // in between leaves a directory opaque, so it must show nothing of lower branches any more.
    Result<std::string> exchange(int directory, Name name);

    // A whiteout under a temporary name in the work directory, to be renamed into place by the
    // caller. Not for DotFile, whose name is not that of what it hides.
    Result<std::string> stage();

private:
    Result<void> make_inode(Name name) const;
    // The shared inode's name, made where there is none or where it is `exhausted`.
    Result<std::string> shared(const std::string& exhausted) EXCLUDES(mutex_);
    Result<void> link_or_make(int directory, Name name);
    // Where there are no hard links.
    Result<void> make_in_place(int directory, Name name) const;
    // True: it was made by this call. False: it was there.
    Result<bool> place_dot_file(int directory, Name dot);

    // Constant after construction.
    const int work_;
    const MarkFormat format_;

    Mutex mutex_;
    std::string shared_ GUARDED_BY(mutex_);  // empty: not made yet
};

// Removes `.wh.NAME`, after an object of that name was made. No such file: nothing to do. Where a
// directory was made, it has to be opaque before.
Result<void> remove_dot_whiteout(int directory, Name name);

}  // namespace plyfs::format
