// SPDX-License-Identifier: GPL-2.0-or-later
//
// All nodes of a mount: found by id, directories also by place, other objects by the inode they
// are on a branch. Counts the kernel's lookups (the contract of FUSE_LOOKUP and FUSE_FORGET: each
// entry that is handed out counts once). Thread-safe; its mutex is a leaf lock, held for a few
// hash table steps and never over a system call.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sys/name.h"
#include "union/node.h"
#include "union/saved_state.h"

namespace plyfs {

// Where an object is reached, copied out of its node.
struct Location {
    boost::container::small_vector<NodeName, 1> names;  // none: it has no name any more
    Stack stack;
    RealId real;
    std::shared_ptr<UniqueFd> held;
};

// One step from a directory up to the root: its node and its name in its parent.
struct RouteStep {
    NodeId node;
    std::string name;
};

class NodeTable {
public:
    // `destroyed` is told of nodes that are no more: their ids never come back. It is called under
    // any lock but the table's. May be empty.
    explicit NodeTable(std::function<void(const Node&)> destroyed = {});
    ~NodeTable();
    NodeTable(const NodeTable&) = delete;
    NodeTable& operator=(const NodeTable&) = delete;

    NodeRef root() const { return root_; }

    // Null: unknown, or forgotten.
    NodeRef find(NodeId id) const;

    // The node of the directory `name` in `parent`, made if there is none, with its stack set to
    // the branches it was found on. If copies were made since `dated` was read from copies_made(),
    // those are kept in the stack too. `places`: where read-only branches have it under another
    // path. `gone` are the branches that left the stack.
    NodeRef directory_at(const NodeRef& parent, Name name, const Stack& stack, std::uint64_t dated,
                         const LowerPlaces& places, Stack& gone);

    // The node of the object `real` found as `name` in `parent` on `branch`, made if there is
    // none; the place is added to those known of it.
    NodeRef object_at(const NodeRef& parent, Name name, const RealId& real, mode_t type,
                      BranchIndex branch);

    // The same of a lower object with several names, each of which is to become a file of its own:
    // a node that stands for this name only, until it is rebound.
    NodeRef object_alone_at(const NodeRef& parent, Name name, const RealId& real, mode_t type,
                            BranchIndex branch);

    // A node without a name (O_TMPFILE) that `held` leads to.
    NodeRef unnamed_object(const RealId& real, mode_t type, BranchIndex branch,
                           std::shared_ptr<UniqueFd> held);

    // Null where no node has it.
    NodeRef find_directory(const Node& parent, Name name) const;
    NodeRef find_object(const RealId& real) const;

    // The kernel was handed the node once more, or gives back `count` of that.
    void count_lookup(const NodeRef& node);
    void forget(NodeId id, std::uint64_t count);

    Location location(const Node& node) const;
    RealId real(const Node& node) const;
    Stack stack(const Node& node) const;
    void set_stack(const NodeRef& node, const Stack& stack);
    void add_to_stack(const NodeRef& node, BranchIndex branch);
    // How often add_to_stack() has added one.
    std::uint64_t copies_made() const noexcept { return copies_made_.load(); }

    // How `node` is reached on `branch`: from the branch's root, or from where a directory above it
    // (or itself) is kept on that branch, down the steps. None: removed.
    struct BranchRoute {
        std::string base;
        std::vector<RouteStep> steps;  // from `node` up
    };
    std::optional<BranchRoute> route(const Node& node, BranchIndex branch) const;

    // From `node` up to, without, the root. None: `node` or a directory above it was removed.
    // The root itself: an empty route.
    std::optional<std::vector<RouteStep>> route(const Node& node) const;

    // `node` is no longer called `name` in `parent`. `held` is kept where that was its last name.
    void remove_place(const NodeRef& node, const Node& parent, Name name,
                      std::shared_ptr<UniqueFd> held);
    // `node` is called `new_name` in `new_parent` now and no longer `name` in `parent`.
    void move_place(const NodeRef& node, const NodeRef& parent, Name name,
                    const NodeRef& new_parent, Name new_name);
    // Exchanges the places of two nodes.
    void exchange_places(const NodeRef& one, const NodeRef& one_parent, Name one_name,
                         const NodeRef& other, const NodeRef& other_parent, Name other_name);
    // st_ino of a copied-up object, or kOwnInode; 0: nobody has looked.
    std::uint64_t shown_inode(const Node& node) const;
    void set_shown_inode(const NodeRef& node, std::uint64_t inode);
    // What the index calls the copy of a lower file with several names; empty: not in one, as far
    // as is known.
    std::string index_entry(const Node& node) const;
    void set_index_entry(const NodeRef& node, const std::string& entry);
    // What read-only branches have of the directory is where it was, at `places`.
    void set_lower_places(const NodeRef& node, const LowerPlaces& places);
    // `node` is the inode `real` on `branch` from now on.
    void rebind(const NodeRef& node, const RealId& real, BranchIndex branch,
                std::shared_ptr<UniqueFd> held);

