// SPDX-License-Identifier: GPL-2.0-or-later
//
// Fills a union that was just made, with the branches of the one before, with what that one's
// save() told: then the kernel goes on with the ids and handles that it has. Not thread-safe, and
// nobody else may use the union meanwhile. Where it fails the union is of no use.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "union/saved_state.h"
#include "union/union.h"

namespace plyfs {

class UnionRestoration {
public:
    // Both are borrowed.
    UnionRestoration(Union& united, TakenDescriptors& descriptors)
        : united_(united), descriptors_(descriptors), nodes_(united.nodes_) {}

    // EPROTO, here and below: it can't be of a union with these branches.
    Result<void> add(SavedState&& state);
    // After the last one. What no name, handle or lookup leads to is dropped with this object.
    Result<void> finish();

private:
    Result<void> add(SavedTotals&& totals);
    Result<void> add(SavedTag&& tag);
    Result<void> add(SavedNode&& node);
    Result<void> add(SavedSnapshot&& snapshot);
    Result<void> add(SavedFile&& file);
    Result<void> add(SavedDirectory&& directory);
    Result<void> add(SavedVisit&& visit);
    Result<std::shared_ptr<const Snapshot>> snapshot(SnapshotNumber number) const;
    Result<void> restore(const SavedFile& file);
    Result<void> restore(const SavedDirectory& directory);

    Union& united_;
    TakenDescriptors& descriptors_;
    NodeTable::Restoration nodes_;
    SavedTotals totals_;
    std::unordered_map<SnapshotNumber, std::shared_ptr<const Snapshot>> snapshots_;
    std::vector<std::pair<NodeId, SnapshotNumber>> kept_;  // by the node
    std::vector<SavedFile> files_;
    std::vector<SavedDirectory> directories_;
};

}  // namespace plyfs
