// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/union.h"

#include <algorithm>

#include "sys/file_system_identity.h"
#include "sys/memory.h"

namespace plyfs {

Union::Union(BranchSet branches, UnionOptions options)
    : branches_(std::move(branches)), options_(std::move(options)),
      layered_(std::ranges::any_of(branches_, [](const auto& b) { return !b->writable(); })),
      writable_(std::ranges::any_of(branches_, [](const auto& b) { return b->creatable(); })),
      work_in_root_(std::ranges::any_of(branches_,
                                        [](const auto& b) {
                                            return b->writable() &&
                                                   b->work().home() == WorkDirectory::Home::Root;
                                        })),
      listings_(options_.listed_names), nodes_([this](const Node& node) { destroyed(node); }),
      cache_(options_.open_directories) {
    Stack all;
    for (std::size_t index = 0; index < branches_.size(); ++index) {
        all.push_back(static_cast<BranchIndex>(index));
    }
    nodes_.set_stack(nodes_.root(), all);
}

void Union::destroyed(const Node& node) {
    if (node.is_directory()) return listings_.forget(node.id);
    if (options_.destroyed) options_.destroyed(node.id);
}

Union::~Union() {
    release_work();
}

void Union::release_work() {
    for (const auto& branch : branches_) {
        if (!branch->writable()) continue;
        branch->layer().release();
        branch->index().release();
    }
}

UnionCounts Union::counts() const {
    const NodeTable::Counts nodes = nodes_.counts();
    const DirectoryCache::Counts cached = cache_.counts();
    return {nodes_.size(),      files_.size(), directories_.size(),
            cached.descriptors, nodes.made,    nodes.found,
            cached.hits,        cached.misses, copy_up_counters_.counts()};
}

void Union::forget(NodeId node, std::uint64_t count) {
    nodes_.forget(node, count);
    if (nodes_.shrunk()) sys::return_free_memory();
}

FileSystemSpace Union::statfs() {
    std::vector<SpaceShare> shares;
    for (const auto& branch : branches_) {
        const auto space = branch->space().get();
        if (!space) continue;
        const auto identity = sys::file_system_identity(branch->root());
        const std::uint64_t pool =
            identity ? space_pool(branch->device(), *identity) : branch->device();
        shares.push_back({pool, *space, branch->writable()});
    }
    return union_space(shares);
}

}  // namespace plyfs
