// SPDX-License-Identifier: GPL-2.0-or-later
//
// NodeTable: the names of nodes, and the ways that lead to them.
#include "union/node_table.h"

#include <algorithm>
#include <optional>

namespace plyfs {

void NodeTable::place_directory(Node& node, const NodeRef& parent, std::string_view name) {
    node.names_.clear();
    node.names_.push_back({parent, std::string(name)});
    const PlaceKey key{parent->id, node.names_.front().name};
    // A key views the name inside its node: one that is on its way out takes its key along.
    directories_.erase(key);
    directories_.emplace(key, &node);
}

void NodeTable::unplace_directory(Node& node) {
    if (node.names_.empty()) return;
    const NodeName& place = node.names_.front();
    const auto it = directories_.find({place.parent->id, place.name});
    if (it != directories_.end() && it->second == &node) directories_.erase(it);
}

void NodeTable::set_alone(Node& node) {
    const NodeName& place = node.names_.front();
    Node*& known = alone_[{place.parent->id, place.name}];
    // Something else was there: it is found no more.
    if (known != nullptr) known->alone_ = false;
    known = &node;
    node.alone_ = true;
}

void NodeTable::unset_alone(Node& node) {
    if (!node.alone_) return;
    const NodeName& place = node.names_.front();
    alone_.erase({place.parent->id, place.name});
    node.alone_ = false;
}

void NodeTable::keep_lower_places(Node& node, const LowerPlaces& places) {
    if (places.empty()) {
        node.lower_places_.reset();
    } else if (!node.lower_places_) {
        node.lower_places_ = std::make_unique<LowerPlaces>(places);
    } else if (*node.lower_places_ != places) {
        *node.lower_places_ = places;
    }
}

void NodeTable::set_lower_places(const NodeRef& node, const LowerPlaces& places) {
    const Lock lock(mutex_);
    keep_lower_places(*node, places);
}

std::optional<NodeTable::BranchRoute> NodeTable::route(const Node& node, BranchIndex branch) const {
    BranchRoute route;
    const Lock lock(mutex_);
    for (const Node* at = &node; at->id != kRootNode;) {
        if (at->names_.empty()) return std::nullopt;
        if (at->lower_places_) {
            const auto place = std::ranges::find(*at->lower_places_, branch, &LowerPlace::branch);
            if (place != at->lower_places_->end()) {
                route.base = place->path;
                break;
            }
        }
        const NodeName& name = at->names_.front();
        route.steps.push_back({at->id, name.name});
        at = name.parent.get();
    }
    return route;
}

std::optional<std::vector<RouteStep>> NodeTable::route(const Node& node) const {
    std::vector<RouteStep> steps;
    const Lock lock(mutex_);
    for (const Node* at = &node; at->id != kRootNode;) {
        if (at->names_.empty()) return std::nullopt;
        const NodeName& place = at->names_.front();
        steps.push_back({at->id, place.name});
        at = place.parent.get();
    }
    return steps;
}

void NodeTable::remove_place(const NodeRef& node, const Node& parent, Name name,
                             std::shared_ptr<UniqueFd> held) {
    NodeRef parent_reference;  // released after the lock
    const Lock lock(mutex_);
    Node& now = current(*node);
    for (auto it = now.names_.begin(); it != now.names_.end(); ++it) {
        if (it->parent.get() != &parent || it->name != name.view()) continue;
        if (now.is_directory()) unplace_directory(now);
        unset_alone(now);
        parent_reference = std::move(it->parent);
        now.names_.erase(it);
        break;
    }
    if (now.names_.empty()) now.held_ = std::move(held);
}

void NodeTable::replace_place(Node& node, const Node& parent, Name name, const NodeRef& new_parent,
                              Name new_name) {
    for (auto place = node.names_.begin(); place != node.names_.end(); ++place) {
        if (place->parent.get() != &parent || place->name != name.view()) continue;
        unset_alone(node);
        if (node.is_directory()) {
            place_directory(node, new_parent, new_name.view());
        } else if (std::ranges::any_of(node.names_, [&](const NodeName& other) {
                       return other.parent == new_parent && other.name == new_name.view();
                   })) {
            // Known of it already, from before something behind the mount took it away.
            node.names_.erase(place);
        } else {
            *place = {new_parent, new_name.string()};
        }
        return;
    }
}

void NodeTable::move_place(const NodeRef& node, const NodeRef& parent, Name name,
                           const NodeRef& new_parent, Name new_name) {
    const Lock lock(mutex_);
    if (node->is_directory()) unplace_directory(*node);
    replace_place(current(*node), *parent, name, new_parent, new_name);
}

void NodeTable::exchange_places(const NodeRef& one, const NodeRef& one_parent, Name one_name,
                                const NodeRef& other, const NodeRef& other_parent,
                                Name other_name) {
    const Lock lock(mutex_);
    // Both go before either comes: two directories exchange one pair of keys.
    for (const NodeRef& node : {one, other}) {
        if (node->is_directory()) unplace_directory(*node);
    }
    replace_place(current(*one), *one_parent, one_name, other_parent, other_name);
    replace_place(current(*other), *other_parent, other_name, one_parent, one_name);
}

std::size_t NodeTable::name_count(const Node& node) const {
    const Lock lock(mutex_);
    return current(node).names_.size();
}

}  // namespace plyfs
