// SPDX-License-Identifier: GPL-2.0-or-later
//
// Open directories of the branches, by node and branch, at most so many at a time, the least
// recently used one leaving first. What is handed out stays open as long as it is held. Entries
// follow their directory when it is renamed; one that is removed or was replaced behind the mount
// must be dropped. Thread-safe; its mutex is a leaf lock, never held over a system call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "sys/attributes.h"
#include "sys/mutex.h"
#include "sys/unique_fd.h"
#include "union/node.h"
#include "union/open_directory.h"

namespace plyfs {

using DirectoryRef = std::shared_ptr<const OpenDirectory>;

class DirectoryCache {
public:
    // At most `capacity` descriptors, at least one.
    explicit DirectoryCache(std::size_t capacity) : capacity_(capacity < 1 ? 1 : capacity) {}

    // Null where it is not there.
    DirectoryRef find(NodeId node, BranchIndex branch);
    // The same, if it is `real`.
    DirectoryRef find(NodeId node, BranchIndex branch, const RealId& real);

    // Remembers an opened directory; one that is there already stays and is returned.
    DirectoryRef insert(NodeId node, BranchIndex branch, UniqueFd descriptor, const RealId& real);
    void insert(NodeId node, BranchIndex branch, DirectoryRef opened, const RealId& real);

    // The directory of `node` on `branch` was seen to be `real`: another one is dropped.
    void confirm(NodeId node, BranchIndex branch, const RealId& real);

    // Nothing of `node` is remembered for `branches` any more.
    void drop(NodeId node, const Stack& branches);

    struct Counts {
        std::size_t descriptors = 0;  // now
        std::uint64_t hits = 0;       // since it was made: found
        std::uint64_t misses = 0;     // inserted, because they were not there
    };
    Counts counts() const;

private:
    struct Key {
        NodeId node;
        BranchIndex branch;
        bool operator==(const Key&) const = default;
    };
    struct KeyHash {
        std::size_t operator()(const Key& key) const noexcept {
            return static_cast<std::size_t>((key.node << 9 | key.branch) * 0x9E3779B97F4A7C15ULL);
        }
    };
    struct Entry {
        Key key;
        DirectoryRef descriptor;
        RealId real;
    };
    using Entries = std::list<Entry>;  // most recently used first

    DirectoryRef remember(const Key& key, DirectoryRef opened, const RealId& real);
    // Takes an entry out; its descriptor is closed by the caller, after the mutex.
    DirectoryRef take(const Key& key) REQUIRES(mutex_);

    const std::size_t capacity_;
    mutable Mutex mutex_;
    std::uint64_t hits_ GUARDED_BY(mutex_) = 0;
    std::uint64_t misses_ GUARDED_BY(mutex_) = 0;
    Entries entries_ GUARDED_BY(mutex_);
    std::unordered_map<Key, Entries::iterator, KeyHash> index_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
