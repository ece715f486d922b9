// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/directory_cache.h"

#include <vector>

namespace plyfs {

DirectoryRef DirectoryCache::find(NodeId node, BranchIndex branch) {
    const Lock lock(mutex_);
    const auto it = index_.find({node, branch});
    if (it == index_.end()) return {};
    entries_.splice(entries_.begin(), entries_, it->second);
    ++hits_;
    return it->second->descriptor;
}

DirectoryRef DirectoryCache::find(NodeId node, BranchIndex branch, const RealId& real) {
    const Lock lock(mutex_);
    const auto it = index_.find({node, branch});
    if (it == index_.end() || it->second->real != real) return {};
    entries_.splice(entries_.begin(), entries_, it->second);
    ++hits_;
    return it->second->descriptor;
}

DirectoryRef DirectoryCache::insert(NodeId node, BranchIndex branch, UniqueFd descriptor,
                                    const RealId& real) {
    return remember({node, branch}, std::make_shared<const OpenDirectory>(std::move(descriptor)),
                    real);
}

void DirectoryCache::insert(NodeId node, BranchIndex branch, DirectoryRef opened,
                            const RealId& real) {
    remember({node, branch}, std::move(opened), real);
}

DirectoryRef DirectoryCache::remember(const Key& key, DirectoryRef opened, const RealId& real) {
    DirectoryRef evicted;  // closed after the mutex
    const Lock lock(mutex_);
    if (const auto it = index_.find(key); it != index_.end()) return it->second->descriptor;
    ++misses_;
    entries_.push_front({key, opened, real});
    index_.emplace(key, entries_.begin());
    if (entries_.size() > capacity_) evicted = take(Key(entries_.back().key));
    return opened;
}

void DirectoryCache::confirm(NodeId node, BranchIndex branch, const RealId& real) {
    DirectoryRef replaced;
    const Lock lock(mutex_);
    const auto it = index_.find({node, branch});
    if (it != index_.end() && it->second->real != real) replaced = take({node, branch});
}

void DirectoryCache::drop(NodeId node, const Stack& branches) {
    std::vector<DirectoryRef> dropped;
    const Lock lock(mutex_);
    for (const BranchIndex branch : branches) dropped.push_back(take({node, branch}));
}

DirectoryCache::Counts DirectoryCache::counts() const {
    const Lock lock(mutex_);
    return {entries_.size(), hits_, misses_};
}

DirectoryRef DirectoryCache::take(const Key& key) {
    const auto it = index_.find(key);
    if (it == index_.end()) return {};
    DirectoryRef descriptor = std::move(it->second->descriptor);
    entries_.erase(it->second);
    index_.erase(it);
    return descriptor;
}

}  // namespace plyfs
