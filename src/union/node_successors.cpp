// SPDX-License-Identifier: GPL-2.0-or-later
//
// NodeTable: nodes that stand for another file than they did (snapshot.h).
#include "union/node_table.h"

#include "union/snapshot.h"

namespace plyfs {

Node& NodeTable::current(const Node& node) {
    const Node* now = &node;
    while (now->successor_) now = now->successor_.get();
    return const_cast<Node&>(*now);
}

std::shared_ptr<const Snapshot> NodeTable::snapshot(const Node& node) const {
    const Lock lock(mutex_);
    return node.snapshot_.lock();
}

std::shared_ptr<const Snapshot> NodeTable::hold_snapshot(const NodeRef& node,
                                                         std::shared_ptr<const Snapshot> mine) {
    const Lock lock(mutex_);
    if (auto others = node->snapshot_.lock()) return others;
    node->snapshot_ = mine;
    return mine;
}

boost::container::small_vector<NodeName, 1> NodeTable::supersede(const NodeRef& node,
                                                                 bool same_file) {
    const Lock lock(mutex_);
    if (node->successor_) return {};
    node->successor_ = make(node->type);
    Node& successor = *node->successor_;
    successor.twin_ = same_file;
    const bool alone = node->alone_;
    unset_alone(*node);
    successor.names_.swap(node->names_);
    successor.stack_ = node->stack_;
    successor.index_entry_.swap(node->index_entry_);
    successor.shown_inode_ = node->shown_inode_;
    successor.real_ = node->real_;
    successor.own_data = node->own_data.load();
    successor.held_.swap(node->held_);
    if (alone) {
        set_alone(successor);
    } else {
        objects_.insert_or_assign(successor.real_, &successor);
    }
    return successor.names_;
}

NodeRef NodeTable::successor(const Node& node) const {
    const Lock lock(mutex_);
    return node.successor_ ? NodeRef(&current(node)) : NodeRef();
}

bool NodeTable::is_twin(const Node& node) const {
    const Lock lock(mutex_);
    return node.twin_;
}

}  // namespace plyfs
