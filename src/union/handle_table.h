// SPDX-License-Identifier: GPL-2.0-or-later
//
// What is open, by number: counters, never addresses, so that a stale or forged handle is told
// from a live one and a successor process can take the numbers over. Thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "sys/mutex.h"

namespace plyfs {

using HandleId = std::uint64_t;  // never 0

template <typename Handle>
class HandleTable {
public:
    HandleId insert(std::shared_ptr<Handle> handle) EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        const HandleId id = next_++;
        handles_.emplace(id, std::move(handle));
        return id;
    }
    // Null: unknown. What is returned lives as long as it is held.
    std::shared_ptr<Handle> find(HandleId id) const EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        const auto it = handles_.find(id);
        return it == handles_.end() ? nullptr : it->second;
    }
    std::shared_ptr<Handle> remove(HandleId id) EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        const auto it = handles_.find(id);
        if (it == handles_.end()) return nullptr;
        std::shared_ptr<Handle> handle = std::move(it->second);
        handles_.erase(it);
        return handle;
    }
    // For a successor process: calls visit(id, handle) for each, and returns the id that the next
    // one would get.
    template <typename Visit>
    HandleId save(Visit&& visit) const EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        for (const auto& [id, handle] : handles_) visit(id, *handle);
        return next_;
    }
    // Of the process before. False: there is one with that id.
    bool restore(HandleId id, std::shared_ptr<Handle> handle) EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        return handles_.emplace(id, std::move(handle)).second;
    }
    void restore_next(HandleId next) EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        next_ = next;
    }
    std::size_t size() const EXCLUDES(mutex_) {
        const Lock lock(mutex_);
        return handles_.size();
    }

private:
    mutable Mutex mutex_;
    HandleId next_ GUARDED_BY(mutex_) = 1;
    std::unordered_map<HandleId, std::shared_ptr<Handle>> handles_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
