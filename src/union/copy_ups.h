// SPDX-License-Identifier: GPL-2.0-or-later
//
// Who is being copied up now: those who need the same copy wait for it instead of making another.
// Thread-safe. Not a lock in the order of union.h: whoever takes a turn holds none, and takes the
// locks of nodes while it has it.
#pragma once

#include <condition_variable>
#include <functional>
#include <unordered_set>

#include "sys/mutex.h"
#include "sys/result.h"
#include "union/node.h"

namespace plyfs {

class CopyUps {
public:
    // Ends with its scope.
    class Turn {
    public:
        Turn(CopyUps& all, NodeId node) noexcept : all_(&all), node_(node) {}
        Turn(Turn&& other) noexcept : all_(other.all_), node_(other.node_) { other.all_ = nullptr; }
        Turn& operator=(Turn&&) = delete;
        ~Turn() {
            if (all_ != nullptr) all_->leave(node_);
        }

    private:
        CopyUps* all_;
        NodeId node_;
    };

    // Waits until nobody else has the turn of `node`. EINTR: `cancelled` (may be empty; asked now
    // and then) said yes.
    Result<Turn> enter(NodeId node, const std::function<bool()>& cancelled) EXCLUDES(mutex_);

private:
    void leave(NodeId node) EXCLUDES(mutex_);

    Mutex mutex_;
    std::condition_variable_any changed_;
    std::unordered_set<NodeId> busy_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
