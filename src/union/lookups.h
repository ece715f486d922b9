// SPDX-License-Identifier: GPL-2.0-or-later
//
// The lookups that one answer hands out (READDIRPLUS), given back unless it was sent: whatever
// else ends the request, an exception too. Borrows the union; used by one thread.
#pragma once

#include <vector>

#include "union/union.h"

namespace plyfs {

class Lookups {
public:
    explicit Lookups(Union& united) noexcept : united_(united) {}
    ~Lookups() {
        for (const NodeId node : counted_) united_.forget(node, 1);
    }
    Lookups(const Lookups&) = delete;
    Lookups& operator=(const Lookups&) = delete;

    // Union::lookup(), remembered.
    Result<Entry> lookup(NodeId parent, Name name) {
        // Room first: once it is counted nothing may fail. 0 is no node.
        counted_.push_back(0);
        Result<Entry> entry = united_.lookup(parent, name);
        counted_.back() = entry ? entry->node : 0;
        return entry;
    }

    // The kernel has them now.
    void sent() noexcept { counted_.clear(); }

private:
    Union& united_;
    std::vector<NodeId> counted_;
};

}  // namespace plyfs
