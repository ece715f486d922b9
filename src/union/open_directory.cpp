// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/open_directory.h"

#include "format/redirect.h"

namespace plyfs {
namespace {

enum Bit : std::uint8_t {
    Known = 1,
    Opaque = 2,
    WhiteoutFiles = 4,
    Redirected = 8,
    Impure = 16,
};

}  // namespace

Result<LayerMarks> OpenDirectory::marks(const format::MarkRules& rules) const {
    const std::uint8_t known = known_.load(std::memory_order_acquire);
    if (known != 0) {
        return LayerMarks{{(known & Opaque) != 0, (known & WhiteoutFiles) != 0},
                          (known & Redirected) != 0,
                          (known & Impure) != 0};
    }
    LayerMarks found;
    found.directory = TRY(format::directory_marks(get(), rules));
    found.redirected = TRY(format::read_mark(get(), format::Mark::Redirect, rules)).has_value();
    found.impure = TRY(format::is_impure(get(), rules));
    known_.store(static_cast<std::uint8_t>(Known | (found.directory.opaque ? Opaque : 0) |
                                           (found.directory.whiteout_files ? WhiteoutFiles : 0) |
                                           (found.redirected ? Redirected : 0) |
                                           (found.impure ? Impure : 0)),
                 std::memory_order_release);
    return found;
}

Result<format::Protection> OpenDirectory::protection(const format::MarkRules& rules) const {
    if (const auto known = protection_.get()) return *known;
    const format::Protection found = TRY(format::read_protection(get(), rules));
    protection_.learn(found);
    return found;
}

}  // namespace plyfs
