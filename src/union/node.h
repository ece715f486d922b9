// SPDX-License-Identifier: GPL-2.0-or-later
//
// One inode of the union, as long as the kernel remembers it, something below it is remembered or
// a file is open on it. A directory's node is its place (parent and name), whatever branches it
// stands on; any other object's node is its inode on the branch, whatever its names.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <boost/container/small_vector.hpp>
#include <boost/smart_ptr/intrusive_ptr.hpp>
#include <cstdint>
#include <memory>
#include <string>

#include "sys/attributes.h"
#include "sys/mutex.h"
#include "sys/unique_fd.h"
#include "union/branch.h"
#include "union/known_protection.h"

namespace plyfs {

// A counter, never an address and never reused: it must mean the same to a successor process.
using NodeId = std::uint64_t;
inline constexpr NodeId kRootNode = 1;  // FUSE_ROOT_ID

// Says that the number of a copied-up object is its own; no number that is shown (inode_number.h).
inline constexpr std::uint64_t kOwnInode = 1;

class Node;
class NodeTable;
struct Snapshot;
using NodeRef = boost::intrusive_ptr<Node>;

// The branches that an object stands on, in precedence. Of a non-directory: the one that was
// chosen.
using Stack = boost::container::small_vector<BranchIndex, 4>;

// Where read-only branches have a directory that was moved in the union, by their path from the
// branch's root (components joined by '/').
struct LowerPlace {
    BranchIndex branch;
    std::string path;
    bool operator==(const LowerPlace&) const = default;
};
using LowerPlaces = boost::container::small_vector<LowerPlace, 1>;

// Where a name is. The parent is kept alive by it.
struct NodeName {
    NodeRef parent;
    std::string name;
};

class Node {
public:
    const NodeId id;
    const mode_t type;  // S_IFMT bits

    bool is_directory() const noexcept { return S_ISDIR(type); }

    // For a directory: held shared to look at its names, alone to change them. For others: held
    // shared while its location is used, alone while it changes. Order: see union.h.
    mutable SharedMutex mutex;

    // Of a directory (readdir.cpp): somebody was told to go on with the listing that the kernel
    // holds, and then asked for a name in it.
    mutable std::atomic<bool> listing_kept{false};
    mutable std::atomic<bool> names_asked{false};
    // A regular file that is known to have its data itself (metacopy.cpp).
    mutable std::atomic<bool> own_data{false};
    // Of a non-directory on a writable branch (protection.cpp).
    mutable KnownProtection protection;

private:
    friend class NodeTable;
    friend void intrusive_ptr_add_ref(Node* node) noexcept;
    friend void intrusive_ptr_release(Node* node) noexcept;

    Node(NodeTable& table, NodeId node_id, mode_t node_type) noexcept;
    ~Node();

    NodeTable& table_;
    std::atomic<std::uint32_t> references_{0};

    // The rest is guarded by the table's mutex.
    std::uint64_t lookups_ = 0;  // what the kernel owes in forgets; one reference while not zero
    boost::container::small_vector<NodeName, 1>
        names_;  // a directory has one, or none once removed
    Stack stack_;
    std::unique_ptr<LowerPlaces> lower_places_;  // of directories; null: none
    std::unique_ptr<std::string> index_entry_;   // of files in an index; null: none is known
    std::uint64_t shown_inode_ = 0;   // of what was copied up: st_ino as before; 0: not looked at
    RealId real_;                     // of non-directories
    std::shared_ptr<UniqueFd> held_;  // of an object without a name, while it is remembered
    std::weak_ptr<const Snapshot> snapshot_;  // of a lower file; alive while somebody reads it
    NodeRef successor_;                       // null: it has none (snapshot.h)
    bool twin_ = false;                       // it was made for one that stays the same file
    bool alone_ = false;                      // found by its name only (object_alone_at)
};

}  // namespace plyfs
