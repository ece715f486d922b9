// SPDX-License-Identifier: GPL-2.0-or-later
//
// overlay.redirect: where a moved directory, or a moved file without data of its own (metacopy.h),
// is found on lower branches. Its value is either
//   - one name: in the lower directory that the parent stands for, or
//   - an absolute path: from the root of the lower branch (overlayfs: ovl_get_redirect_xattr).
// Nothing in it is escaped: bytes are what they are, '/' separates.
//
// Following a redirect reaches what the permissions on the way would not allow: on a branch that
// others can write it should not be done (overlayfs: redirect_dir=nofollow).
//
// Functions and plain values: thread-safe.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/marks.h"
#include "sys/name.h"
#include "sys/result.h"

namespace plyfs::format {

// The longest absolute value that overlayfs writes (its module parameter redirect_max), in bytes;
// where a path is longer, it answers EXDEV to the rename. It reads longer ones.
inline constexpr std::size_t kRedirectLimit = 256;

struct Redirect {
    bool absolute = false;
    // From the root down, or the one name. Each is a valid Name; never empty.
    std::vector<std::string> components;
    bool operator==(const Redirect&) const = default;
};

// EINVAL: not a redirect: empty, "/" alone, a relative one of several names, an empty component
// (a '/' at the end is one), "." or "..", or a NUL. The kernel takes the latter three and then
// fails, or stops at the NUL. ENAMETOOLONG: a component longer than NAME_MAX.
Result<Redirect> parse_redirect(std::string_view value);

// The value on disk. ENAMETOOLONG: longer than `limit` bytes.
Result<std::string> encode(const Redirect& redirect, std::size_t limit = kRedirectLimit);

// The name that the object had before it was moved within its directory.
Redirect relative_redirect(Name name);

// None: no mark. EINVAL, ENAMETOOLONG: as parse_redirect; else the errnos of read_mark.
Result<std::optional<Redirect>> read_redirect(int object, const MarkRules& rules);

// Has to be there before the object is moved. ENAMETOOLONG: as encode; else those of write_mark.
Result<void> write_redirect(int object, const MarkFormat& format, const Redirect& redirect,
                            std::size_t limit = kRedirectLimit);

}  // namespace plyfs::format
