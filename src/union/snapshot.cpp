// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/snapshot.h"

namespace plyfs {
namespace {

// The VFS tries again within the same system call.
constexpr std::chrono::seconds kMoment{2};
// So many may wait for their second try before the old ones are looked through.
constexpr std::size_t kMany = 256;

}  // namespace

bool TurnedAway::turn_away(NodeId node, pid_t thread) {
    if (thread == 0) return true;
    const Clock::time_point now = Clock::now();
    const Lock lock(mutex_);
    const auto found = visits_.find(thread);
    const bool again =
        found != visits_.end() && found->second.node == node && now - found->second.when <= kMoment;
    if (again) {
        visits_.erase(found);
    } else {
        if (visits_.size() >= kMany) {
            std::erase_if(visits_,
                          [&](const auto& visit) { return now - visit.second.when > kMoment; });
        }
        visits_.insert_or_assign(thread, Visit{node, now});
    }
    size_ = visits_.size();
    return !again;
}

void TurnedAway::save(const std::function<void(pid_t thread, NodeId node)>& visit) const {
    const Lock lock(mutex_);
    for (const auto& [thread, its_visit] : visits_) visit(thread, its_visit.node);
}

void TurnedAway::restore(pid_t thread, NodeId node) {
    const Lock lock(mutex_);
    visits_.insert_or_assign(thread, Visit{node, Clock::now()});
    size_ = visits_.size();
}

void TurnedAway::moved_on(pid_t thread, NodeId node) {
    if (size_ == 0) return;
    const Lock lock(mutex_);
    const auto found = visits_.find(thread);
    if (found == visits_.end() || found->second.node == node) return;
    visits_.erase(found);
    size_ = visits_.size();
}

}  // namespace plyfs
