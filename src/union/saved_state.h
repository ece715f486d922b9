// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a union hands to its successor, another process that goes on with the same mount: all that
// the kernel may refer to. Plain values, one for each thing, in any order. Descriptors are not in
// them but in a list beside them, by position.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "sys/attributes.h"
#include "sys/result.h"
#include "sys/unique_fd.h"
#include "union/handle_table.h"
#include "union/node.h"
#include "union/snapshot.h"

namespace plyfs {

// Where in the list a descriptor is.
using DescriptorPosition = std::int64_t;
inline constexpr DescriptorPosition kNoDescriptor = -1;

// What is handed over, borrowed.
class GivenDescriptors {
public:
    // A negative one: kNoDescriptor.
    DescriptorPosition add(int descriptor) {
        if (descriptor < 0) return kNoDescriptor;
        all_.push_back(descriptor);
        return static_cast<DescriptorPosition>(all_.size()) - 1;
    }
    const std::vector<int>& all() const noexcept { return all_; }

private:
    std::vector<int> all_;
};

// What was received. Owns what nobody took.
class TakenDescriptors {
public:
    explicit TakenDescriptors(std::vector<UniqueFd> all = {}) : all_(std::move(all)) {}
    // EPROTO: there is none at the position, or it was taken.
    Result<UniqueFd> take(DescriptorPosition position) {
        if (position < 0 || static_cast<std::size_t>(position) >= all_.size()) return fail(EPROTO);
        UniqueFd taken = std::move(all_[static_cast<std::size_t>(position)]);
        if (!taken) return fail(EPROTO);
        return taken;
    }

private:
    std::vector<UniqueFd> all_;
};

// From 1 on; 0: none.
using SnapshotNumber = std::uint64_t;

// The counters that ids come from: those of the successor go on where these were.
struct SavedTotals {
    NodeId next_node = 0;
    HandleId next_file = 0;
    HandleId next_directory = 0;
};

// A tag of inode_number.h.
struct SavedTag {
    std::uint64_t device = 0;
    std::uint16_t tag = 0;
};

struct SavedName {
    NodeId parent = 0;
    std::string name;
};

// A Node. What it has learned of the branch is learned again.
struct SavedNode {
    NodeId id = 0;
    std::uint32_t type = 0;  // S_IFMT bits
    std::uint64_t lookups = 0;
    std::vector<SavedName> names;
    std::vector<BranchIndex> stack;
    std::vector<LowerPlace> lower_places;
    std::string index_entry;
    std::uint64_t shown_inode = 0;
    RealId real;
    DescriptorPosition held = kNoDescriptor;
    NodeId successor = 0;  // 0: none
    bool twin = false;
    bool found = false;  // by `real`
    bool alone = false;
    SnapshotNumber snapshot = 0;
};

// What readers keep, while there are any.
struct SavedSnapshot {
    SnapshotNumber number = 0;
    RealId real;
    BranchIndex branch = 0;
    DescriptorPosition object = kNoDescriptor;
};

struct SavedFile {
    HandleId handle = 0;
    NodeId node = 0;
    RealId real;
    BranchIndex branch = 0;
    int flags = 0;
    DescriptorPosition descriptor = kNoDescriptor;
    SnapshotNumber snapshot = 0;
    // FollowedFile
    DescriptorPosition followed = kNoDescriptor;
    RealId followed_real;
    bool followed_has_data = false;
};

// One name of a directory that is being read.
struct SavedEntry {
    std::string name;
    std::uint64_t inode = 0;
    BranchIndex branch = 0;
    unsigned char type = 0;
    bool several = false;
};

struct SavedDirectory {
    HandleId handle = 0;
    NodeId node = 0;
    bool begun = false;  // `names` are those that its reader goes on in
    std::vector<SavedEntry> names;
};

// A thread that was told to look a path up again (TurnedAway).
struct SavedVisit {
    pid_t thread = 0;
    NodeId node = 0;
};

using SavedState = std::variant<SavedTotals, SavedTag, SavedNode, SavedSnapshot, SavedFile,
                                SavedDirectory, SavedVisit>;

}  // namespace plyfs
