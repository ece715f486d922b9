// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/listers.h"

namespace plyfs::session {

Listers::Wish Listers::wish(pid_t caller) const noexcept {
    const Caller known = callers_[place(caller)].load(std::memory_order_relaxed);
    if (known.thread != caller || caller == 0) return Wish::Unknown;
    if (known.left == 0) return Wish::Names;
    return known.left > kTrials ? Wish::Attributes : Wish::Unknown;
}

void Listers::listed(pid_t caller) noexcept {
    Slot& slot = callers_[place(caller)];
    Caller known = slot.load(std::memory_order_relaxed);
    if (known.thread != caller) known = {caller, kTrials};
    if (known.left == 0) return;
    slot.store({caller, known.left - 1}, std::memory_order_relaxed);
}

void Listers::asked(pid_t caller) noexcept {
    constexpr std::uint32_t kAll = kTrials + kTrusted;
    Slot& slot = callers_[place(caller)];
    const Caller known = slot.load(std::memory_order_relaxed);
    // Most lookups are of callers that list nothing, or of such that have asked already.
    if (known.thread != caller || known.left == kAll) return;
    slot.store({caller, kAll}, std::memory_order_relaxed);
}

}  // namespace plyfs::session
