// SPDX-License-Identifier: GPL-2.0-or-later
//
// The listings that the kernel may hold in its page cache (FOPEN_CACHE_DIR), by directory: the
// names that filled it, so that an opendir can tell whether they are still right, and that a reader
// whose pages the kernel has dropped goes on in the very listing in which it began. At most so many
// names at a time, the directory that was read least recently leaving first. Thread-safe; its mutex
// is a leaf lock.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <unordered_map>

#include "sys/mutex.h"
#include "union/merged_directory.h"
#include "union/node.h"

namespace plyfs {

class Listings {
public:
    using Names = std::shared_ptr<const MergedDirectory>;
    using Clock = std::chrono::steady_clock;

    // `capacity`: names in all; with 0 nothing is kept.
    explicit Listings(std::size_t capacity) : capacity_(capacity) {}

    struct Listing {
        Names names;           // null: nothing that could be relied on
        bool streams = false;  // somebody reads the directory
        Clock::time_point read_at;
    };
    Listing find(NodeId directory) const EXCLUDES(mutex_);

    // A stream of the directory reads `names` from now on; `first`: it has read none before. False:
    // other streams read different names, so that what the kernel holds may be of both. Nothing is
    // kept then, until all of them are closed.
    bool read(NodeId directory, const Names& names, bool first) EXCLUDES(mutex_);
    // The stream goes on in what the kernel holds, which are the names that find() gave.
    void join(NodeId directory) EXCLUDES(mutex_);
    // A stream that has read names, or joined, was closed.
    void closed(NodeId directory) EXCLUDES(mutex_);
    // The directory is no more: its id never comes back.
    void forget(NodeId directory) EXCLUDES(mutex_);

private:
    struct Entry {
        NodeId directory;
        Listing listing;
        std::size_t streams = 0;
        bool mixed = false;  // of different names
    };
    using Entries = std::list<Entry>;  // most recently read first

    Entries::iterator entry(NodeId directory) REQUIRES(mutex_);
    void set_names(Entry& entry, Names names) REQUIRES(mutex_);
    void shrink() REQUIRES(mutex_);

    const std::size_t capacity_;
    mutable Mutex mutex_;
    std::size_t names_ GUARDED_BY(mutex_) = 0;
    Entries entries_ GUARDED_BY(mutex_);
    std::unordered_map<NodeId, Entries::iterator> index_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
