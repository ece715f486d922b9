// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/copy_ups.h"

#include <chrono>

namespace plyfs {

Result<CopyUps::Turn> CopyUps::enter(NodeId node, const std::function<bool()>& cancelled) {
    constexpr std::chrono::milliseconds kPatience{20};
    const Lock lock(mutex_);
    while (!busy_.insert(node).second) {
        if (cancelled && cancelled()) return fail(EINTR);
        changed_.wait_for(mutex_, kPatience);
    }
    return Turn(*this, node);
}

void CopyUps::leave(NodeId node) {
    {
        const Lock lock(mutex_);
        busy_.erase(node);
    }
    changed_.notify_all();
}

}  // namespace plyfs
