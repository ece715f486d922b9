// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/escape.h"

#include <cstddef>

namespace plyfs::format {
namespace {

constexpr std::string_view kTrusted = "trusted.overlay.";
constexpr std::string_view kUser = "user.overlay.";
constexpr std::string_view kFuseOverlayfs = "user.fuseoverlayfs.";
constexpr std::string_view kEscape = "overlay.";
constexpr std::size_t kLongestName = 255;  // XATTR_NAME_MAX of <linux/limits.h>

// The prefix of marks that `name` has, empty: none.
std::string_view own_prefix(std::string_view name, const MarkRules& rules) noexcept {
    if (rules.trusted && name.starts_with(kTrusted)) return kTrusted;
    if (rules.user && name.starts_with(kUser)) return kUser;
    return {};
}

}  // namespace

bool is_mark_name(std::string_view stored, const MarkRules& rules) noexcept {
    if (rules.fuse_overlayfs && stored.starts_with(kFuseOverlayfs)) return true;
    const std::string_view prefix = own_prefix(stored, rules);
    return !prefix.empty() && !stored.substr(prefix.size()).starts_with(kEscape);
}

Result<std::string> stored_xattr_name(std::string_view asked, const MarkRules& rules) {
    if (rules.fuse_overlayfs && asked.starts_with(kFuseOverlayfs)) return fail(EOPNOTSUPP);
    const std::string_view prefix = own_prefix(asked, rules);
    if (prefix.empty()) return std::string(asked);
    const std::string_view rest = asked.substr(prefix.size());
    if (rest.empty()) return fail(EINVAL);
    if (asked.size() + kEscape.size() > kLongestName) return fail(EOPNOTSUPP);
    return std::string(prefix).append(kEscape).append(rest);
}

std::optional<std::string> shown_xattr_name(std::string_view stored, const MarkRules& rules) {
    if (is_mark_name(stored, rules)) return std::nullopt;
    const std::string_view prefix = own_prefix(stored, rules);
    if (prefix.empty()) return std::string(stored);
    return std::string(prefix).append(stored.substr(prefix.size() + kEscape.size()));
}

std::vector<std::string> shown_xattr_names(const std::vector<std::string>& stored,
                                           const MarkRules& rules) {
    std::vector<std::string> shown;
    for (const std::string& name : stored) {
        if (auto as_shown = shown_xattr_name(name, rules)) shown.push_back(*std::move(as_shown));
    }
    return shown;
}

}  // namespace plyfs::format
