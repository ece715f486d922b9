// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/marks.h"

#include <array>
#include <cstddef>
#include <span>
#include <vector>

#include "sys/metadata.h"

namespace plyfs::format {
namespace {

struct Names {
    const char* trusted;
    const char* user;
};

// In the order of Mark. overlayfs: OVL_XATTR_*_POSTFIX.
constexpr std::array<Names, 10> kNames{{
    {"trusted.overlay.opaque", "user.overlay.opaque"},
    {"trusted.overlay.redirect", "user.overlay.redirect"},
    {"trusted.overlay.origin", "user.overlay.origin"},
    {"trusted.overlay.impure", "user.overlay.impure"},
    {"trusted.overlay.nlink", "user.overlay.nlink"},
    {"trusted.overlay.upper", "user.overlay.upper"},
    {"trusted.overlay.uuid", "user.overlay.uuid"},
    {"trusted.overlay.metacopy", "user.overlay.metacopy"},
    {"trusted.overlay.protattr", "user.overlay.protattr"},
    {"trusted.overlay.whiteout", "user.overlay.whiteout"},
}};
static_assert(kNames.size() == static_cast<std::size_t>(Mark::Whiteout) + 1);

bool means_none(Errno error) {
    return error == ENODATA || error == EOPNOTSUPP || error == EACCES;
}

// Most marks are short: one call reads them.
Result<std::optional<std::string>> read_one(int object, const char* name) {
    std::array<char, 256> bytes{};
    const auto size = sys::get_xattr(object, name, std::as_writable_bytes(std::span(bytes)));
    if (size) return std::string(bytes.data(), *size);
    if (means_none(size.error())) return std::nullopt;
    if (size.error() != ERANGE) return fail(size.error());
    const auto whole = sys::xattr_value(object, name);
    if (!whole && means_none(whole.error())) return std::nullopt;
    if (!whole) return fail(whole.error());
    return std::string(reinterpret_cast<const char*>(whole->data()), whole->size());
}

Result<void> remove_one(int object, const char* name) {
    const auto removed = sys::remove_xattr(object, name);
    if (!removed && (removed.error() == ENODATA || removed.error() == EOPNOTSUPP)) return {};
    return removed;
}

}  // namespace

const char* xattr_name(Mark mark, Namespace names) noexcept {
    const Names& both = kNames[static_cast<std::size_t>(mark)];
    return names == Namespace::Trusted ? both.trusted : both.user;
}

Result<std::optional<std::string>> read_mark(int object, Mark mark, const MarkRules& rules) {
    if (rules.trusted) {
        auto value = TRY(read_one(object, xattr_name(mark, Namespace::Trusted)));
        if (value) return value;
    }
    if (!rules.user) return std::nullopt;
    return read_one(object, xattr_name(mark, Namespace::User));
}

MarkRules forms_present(int object, const MarkRules& rules) {
    std::array<char, 1024> names{};
    const auto size = sys::list_xattrs(object, std::as_writable_bytes(std::span(names)));
    if (!size) return rules;
    MarkRules present{
        .trusted = false, .user = false, .fuse_overlayfs = false, .dot_files = rules.dot_files};
    for (std::size_t at = 0; at < *size;) {
        const std::string_view name(names.data() + at);
        if (name.starts_with("trusted.overlay.")) present.trusted = rules.trusted;
        if (name.starts_with("user.overlay.")) present.user = rules.user;
        if (name.starts_with("user.fuseoverlayfs.")) present.fuse_overlayfs = rules.fuse_overlayfs;
        at += name.size() + 1;
    }
    return present;
}

Result<void> write_mark(int object, Mark mark, const MarkFormat& format, std::string_view value) {
    if (!format.names) return fail(EOPNOTSUPP);
    const auto bytes = std::as_bytes(std::span(value));
    return sys::set_xattr(object, xattr_name(mark, *format.names), bytes, 0);
}

Result<void> remove_mark(int object, Mark mark, const MarkRules& rules) {
    if (rules.trusted) TRY(remove_one(object, xattr_name(mark, Namespace::Trusted)));
    if (rules.user) TRY(remove_one(object, xattr_name(mark, Namespace::User)));
    return {};
}

}  // namespace plyfs::format
