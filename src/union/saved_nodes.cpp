// SPDX-License-Identifier: GPL-2.0-or-later
//
// NodeTable: handing its nodes to a successor process.
#include <utility>

#include "union/node_table.h"

namespace plyfs {

NodeId
NodeTable::save(GivenDescriptors& descriptors,
                const std::function<SnapshotNumber(const std::shared_ptr<const Snapshot>&)>& number,
                const std::function<void(const SavedNode&)>& visit) const {
    const Lock lock(mutex_);
    for (const auto& [id, node] : by_id_) {
        SavedNode saved;
        saved.id = id;
        saved.type = node->type;
        saved.lookups = node->lookups_;
        for (const NodeName& name : node->names_)
            saved.names.push_back({name.parent->id, name.name});
        saved.stack.assign(node->stack_.begin(), node->stack_.end());
        if (node->lower_places_) {
            saved.lower_places.assign(node->lower_places_->begin(), node->lower_places_->end());
        }
        if (node->index_entry_) saved.index_entry = *node->index_entry_;
        saved.shown_inode = node->shown_inode_;
        saved.real = node->real_;
        if (node->held_) saved.held = descriptors.add(node->held_->get());
        if (node->successor_) saved.successor = node->successor_->id;
        saved.twin = node->twin_;
        saved.alone = node->alone_;
        const auto found = objects_.find(node->real_);
        saved.found = !node->is_directory() && found != objects_.end() && found->second == node;
        saved.snapshot = number(node->snapshot_.lock());
        visit(saved);
    }
    return next_id_;
}

Result<void> NodeTable::Restoration::add(const SavedNode& saved, TakenDescriptors& descriptors) {
    std::shared_ptr<UniqueFd> held;
    if (saved.held != kNoDescriptor) {
        held = std::make_shared<UniqueFd>(TRY(descriptors.take(saved.held)));
    }
    const bool is_root = saved.id == kRootNode;
    const bool is_directory = S_ISDIR(saved.type);
    const bool possible = is_root        ? is_directory && saved.names.empty()
                          : is_directory ? saved.id != 0 && saved.names.size() <= 1
                                         : saved.id != 0 && !saved.stack.empty();
    if (!possible || added_.contains(saved.id)) return fail(EPROTO);
    const Lock lock(table_.mutex_);
    NodeRef node = table_.root_;
    if (!is_root) {
        node = NodeRef(new Node(table_, saved.id, saved.type & S_IFMT));
        table_.by_id_.emplace(saved.id, node.get());
    }
    node->stack_.assign(saved.stack.begin(), saved.stack.end());
    keep_lower_places(*node, {saved.lower_places.begin(), saved.lower_places.end()});
    if (!saved.index_entry.empty()) {
        node->index_entry_ = std::make_unique<std::string>(saved.index_entry);
    }
    node->shown_inode_ = saved.shown_inode;
    node->real_ = saved.real;
    node->held_ = std::move(held);
    node->twin_ = saved.twin;
    node->lookups_ = saved.lookups;
    if (saved.lookups != 0) intrusive_ptr_add_ref(node.get());
    added_.emplace(
        saved.id, Pending{std::move(node), saved.names, saved.successor, saved.found, saved.alone});
    return {};
}

Node* NodeTable::Restoration::find(NodeId id) const {
    const auto found = added_.find(id);
    return found == added_.end() ? nullptr : found->second.node.get();
}

void NodeTable::Restoration::set_snapshot(NodeId id,
                                          const std::shared_ptr<const Snapshot>& snapshot) {
    const Lock lock(table_.mutex_);
    if (Node* const node = find(id)) node->snapshot_ = snapshot;
}

Result<void> NodeTable::Restoration::lead(Pending& pending) {
    Node& node = *pending.node;
    for (const SavedName& name : pending.names) {
        Node* const parent = find(name.parent);
        if (parent == nullptr || !parent->is_directory()) return fail(EPROTO);
        if (node.is_directory()) {
            table_.place_directory(node, parent, name.name);
        } else {
            node.names_.push_back({parent, name.name});
        }
    }
    if (pending.successor != 0) {
        Node* const successor = find(pending.successor);
        if (successor == nullptr) return fail(EPROTO);
        node.successor_ = successor;
    }
    if (pending.found) table_.objects_.insert_or_assign(node.real_, &node);
    if (pending.alone) {
        if (node.names_.size() != 1) return fail(EPROTO);
        table_.set_alone(node);
    }
    return {};
}

bool NodeTable::Restoration::ends(const Node& node) const {
    std::size_t steps = 0;
    for (const Node* at = &node; at->successor_; at = at->successor_.get()) {
        if (++steps > added_.size()) return false;
    }
    steps = 0;
    for (const Node* at = &node; !at->names_.empty(); at = at->names_.front().parent.get()) {
        if (++steps > added_.size()) return false;
    }
    return true;
}

Result<void> NodeTable::Restoration::finish(NodeId next) {
    const auto led = lead_all(next);
    if (!led) part();
    return led;
}

void NodeTable::Restoration::part() {
    std::vector<NodeRef> released;  // after the lock
    const Lock lock(table_.mutex_);
    for (auto& [id, pending] : added_) {
        Node& node = *pending.node;
        table_.unset_alone(node);
        if (node.is_directory()) table_.unplace_directory(node);
        for (NodeName& name : node.names_) released.push_back(std::move(name.parent));
        node.names_.clear();
        released.push_back(std::move(node.successor_));
    }
}

Result<void> NodeTable::Restoration::lead_all(NodeId next) {
    const Lock lock(table_.mutex_);
    for (auto& [id, pending] : added_) {
        if (id >= next) return fail(EPROTO);
        TRY(lead(pending));
    }
    for (const auto& [id, pending] : added_) {
        if (!ends(*pending.node)) return fail(EPROTO);
    }
    table_.next_id_ = next;
    table_.peak_ = table_.by_id_.size();
    return {};
}

}  // namespace plyfs
