// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a node to descriptors: of directories by their route, of other objects by one of their
// names, verified to be the inode that the node stands for.
#include <fcntl.h>

#include <algorithm>
#include <ranges>

#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

// openat2(2) refuses longer paths; deeper directories are reached in several calls.
constexpr std::size_t kLongestPath = PATH_MAX - 1;

// Opens the directory that `steps` lead to (the last one is the topmost) below `directory`.
Result<UniqueFd> descend(int directory, std::span<const RouteStep> steps) {
    UniqueFd reached;
    std::string path;
    for (const RouteStep& step : std::views::reverse(steps)) {
        if (!path.empty() && path.size() + 1 + step.name.size() > kLongestPath) {
            reached = TRY(sys::open_directory_beneath(directory, path));
            directory = reached.get();
            path.clear();
        }
        if (!path.empty()) path += '/';
        path += step.name;
    }
    return sys::open_directory_beneath(directory, path);
}

}  // namespace

Result<UniqueFd> Union::open_base(BranchIndex branch, const std::string& path) const {
    const int root = branches_[branch]->root();
    return path.empty() ? sys::duplicate(root) : sys::open_directory_beneath(root, path);
}

Result<std::string> Union::lower_path(const Node& directory, BranchIndex branch) const {
    const auto route = nodes_.route(directory, branch);
    if (!route) return fail(ENOENT);
    std::string path = route->base;
    for (const RouteStep& step : std::views::reverse(route->steps)) {
        if (!path.empty()) path += '/';
        path += step.name;
    }
    return path;
}

Result<DirectoryRef> Union::open_directory(const Node& node, BranchIndex branch) const {
    if (DirectoryRef cached = cache_.find(node.id, branch)) return cached;
    const SharedLock lock(moves_);
    return open_directory_unmoved(node, branch);
}

Result<DirectoryRef> Union::open_directory_unmoved(const Node& node, BranchIndex branch) const {
    if (DirectoryRef cached = cache_.find(node.id, branch)) return cached;
    const auto route = nodes_.route(node, branch);
    if (!route) return fail(ENOENT);
    const std::vector<RouteStep>& steps = route->steps;
    UniqueFd opened;
    if (steps.empty()) {
        opened = TRY(open_base(branch, route->base));
    } else {
        // From the nearest ancestor that is open already.
        std::size_t depth = 1;
        DirectoryRef start;
        while (depth < steps.size() && !start) {
            start = cache_.find(steps[depth].node, branch);
            if (!start) ++depth;
        }
        UniqueFd base;
        if (!start && !route->base.empty()) base = TRY(open_base(branch, route->base));
        const int from = start ? start->get() : base ? base.get() : branches_[branch]->root();
        auto reached = descend(from, std::span(steps).first(depth));
        // A symlink put in the way behind the mount is not followed: no directory is there.
        if (!reached && reached.error() == ELOOP) return fail(ENOTDIR);
        opened = TRY(std::move(reached));
    }
    const RealId real = TRY(sys::stat_descriptor(opened.get())).real;
    return cache_.insert(node.id, branch, std::move(opened), real);
}

Result<UniqueFd> Union::open_object(const Node& node, int flags, Attributes* found) const {
    const Location location = nodes_.location(node);
    if (location.held) return sys::reopen(location.held->get(), flags);
    Errno failure(ESTALE);
    for (const NodeName& place : location.names) {
        const auto name = Name::from(place.name);
        const auto directory = open_directory(*place.parent, location.stack.front());
        if (!directory && !is_absent(directory.error())) failure = directory.error();
        if (!name || !directory) continue;
        // Without O_NONBLOCK opening what has become a FIFO behind the mount would wait for ever.
        auto opened = sys::open_at((*directory)->get(), *name, flags | O_NONBLOCK);
        if (!opened) {
            if (opened.error() == ENOENT || opened.error() == ELOOP) continue;
            return opened;
        }
        const Attributes attributes = TRY(sys::stat_descriptor(opened->get()));
        if (attributes.real != location.real) continue;
        if (found != nullptr) *found = attributes;
        return opened;
    }
    if (UniqueFd indexed = TRY(open_indexed(node, location, flags))) return indexed;
    return fail(failure);
}

Result<std::vector<Union::OpenCopy>> Union::open_directory_copies(const Node& node,
                                                                  config::Function function) const {
    std::vector<BranchFacts> candidates;
    for (const BranchIndex branch : nodes_.stack(node)) {
        const auto directory = open_directory(node, branch);
        const auto attributes =
            directory ? sys::stat_descriptor((*directory)->get()) : fail(directory.error());
        if (!attributes && is_absent(attributes.error())) continue;
        if (!attributes) return fail(attributes.error());
        // No copy must be left out of what is changed.
        const auto known = facts(branch, true, attributes->modification_time);
        if (!known) return fail(EIO);
        candidates.push_back(*known);
    }
    std::vector<OpenCopy> copies;
    if (candidates.empty()) {
        const Location location = nodes_.location(node);
        if (!location.held) return fail(ESTALE);
        copies.push_back({TRY(sys::duplicate(location.held->get())), 0});
        return copies;
    }
    const BranchList chosen = TRY(
        choose_action(policy_for(options_.policies, function), candidates, thread_random_source()));
    for (const std::size_t branch : chosen) {
        const auto index = static_cast<BranchIndex>(branch);
        const DirectoryRef directory = TRY(open_directory(node, index));
        copies.push_back({TRY(sys::duplicate(directory->get())), index});
    }
    return copies;
}

Result<std::vector<Union::OpenCopy>> Union::open_copies(const Node& node,
                                                        config::Function function) const {
    if (node.is_directory()) return open_directory_copies(node, function);
    std::vector<OpenCopy> copies;
    const Location location = nodes_.location(node);
    const BranchIndex shown = location.stack.front();
    copies.push_back({TRY(open_object(node, O_PATH)), shown});
    if (!branches_[shown]->writable()) return fail(EROFS);
    if (location.names.empty()) return copies;
    // Not under the lock of the parent, which comes before that of the node (lock order 2): each
    // copy is opened, then looked at.
    const NodeName& place = location.names.front();
    if (nodes_.stack(*place.parent).size() == 1) return copies;
    const Name name = TRY(Name::from(place.name));
    Hits hits = TRY(find(*place.parent, name, Scope::All));
    const auto others = std::ranges::remove_if(
        hits, [&](const Hit& hit) { return (hit.attributes.mode & S_IFMT) != node.type; });
    hits.erase(others.begin(), others.end());
    // Something else has taken this name behind the mount: its copies are not this file's.
    if (std::ranges::none_of(
            hits, [&](const Hit& hit) { return hit.attributes.real == location.real; })) {
        return copies;
    }
    if (hits.size() < 2) return copies;
    const BranchList chosen = TRY(choose_action(policy_for(options_.policies, function),
                                                TRY(facts(hits)), thread_random_source()));
    if (std::ranges::find(chosen, shown) == chosen.end()) copies.clear();
    for (const Hit& hit : hits) {
        if (hit.branch == shown || std::ranges::find(chosen, hit.branch) == chosen.end()) continue;
        UniqueFd copy = TRY(sys::open_at(hit.parent->get(), name, O_PATH));
        if (TRY(sys::stat_descriptor(copy.get())).real != hit.attributes.real) return fail(ESTALE);
        copies.push_back({std::move(copy), hit.branch});
    }
    return copies;
}

}  // namespace plyfs
