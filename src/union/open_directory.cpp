// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/open_directory.h"

#include "format/redirect.h"

namespace plyfs {
namespace {

constexpr std::uint8_t kKnown = 1;
constexpr std::uint8_t kOpaque = 2;
constexpr std::uint8_t kWhiteoutFiles = 4;
constexpr std::uint8_t kRedirected = 8;
constexpr std::uint8_t kImpure = 16;

}  // namespace

Result<LayerMarks> OpenDirectory::marks(const format::MarkRules& rules) const {
    int known = known_.load(std::memory_order_acquire);
    if ((known & kKnown) == 0) {
        const format::MarkRules present = format::forms_present(get(), rules);
        const format::DirectoryMarks found = TRY(format::directory_marks(get(), present));
        const bool redirected =
            TRY(format::read_mark(get(), format::Mark::Redirect, present)).has_value();
        const bool impure = TRY(format::is_impure(get(), present));
        const int read = kKnown | (found.opaque ? kOpaque : 0) |
                         (found.whiteout_files ? kWhiteoutFiles : 0) |
                         (redirected ? kRedirected : 0) | (impure ? kImpure : 0);
        // What was noted since it was read stays.
        known = read | known_.fetch_or(static_cast<std::uint8_t>(read), std::memory_order_acq_rel);
    }
    return LayerMarks{{(known & kOpaque) != 0, (known & kWhiteoutFiles) != 0},
                      (known & kRedirected) != 0,
                      (known & kImpure) != 0};
}

void OpenDirectory::note_impure() const noexcept {
    known_.fetch_or(kImpure, std::memory_order_acq_rel);
}

void OpenDirectory::forget_marks() const noexcept {
    known_.fetch_and(kImpure, std::memory_order_acq_rel);
    protection_.forget();
}

Result<format::Protection> OpenDirectory::protection(const format::MarkRules& rules) const {
    if (const auto known = protection_.get()) return *known;
    const format::Protection found = TRY(format::read_protection(get(), rules));
    protection_.learn(found);
    return found;
}

}  // namespace plyfs
