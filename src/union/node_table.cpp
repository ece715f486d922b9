// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/node_table.h"

#include <algorithm>
#include <utility>

namespace plyfs {

void intrusive_ptr_add_ref(Node* node) noexcept {
    node->references_.fetch_add(1, std::memory_order_relaxed);
}

void intrusive_ptr_release(Node* node) noexcept {
    if (node->references_.fetch_sub(1, std::memory_order_acq_rel) == 1) node->table_.destroy(node);
}

Node::Node(NodeTable& table, NodeId node_id, mode_t node_type) noexcept
    : id(node_id), type(node_type), table_(table) {}

Node::~Node() = default;

NodeTable::NodeTable(std::function<void(const Node&)> destroyed)
    : destroyed_(std::move(destroyed)) {
    const Lock lock(mutex_);
    root_ = make(S_IFDIR);
}

NodeTable::~NodeTable() {
    // What the kernel never gave back goes with the mount.
    std::vector<NodeRef> remembered;
    {
        const Lock lock(mutex_);
        for (const auto& [id, node] : by_id_) {
            if (node->lookups_ == 0) continue;
            node->lookups_ = 0;
            remembered.emplace_back(node, false);  // takes over the kernel's reference
        }
    }
    remembered.clear();
    root_.reset();
}

NodeRef NodeTable::make(mode_t type) {
    NodeRef node(new Node(*this, next_id_++, type & S_IFMT));
    by_id_.emplace(node->id, node.get());
    peak_ = std::max(peak_, by_id_.size());
    return node;
}

NodeRef NodeTable::revive(Node* node) {
    std::uint32_t references = node->references_.load(std::memory_order_relaxed);
    while (references != 0) {
        if (node->references_.compare_exchange_weak(references, references + 1,
                                                    std::memory_order_acq_rel)) {
            return {node, false};
        }
    }
    return {};
}

void NodeTable::destroy(Node* node) noexcept {
    // A deep tree goes leaf by leaf in this loop, not by recursion through the parents' references.
    while (node != nullptr) {
        {
            const Lock lock(mutex_);
            by_id_.erase(node->id);
            unset_alone(*node);
            if (node->is_directory()) {
                unplace_directory(*node);
            } else if (auto it = objects_.find(node->real_);
                       it != objects_.end() && it->second == node) {
                objects_.erase(it);
            }
        }
        Node* next = nullptr;
        for (NodeName& place : node->names_) {
            Node* const parent = place.parent.detach();
            if (parent->references_.fetch_sub(1, std::memory_order_acq_rel) != 1) continue;
            if (next == nullptr) {
                next = parent;
            } else {
                destroy(parent);  // several names: rare, and each leads into this loop again
            }
        }
        if (destroyed_) destroyed_(*node);
        delete node;
        node = next;
    }
}

NodeRef NodeTable::find(NodeId id) const {
    const Lock lock(mutex_);
    const auto it = by_id_.find(id);
    return it == by_id_.end() ? NodeRef() : revive(it->second);
}

NodeRef NodeTable::directory_at(const NodeRef& parent, Name name, const Stack& stack,
                                std::uint64_t dated, const LowerPlaces& places, Stack& gone) {
    const Lock lock(mutex_);
    NodeRef node;
    const auto it = directories_.find({parent->id, name.view()});
    if (it != directories_.end()) node = revive(it->second);
    if (!node) {
        node = make(S_IFDIR);
        place_directory(*node, parent, name.view());
    } else {
        ++found_;
    }
    Stack now = stack;
    for (const BranchIndex branch : node->stack_) {
        if (std::ranges::find(stack, branch) != stack.end()) continue;
        if (copies_made_.load() == dated) {
            gone.push_back(branch);
        } else {
            now.insert(std::ranges::lower_bound(now, branch), branch);
        }
    }
    node->stack_ = std::move(now);
    keep_lower_places(*node, places);
    return node;
}

NodeRef NodeTable::object_at(const NodeRef& parent, Name name, const RealId& real, mode_t type,
                             BranchIndex branch) {
    std::shared_ptr<UniqueFd> held;  // closed after the lock
    const Lock lock(mutex_);
    NodeRef node;
    const auto it = objects_.find(real);
    if (it != objects_.end() && it->second->type == (type & S_IFMT)) node = revive(it->second);
    if (!node) {
        node = make(type);
        node->real_ = real;
        objects_.insert_or_assign(real, node.get());
    } else {
        ++found_;
    }
    node->stack_.assign(1, branch);
    const bool known = std::ranges::any_of(node->names_, [&](const NodeName& place) {
        return place.parent == parent && place.name == name.view();
    });
    if (!known) node->names_.push_back({parent, name.string()});
    held = std::move(node->held_);
    node->held_.reset();
    return node;
}

NodeRef NodeTable::object_alone_at(const NodeRef& parent, Name name, const RealId& real,
                                   mode_t type, BranchIndex branch) {
    const Lock lock(mutex_);
    const auto it = alone_.find({parent->id, name.string()});
    if (it != alone_.end() && it->second->real_ == real && it->second->type == (type & S_IFMT)) {
        if (NodeRef node = revive(it->second)) {
            ++found_;
            return node;
        }
    }
    NodeRef node = make(type);
    node->real_ = real;
    node->stack_.assign(1, branch);
    node->names_.push_back({parent, name.string()});
    set_alone(*node);
    return node;
}

NodeRef NodeTable::unnamed_object(const RealId& real, mode_t type, BranchIndex branch,
                                  std::shared_ptr<UniqueFd> held) {
    const Lock lock(mutex_);
    NodeRef node = make(type);
    node->real_ = real;
    node->stack_.assign(1, branch);
    node->held_ = std::move(held);
    objects_.insert_or_assign(real, node.get());
    return node;
}

NodeRef NodeTable::find_directory(const Node& parent, Name name) const {
    const Lock lock(mutex_);
    const auto it = directories_.find({parent.id, name.view()});
    return it == directories_.end() ? NodeRef() : revive(it->second);
}

NodeRef NodeTable::find_object(const RealId& real) const {
    const Lock lock(mutex_);
    const auto it = objects_.find(real);
    return it == objects_.end() ? NodeRef() : revive(it->second);
}

void NodeTable::count_lookup(const NodeRef& node) {
    const Lock lock(mutex_);
    if (node->lookups_++ == 0) intrusive_ptr_add_ref(node.get());
}

void NodeTable::forget(NodeId id, std::uint64_t count) {
    NodeRef last;  // released after the lock
    const Lock lock(mutex_);
    const auto it = by_id_.find(id);
    if (it == by_id_.end() || it->second->lookups_ == 0) return;
    Node& node = *it->second;
    node.lookups_ -= std::min(count, node.lookups_);
    if (node.lookups_ == 0) last = NodeRef(&node, false);
}

Location NodeTable::location(const Node& node) const {
    const Lock lock(mutex_);
    const Node& now = current(node);
    return {now.names_, now.stack_, now.real_, now.held_};
}

RealId NodeTable::real(const Node& node) const {
    const Lock lock(mutex_);
    return current(node).real_;
}

Stack NodeTable::stack(const Node& node) const {
    const Lock lock(mutex_);
    return current(node).stack_;
}

void NodeTable::set_stack(const NodeRef& node, const Stack& stack) {
    const Lock lock(mutex_);
    node->stack_ = stack;
}

void NodeTable::add_to_stack(const NodeRef& node, BranchIndex branch) {
    const Lock lock(mutex_);
    const auto at = std::ranges::lower_bound(node->stack_, branch);
    if (at != node->stack_.end() && *at == branch) return;
    node->stack_.insert(at, branch);
    ++copies_made_;
}

std::uint64_t NodeTable::shown_inode(const Node& node) const {
    const Lock lock(mutex_);
    return current(node).shown_inode_;
}

void NodeTable::set_shown_inode(const NodeRef& node, std::uint64_t inode) {
    const Lock lock(mutex_);
    current(*node).shown_inode_ = inode;
}

std::string NodeTable::index_entry(const Node& node) const {
    const Lock lock(mutex_);
    const Node& now = current(node);
    return now.index_entry_ ? *now.index_entry_ : std::string();
}

void NodeTable::set_index_entry(const NodeRef& node, const std::string& entry) {
    auto kept = entry.empty() ? nullptr : std::make_unique<std::string>(entry);
    const Lock lock(mutex_);
    current(*node).index_entry_.swap(kept);
}

void NodeTable::rebind(const NodeRef& node, const RealId& real, BranchIndex branch,
                       std::shared_ptr<UniqueFd> held) {
    std::shared_ptr<UniqueFd> before;  // closed after the lock
    const Lock lock(mutex_);
    Node& now = current(*node);
    unset_alone(now);
    const auto it = objects_.find(now.real_);
    if (it != objects_.end() && it->second == &now) objects_.erase(it);
    now.real_ = real;
    now.own_data = false;
    now.stack_.assign(1, branch);
    objects_.insert_or_assign(real, &now);
    before = std::exchange(now.held_, std::move(held));
}

bool NodeTable::shrunk() {
    constexpr std::size_t kWorthwhile = 50'000;
    const Lock lock(mutex_);
    if (by_id_.size() + kWorthwhile > peak_ || by_id_.size() > peak_ / 2) return false;
    peak_ = by_id_.size();
    return true;
}

std::size_t NodeTable::size() const {
    const Lock lock(mutex_);
    return by_id_.size();
}

NodeTable::Counts NodeTable::counts() const {
    const Lock lock(mutex_);
    return {next_id_ - kRootNode, found_};
}

}  // namespace plyfs