    // What readers keep of `node`; null: nobody does. hold_snapshot() gives them `mine` to keep,
    // or what others keep already.
    std::shared_ptr<const Snapshot> snapshot(const Node& node) const;
    std::shared_ptr<const Snapshot> hold_snapshot(const NodeRef& node,
                                                  std::shared_ptr<const Snapshot> mine);
    // All that is known of `node` goes to a new node, its names too; only snapshot() stays. From
    // then on whatever is asked of `node` here is answered for its successor. Returns the names;
    // none if it has a successor already.
    // `same_file`: what is open of `node` stays the file's.
    boost::container::small_vector<NodeName, 1> supersede(const NodeRef& node, bool same_file);
    // Null: none.
    NodeRef successor(const Node& node) const;
    // It was made by supersede() of the same file.
    bool is_twin(const Node& node) const;

    // How many names of `node` are known.
    std::size_t name_count(const Node& node) const;

    // True once after each time the table has lost half of its nodes and at least 50,000: what
    // they took is worth giving back to the system.
    bool shrunk();

    // Nodes in existence, and what one weighs without its names, in bytes.
    std::size_t size() const;

    // Since the table was made.
    struct Counts {
        std::uint64_t made = 0;   // nodes, the root included
        std::uint64_t found = 0;  // of directory_at() and object_at(): nodes that were there
    };
    Counts counts() const;

    // Calls visit(node) for each, while nobody changes any. `number` tells a snapshot's. Returns
    // the id that the next node would get.
    NodeId save(GivenDescriptors& descriptors,
                const std::function<SnapshotNumber(const std::shared_ptr<const Snapshot>&)>& number,
                const std::function<void(const SavedNode&)>& visit) const;
    class Restoration;

private:
    friend void intrusive_ptr_release(Node* node) noexcept;

    struct PlaceKey {
        NodeId parent;
        std::string_view name;  // of the node's own place
        bool operator==(const PlaceKey&) const = default;
    };
    struct PlaceHash {
        std::size_t operator()(const PlaceKey& key) const noexcept {
            return std::hash<std::string_view>()(key.name) ^ (key.parent * 0x9E3779B97F4A7C15ULL);
        }
    };

    // `node` stands for its only name, or is no longer found by it.
    void set_alone(Node& node) REQUIRES(mutex_);
    void unset_alone(Node& node) REQUIRES(mutex_);
    // Who answers for it.
    static Node& current(const Node& node);
    // A new node, referenced once by the result.
    NodeRef make(mode_t type) REQUIRES(mutex_);
    void place_directory(Node& node, const NodeRef& parent, std::string_view name) REQUIRES(mutex_);
    void unplace_directory(Node& node) REQUIRES(mutex_);
    static void keep_lower_places(Node& node, const LowerPlaces& places);
    // The caller holds references to both parents: none is dropped under the mutex.
    void replace_place(Node& node, const Node& parent, Name name, const NodeRef& new_parent,
                       Name new_name) REQUIRES(mutex_);
    void destroy(Node* node) noexcept;
    // A reference, unless the node is on its way out.
    static NodeRef revive(Node* node);

    const std::function<void(const Node&)> destroyed_;
    mutable Mutex mutex_;
    NodeId next_id_ GUARDED_BY(mutex_) = kRootNode;
    std::uint64_t found_ GUARDED_BY(mutex_) = 0;
    std::size_t peak_ GUARDED_BY(mutex_) = 0;  // of the number of nodes, since shrunk()
    std::unordered_map<NodeId, Node*> by_id_ GUARDED_BY(mutex_);
    std::unordered_map<PlaceKey, Node*, PlaceHash> directories_ GUARDED_BY(mutex_);
    std::unordered_map<RealId, Node*, RealIdHash> objects_ GUARDED_BY(mutex_);
    // Those of object_alone_at(), by parent and name.
    std::map<std::pair<NodeId, std::string>, Node*> alone_ GUARDED_BY(mutex_);
    std::atomic<std::uint64_t> copies_made_{0};  // changed with mutex_
    NodeRef root_;
};

// Fills a new table with the nodes of another one. Before anybody else uses it.
class NodeTable::Restoration {
public:
    explicit Restoration(NodeTable& table) : table_(table) {}

    // In any order. EPROTO: no such node can be.
    Result<void> add(const SavedNode& saved, TakenDescriptors& descriptors);
    // After the last one. Null: none was added with that id.
    Node* find(NodeId id) const;
    void set_snapshot(NodeId id, const std::shared_ptr<const Snapshot>& snapshot);
    // After the last one: leads them to each other. EPROTO: to one that there is not, or in a
    // circle; none leads to another then. What nothing refers to goes when this object does.
    Result<void> finish(NodeId next);

private:
    struct Pending {
        NodeRef node;
        std::vector<SavedName> names;
        NodeId successor = 0;
        bool found = false;
        bool alone = false;
    };
    Result<void> lead_all(NodeId next);
    Result<void> lead(Pending& pending) REQUIRES(table_.mutex_);
    void part();
    // The ways from it to what is above, and to what it stands for now, come to an end.
    bool ends(const Node& node) const REQUIRES(table_.mutex_);

    NodeTable& table_;
    std::unordered_map<NodeId, Pending> added_;
};

}  // namespace plyfs
