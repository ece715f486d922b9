// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/volatile_mark.h"

#include <tuple>

#include "format/overlay_work.h"
#include "sys/small_file.h"

namespace plyfs {

Result<std::vector<std::string>> blocking_marks(const Branch& branch) {
    const auto base = branch.work().overlay_base();
    if (!base && base.error() == ENOENT) return std::vector<std::string>{};
    if (!base) return fail(base.error());
    return format::incompatible_features(base->get());
}

Result<void> mark_volatile(const Branch& branch) {
    std::ignore = TRY(branch.work().work());  // so that there is a base
    const UniqueFd base = TRY(branch.work().overlay_base());
    return format::set_volatile(base.get());
}

Result<void> unmark_volatile(const Branch& branch) {
    const UniqueFd base = TRY(branch.work().overlay_base());
    TRY(sys::synchronize_file_system(branch.root()));
    return format::remove_volatile(base.get());
}

}  // namespace plyfs
