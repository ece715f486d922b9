// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/directory_marks.h"

#include <fcntl.h>

#include <array>
#include <span>

#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs::format {
namespace {

constexpr char kFuseOverlayfsOpaque[] = "user.fuseoverlayfs.opaque";

Name opaque_file_name() {
    return *Name::from(kOpaqueFileName);
}

Result<bool> has_fuse_overlayfs_mark(int directory) {
    std::array<std::byte, 16> value{};
    const auto size = sys::get_xattr(directory, kFuseOverlayfsOpaque, value);
    if (size) return *size > 0 && value[0] == std::byte{'y'};
    const Errno error = size.error();
    if (error == ENODATA || error == EOPNOTSUPP || error == EACCES || error == ERANGE) return false;
    return fail(error);
}

Result<bool> has_opaque_file(int directory) {
    const auto found = sys::stat_at(directory, opaque_file_name());
    if (found) return true;
    if (found.error() == ENOENT) return false;
    return fail(found.error());
}

// One namespace at a time: either may say "y" while the other says "x".
Result<void> add_attribute(int directory, const MarkRules& rules, DirectoryMarks& marks) {
    const auto value = TRY(read_mark(directory, Mark::Opaque, rules));
    if (value == "y") marks.opaque = true;
    if (value == "x") marks.whiteout_files = true;
    return {};
}

}  // namespace

Result<DirectoryMarks> directory_marks(int directory, const MarkRules& rules) {
    DirectoryMarks marks;
    if (rules.trusted) TRY(add_attribute(directory, kernel_rules(Namespace::Trusted), marks));
    if (rules.user && !marks.opaque)
        TRY(add_attribute(directory, kernel_rules(Namespace::User), marks));
    if (rules.fuse_overlayfs && !marks.opaque)
        marks.opaque = TRY(has_fuse_overlayfs_mark(directory));
    if (rules.dot_files && !marks.opaque) marks.opaque = TRY(has_opaque_file(directory));
    return marks;
}

Result<void> set_opaque(int directory, const MarkFormat& format) {
    if (format.names) return write_mark(directory, Mark::Opaque, format, "y");
    const auto made = sys::open_at(directory, opaque_file_name(), O_WRONLY | O_CREAT | O_EXCL, 0);
    if (!made && made.error() != EEXIST) return fail(made.error());
    return {};
}

Result<void> allow_whiteout_files(int directory, const MarkFormat& format) {
    if (!format.names) return fail(EOPNOTSUPP);
    const auto value = TRY(read_mark(directory, Mark::Opaque, kernel_rules(*format.names)));
    if (value == "x") return {};
    if (value == "y") return fail(EINVAL);
    return write_mark(directory, Mark::Opaque, format, "x");
}

Result<bool> is_impure(int directory, const MarkRules& rules) {
    return TRY(read_mark(directory, Mark::Impure, rules)) == "y";
}

Result<void> set_impure(int directory, const MarkFormat& format) {
    return write_mark(directory, Mark::Impure, format, "y");
}

}  // namespace plyfs::format
