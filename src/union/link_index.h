// SPDX-License-Identifier: GPL-2.0-or-later
//
// The index of one writable branch: finds the copy of a lower file that has several names, under
// whichever of them it is asked for (format/index_name.h). In it each copy has one more name, the
// record of the lower inode. Nothing is made before the first such copy is.
//
// Borrows the branch's work directory. Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "sys/attributes.h"
#include "sys/mutex.h"
#include "sys/name.h"
#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/work_directory.h"

namespace plyfs {

class LinkIndex {
public:
    explicit LinkIndex(WorkDirectory& work) noexcept : work_(work) {}

    // The copy called `entry`; none: there is no such copy. Errnos: of openat(2) and statx(2).
    Result<std::optional<Attributes>> find(Name entry);

    // The same, opened. ENOENT: there is none. `flags`: as in open(2).
    Result<UniqueFd> open(Name entry, int flags);

    // The directory, made where it lacks. Borrowed, O_PATH, open as long as this object lives or
    // until release(). Errnos: of WorkDirectory::make_index.
    Result<int> directory() EXCLUDES(mutex_);

    // The names of all that is in it. Errnos: of openat(2) and getdents64(2).
    Result<std::vector<std::string>> entries();

    // The copy has no name in the union any more. Gone already: nothing to do.
    Result<void> remove(Name entry);

    // At unmount. Another use begins anew.
    void release() EXCLUDES(mutex_);

private:
    // -1: there is none.
    Result<int> existing() EXCLUDES(mutex_);

    WorkDirectory& work_;

    Mutex mutex_;
    bool looked_ GUARDED_BY(mutex_) = false;
    UniqueFd directory_ GUARDED_BY(mutex_);  // none: it is not there, as far as was looked
};

}  // namespace plyfs
