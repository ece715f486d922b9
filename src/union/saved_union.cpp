// SPDX-License-Identifier: GPL-2.0-or-later
//
// Handing a union to a successor process, and going on with the one of a predecessor.
#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "union/union.h"
#include "union/union_restoration.h"

namespace plyfs {
namespace {

// Tells the snapshots that it is asked for, and remembers them.
class Numbering {
public:
    SnapshotNumber operator()(const std::shared_ptr<const Snapshot>& snapshot) {
        if (!snapshot) return 0;
        return numbers_.try_emplace(snapshot, numbers_.size() + 1).first->second;
    }
    const auto& all() const noexcept { return numbers_; }

private:
    std::map<std::shared_ptr<const Snapshot>, SnapshotNumber> numbers_;
};

std::vector<SavedEntry> saved_entries(const MergedDirectory& names) {
    std::vector<SavedEntry> result;
    result.reserve(names.size());
    for (std::size_t index = 0; index < names.size(); ++index) {
        const MergedDirectory::Entry& entry = names.entry(index);
        result.push_back(
            {std::string(names.name(entry)), entry.inode, entry.branch, entry.type, entry.several});
    }
    return result;
}

}  // namespace

void Union::save(GivenDescriptors& descriptors,
                 const std::function<void(const SavedState&)>& keep) const {
    Numbering number;
    SavedTotals totals;
    for (const auto& [device, tag] : tags_.all()) keep(SavedTag{device, tag});
    totals.next_node =
        nodes_.save(descriptors, std::ref(number), [&](const SavedNode& node) { keep(node); });
    totals.next_file = files_.save([&](HandleId id, const FileHandle& file) {
        SavedFile saved;
        saved.handle = id;
        saved.node = file.node->id;
        saved.real = file.real;
        saved.branch = file.branch;
        saved.flags = file.flags;
        saved.descriptor = descriptors.add(file.descriptor.get());
        saved.snapshot = number(file.snapshot);
        FollowedFile& followed = *file.followed;
        const Lock lock(followed.mutex);
        if (followed.descriptor) {
            saved.followed = descriptors.add(followed.descriptor->get());
            saved.followed_real = followed.real;
            saved.followed_has_data = followed.has_data;
        }
        keep(saved);
    });
    totals.next_directory = directories_.save([&](HandleId id, DirectoryHandle& directory) {
        const Lock lock(directory.mutex);
        SavedDirectory saved{id, directory.node->id, directory.names != nullptr, {}};
        if (directory.names) saved.names = saved_entries(*directory.names);
        keep(saved);
    });
    for (const auto& [snapshot, its_number] : number.all()) {
        keep(SavedSnapshot{its_number, snapshot->real, snapshot->branch,
                           descriptors.add(snapshot->object.get())});
    }
    turned_away_.save([&](pid_t thread, NodeId node) { keep(SavedVisit{thread, node}); });
    keep(totals);
}

Result<void> UnionRestoration::add(SavedState&& state) {
    return std::visit(
        [this]<typename Saved>(Saved&& saved) { return add(std::forward<Saved>(saved)); },
        std::move(state));
}

Result<void> UnionRestoration::add(SavedTotals&& totals) {
    totals_ = totals;
    return {};
}

Result<void> UnionRestoration::add(SavedTag&& tag) {
    return united_.tags_.restore(tag.device, tag.tag);
}

Result<void> UnionRestoration::add(SavedNode&& node) {
    const auto is_branch = [&](BranchIndex branch) { return branch < united_.branches_.size(); };
    if (!std::ranges::all_of(node.stack, is_branch) ||
        !std::ranges::all_of(node.lower_places, is_branch, &LowerPlace::branch)) {
        return fail(EPROTO);
    }
    if (node.snapshot != 0) kept_.emplace_back(node.id, node.snapshot);
    return nodes_.add(node, descriptors_);
}

Result<void> UnionRestoration::add(SavedVisit&& visit) {
    united_.turned_away_.restore(visit.thread, visit.node);
    return {};
}

Result<void> UnionRestoration::add(SavedSnapshot&& snapshot) {
    if (snapshot.branch >= united_.branches_.size()) return fail(EPROTO);
    snapshots_[snapshot.number] = std::make_shared<const Snapshot>(
        Snapshot{snapshot.real, snapshot.branch, TRY(descriptors_.take(snapshot.object))});
    return {};
}

Result<void> UnionRestoration::add(SavedFile&& file) {
    if (file.branch >= united_.branches_.size()) return fail(EPROTO);
    files_.push_back(file);
    return {};
}

Result<void> UnionRestoration::add(SavedDirectory&& directory) {
    directories_.push_back(std::move(directory));
    return {};
}

Result<std::shared_ptr<const Snapshot>> UnionRestoration::snapshot(SnapshotNumber number) const {
    if (number == 0) return std::shared_ptr<const Snapshot>();
    const auto found = snapshots_.find(number);
    if (found == snapshots_.end()) return fail(EPROTO);
    return found->second;
}

Result<void> UnionRestoration::restore(const SavedFile& file) {
    Node* const node = nodes_.find(file.node);
    if (node == nullptr || node->is_directory() || file.handle >= totals_.next_file) {
        return fail(EPROTO);
    }
    auto handle = std::make_shared<FileHandle>();
    handle->descriptor = TRY(descriptors_.take(file.descriptor));
    handle->node = node;
    handle->real = file.real;
    handle->branch = file.branch;
    handle->flags = file.flags;
    handle->snapshot = TRY(snapshot(file.snapshot));
    if (file.followed != kNoDescriptor) {
        FollowedFile& followed = *handle->followed;
        const Lock lock(followed.mutex);
        followed.descriptor =
            std::make_shared<const UniqueFd>(TRY(descriptors_.take(file.followed)));
        followed.real = file.followed_real;
        followed.has_data = file.followed_has_data;
    }
    if (!united_.files_.restore(file.handle, std::move(handle))) return fail(EPROTO);
    return {};
}

Result<void> UnionRestoration::restore(const SavedDirectory& directory) {
    Node* const node = nodes_.find(directory.node);
    if (node == nullptr || !node->is_directory() || directory.handle >= totals_.next_directory) {
        return fail(EPROTO);
    }
    auto handle = std::make_shared<DirectoryHandle>();
    handle->node = node;
    if (directory.begun) {
        MergedDirectory names;
        for (const SavedEntry& entry : directory.names) {
            if (entry.branch >= united_.branches_.size()) return fail(EPROTO);
            names.add(entry.name, {.inode = entry.inode,
                                   .branch = entry.branch,
                                   .type = entry.type,
                                   .several = entry.several});
        }
        const Lock lock(handle->mutex);
        handle->names = std::make_shared<const MergedDirectory>(std::move(names));
        united_.listings_.read(node->id, handle->names, true);
    }
    if (!united_.directories_.restore(directory.handle, std::move(handle))) return fail(EPROTO);
    return {};
}

Result<void> UnionRestoration::finish() {
    if (totals_.next_node == 0) return fail(EPROTO);
    TRY(nodes_.finish(totals_.next_node));
    for (const auto& [node, number] : kept_) nodes_.set_snapshot(node, TRY(snapshot(number)));
    for (const SavedFile& file : files_) TRY(restore(file));
    for (const SavedDirectory& directory : directories_) TRY(restore(directory));
    united_.files_.restore_next(totals_.next_file);
    united_.directories_.restore_next(totals_.next_directory);
    return {};
}

}  // namespace plyfs
