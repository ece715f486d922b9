// SPDX-License-Identifier: GPL-2.0-or-later
//
// The attributes of marks as applications see them: not at all, and what an application itself
// calls NAMESPACE.overlay.X is stored as NAMESPACE.overlay.overlay.X, so that nobody can forge a
// mark, and a union can be kept in a union (overlayfs: ovl_xattr_escape_name, ovl_listxattr).
//
// What counts is the namespaces that `rules` believes: a name of another one is no mark and stays
// as it is. Of user.fuseoverlayfs.* there is no escaped form: it is hidden and refused.
//
// Thread-safe.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "format/marks.h"
#include "sys/result.h"

namespace plyfs::format {

// The attribute `stored` belongs to the union: it is neither shown to applications nor copied up
// (overlayfs: ovl_is_private_xattr). Escaped ones do not: they are copied as they are.
bool is_mark_name(std::string_view stored, const MarkRules& rules) noexcept;

// Under which name an application's attribute is kept. EINVAL: "trusted.overlay." with nothing
// after it. EOPNOTSUPP: user.fuseoverlayfs.*, or no room for the escape in 255 bytes.
Result<std::string> stored_xattr_name(std::string_view asked, const MarkRules& rules);

// Under which name an application sees the attribute `stored`. None: not at all.
std::optional<std::string> shown_xattr_name(std::string_view stored, const MarkRules& rules);

// A whole list, in its order.
std::vector<std::string> shown_xattr_names(const std::vector<std::string>& stored,
                                           const MarkRules& rules);

}  // namespace plyfs::format
