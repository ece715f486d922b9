// SPDX-License-Identifier: GPL-2.0-or-later
//
// Readers of a read-only branch's file that keep what they opened (`readers: snapshot`). The kernel
// binds an inode that is open to one content; so once the copy of such a file is about to change,
// its names go to a successor, another node for the copy, and the old node keeps its readers. As
// long as there are any, it is the file as it was; after that it stands for its successor. A file
// that became append-only while it was passed through gets a successor too, which is not.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <unordered_map>

#include "sys/attributes.h"
#include "sys/mutex.h"
#include "sys/unique_fd.h"
#include "union/branch.h"
#include "union/node.h"

namespace plyfs {

// What they read: shared by their handles, gone with the last.
struct Snapshot {
    RealId real;
    BranchIndex branch;
    UniqueFd object;
};

// The threads that were told to look a path up again (ESTALE). A path leads to the successor then,
// but /proc/self/fd, a mount of the single file and a file handle lead to the same node again, at
// once: whoever comes twice, and did nothing else in between, has come by one of these.
// Thread-safe; its mutex is a leaf lock.
class TurnedAway {
public:
    // True: `thread`, which came to `node`, is to be turned away; false: it was, a moment before.
    // Whoever is not known (0) always is.
    bool turn_away(NodeId node, pid_t thread) EXCLUDES(mutex_);
    // `thread` asked for something else than to open `node`: it is not in that system call any
    // more.
    void moved_on(pid_t thread, NodeId node = 0) EXCLUDES(mutex_);

    // For a successor process: calls visit(thread, node) for each; and there, each as of now.
    void save(const std::function<void(pid_t thread, NodeId node)>& visit) const EXCLUDES(mutex_);
    void restore(pid_t thread, NodeId node) EXCLUDES(mutex_);

private:
    using Clock = std::chrono::steady_clock;
    struct Visit {
        NodeId node;
        Clock::time_point when;
    };
    mutable Mutex mutex_;
    std::unordered_map<pid_t, Visit> visits_ GUARDED_BY(mutex_);
    std::atomic<std::size_t> size_{0};  // of visits_
};

}  // namespace plyfs
