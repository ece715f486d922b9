// SPDX-License-Identifier: GPL-2.0-or-later
//
// A directory of a branch that is open, and what marks it bears as far as they were asked for.
// Owns its descriptor. Thread-safe.
#pragma once

#include <atomic>
#include <cstdint>

#include "format/directory_marks.h"
#include "sys/unique_fd.h"
#include "union/known_protection.h"

namespace plyfs {

// The marks of a directory that tell how a search goes on below it.
struct LayerMarks {
    format::DirectoryMarks directory;
    bool redirected = false;  // what it is merged with is elsewhere (format/redirect.h)
    bool impure = false;      // objects in it may have an origin
};

class OpenDirectory {
public:
    // `descriptor`: O_PATH will do.
    explicit OpenDirectory(UniqueFd descriptor) noexcept : descriptor_(std::move(descriptor)) {}

    int get() const noexcept { return descriptor_.get(); }

    // Read when first asked for, then remembered: nobody but this mount changes marks. Errnos: of
    // format::directory_marks, read_redirect (a damaged redirect is EIO) and is_impure.
    Result<LayerMarks> marks(const format::MarkRules& rules) const;
    // This mount marked it impure, or would have if the branch kept marks: so it says from now on.
    void note_impure() const noexcept;
    // The other ones were changed by this mount.
    void forget_marks() const noexcept;
    // What its mark says (format/protection.h), remembered in the same way.
    Result<format::Protection> protection(const format::MarkRules& rules) const;

private:
    UniqueFd descriptor_;
    mutable std::atomic<std::uint8_t> known_{0};  // bits; 0: nothing is known
    mutable KnownProtection protection_;
};

}  // namespace plyfs
