// SPDX-License-Identifier: GPL-2.0-or-later
//
// Puts marks on one writable branch: finds out in which form its file system takes them, and keeps
// the inode that its whiteouts are links of. Nothing is made before the first mark is needed, so
// that a branch that never gets one stays as it is.
//
// Borrows the branch's work directory. Thread-safe.
#pragma once

#include <expected>
#include <memory>
#include <optional>

#include "format/detect.h"
#include "format/whiteout_maker.h"
#include "sys/mutex.h"
#include "union/work_directory.h"

namespace plyfs {

class LayerWriter {
public:
    LayerWriter(WorkDirectory& work, format::MarkWish wish) : work_(work), wish_(wish) {}

    // Why the form that was asked for can't be had; none: it can, or nothing was asked for, and
    // then nothing is touched. Errnos: those of WorkDirectory::work and format::probe_marks.
    Result<std::optional<format::MarkRefusal>> refusal() EXCLUDES(mutex_);

    // Errnos: EOPNOTSUPP, the form that was asked for can't be had here; those of
    // WorkDirectory::work and format::probe_marks.
    Result<format::MarkFormat> format() EXCLUDES(mutex_);

    // Lives as long as this object, until release(). Errnos: as format().
    Result<format::WhiteoutMaker*> whiteouts() EXCLUDES(mutex_);

    // At unmount: what was kept in the work directory goes. Another use begins anew.
    void release() EXCLUDES(mutex_);

private:
    using Choice = std::expected<format::MarkFormat, format::MarkRefusal>;
    Result<Choice> choose() REQUIRES(mutex_);
    Result<format::MarkFormat> known_format() REQUIRES(mutex_);

    // Constant after construction.
    WorkDirectory& work_;
    const format::MarkWish wish_;

    Mutex mutex_;
    std::optional<format::MarkFormat> format_ GUARDED_BY(mutex_);
    std::unique_ptr<format::WhiteoutMaker> whiteouts_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
