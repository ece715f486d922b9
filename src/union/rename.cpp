// SPDX-License-Identifier: GPL-2.0-or-later
//
// rename and its flags. Each copy is renamed on its own branch, where the destination's parents
// are made if they lack; copies of the destination elsewhere, which would shadow it or come back
// when it goes, are removed. More than one step goes as a plan, all or none.
#include <fcntl.h>

#include <algorithm>

#include "sys/entry.h"
#include "union/union.h"

namespace plyfs {

// One of the two names: what is there, and its node where the kernel knows it.
struct Union::RenameSide {
    NodeRef parent;
    Name name;
    Hits hits;
    NodeRef node;
    // Keeps open what the plan's places borrow.
    boost::container::small_vector<DirectoryRef, 4> opened;

    const Hit* on(BranchIndex branch) const {
        const auto hit =
            std::ranges::find_if(hits, [&](const Hit& h) { return h.branch == branch; });
        return hit == hits.end() ? nullptr : &*hit;
    }
    bool is_directory() const { return hits.front().attributes.is_directory(); }
};

namespace {

bool above(const std::vector<RouteStep>& route, const NodeRef& node) {
    return node &&
           std::ranges::any_of(route, [&](const RouteStep& step) { return step.node == node->id; });
}

}  // namespace

Result<void> Union::find_side(RenameSide& side) {
    if (hidden(*side.parent, side.name)) return fail(EPERM);
    side.opened.clear();
    side.node.reset();
    side.hits = TRY(find(*side.parent, side.name, Scope::All));
    if (side.hits.empty()) return {};
    side.node = side.is_directory() ? intern(side.parent, side.name, side.hits)
                                    : nodes_.find_object(side.hits.front().attributes.real);
    return {};
}

Result<bool> Union::check_rename(const RenameSide& from, const RenameSide& to,
                                 unsigned flags) const {
    if (from.hits.empty()) return fail(ENOENT);
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if (exchange && to.hits.empty()) return fail(ENOENT);
    if ((flags & RENAME_NOREPLACE) != 0 && !to.hits.empty()) return fail(EEXIST);
    // rename(2): two names of one file, nothing is done.
    if (!to.hits.empty() && from.hits.front().attributes.real == to.hits.front().attributes.real) {
        return false;
    }
    const auto from_route = nodes_.route(*from.parent);
    const auto to_route = nodes_.route(*to.parent);
    if (!from_route || !to_route) return fail(ENOENT);
    if (above(*to_route, from.node)) return fail(EINVAL);
    if (above(*from_route, to.node)) return fail(exchange ? EINVAL : ENOTEMPTY);
    if (!exchange && !to.hits.empty()) {
        if (from.is_directory() && !to.is_directory()) return fail(ENOTDIR);
        if (!from.is_directory() && to.is_directory()) return fail(EISDIR);
    }
    for (const Hit& hit : from.hits) {
        if (!branches_[hit.branch]->writable()) return fail(EROFS);
    }
    for (const Hit& hit : to.hits) {
        // A file below keeps being shadowed by the one that is renamed over it.
        if (branches_[hit.branch]->writable()) continue;
        if (exchange || to.is_directory()) return fail(EROFS);
    }
    return true;
}

Result<Place> Union::plan_place(RenameSide& side, BranchIndex branch, const std::string& path) {
    DirectoryRef directory = TRY(ensure_directory(side.parent, branch));
    Place place{directory->get(), path, side.name.string()};
    side.opened.push_back(std::move(directory));
    return place;
}

Result<Plan> Union::plan_rename(RenameSide& from, RenameSide& to, unsigned flags) {
    const std::string from_path = TRY(path_on_branch(*from.parent));
    const std::string to_path = TRY(path_on_branch(*to.parent));
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    const bool all = exchange || from.is_directory() || from.hits.size() == 1;
    const Hits moved = all ? from.hits : TRY(chosen_hits(from.hits, config::Function::Rename));
    const auto moves = [&](BranchIndex branch) {
        return std::ranges::any_of(moved, [&](const Hit& hit) { return hit.branch == branch; });
    };
    const BranchIndex first_moved = std::ranges::min_element(moved, {}, &Hit::branch)->branch;
    Plan plan;
    for (const Hit& hit : moved) {
        Place from_place = TRY(plan_place(from, hit.branch, from_path));
        Place to_place = TRY(plan_place(to, hit.branch, to_path));
        const Hit* const target = to.on(hit.branch);
        const Identity identity = Identity::of(hit.attributes);
        if (target == nullptr || exchange) {
            plan.emplace_back(
                Move{hit.branch, std::move(from_place), std::move(to_place), identity,
                     target != nullptr ? Move::Mode::Exchange : Move::Mode::NoReplace});
        } else {
            plan.emplace_back(Replace{hit.branch, std::move(from_place), std::move(to_place),
                                      identity, Identity::of(target->attributes),
                                      target->attributes.is_directory()});
        }
    }
    for (const Hit& hit : from.hits) {
        if (moves(hit.branch)) continue;
        plan.emplace_back(Bury{hit.branch, TRY(plan_place(from, hit.branch, from_path)),
                               Identity::of(hit.attributes), hit.attributes.is_directory()});
    }
    for (const Hit& hit : to.hits) {
        if (moves(hit.branch) || !branches_[hit.branch]->writable()) continue;
        // Of another kind, and shadowed now as before: not what is replaced.
        if (!exchange && hit.attributes.is_directory() != to.is_directory() &&
            hit.branch > first_moved) {
            continue;
        }
        if (exchange) {
            plan.emplace_back(Move{hit.branch, TRY(plan_place(to, hit.branch, to_path)),
                                   TRY(plan_place(from, hit.branch, from_path)),
                                   Identity::of(hit.attributes), Move::Mode::NoReplace});
        } else {
            plan.emplace_back(Bury{hit.branch, TRY(plan_place(to, hit.branch, to_path)),
                                   Identity::of(hit.attributes), hit.attributes.is_directory()});
        }
    }
    return plan;
}

void Union::publish_rename(const RenameSide& from, const RenameSide& to, unsigned flags,
                           std::shared_ptr<UniqueFd> held) {
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if (exchange && from.node && to.node) {
        return nodes_.exchange_places(from.node, from.parent, from.name, to.node, to.parent,
                                      to.name);
    }
    if (to.node && exchange) {
        nodes_.move_place(to.node, to.parent, to.name, from.parent, from.name);
    } else if (to.node) {
        if (to.node->is_directory()) forget_directory(to.node, to.hits);
        nodes_.remove_place(to.node, *to.parent, to.name, std::move(held));
    }
    if (from.node) {
        nodes_.move_place(from.node, from.parent, from.name, to.parent, to.name);
    }
}

Result<void> Union::run_rename(const Request& request, const Plan& plan, RenameSide& from,
                               RenameSide& to, unsigned flags) {
    const bool replaces = (flags & RENAME_EXCHANGE) == 0 && !to.hits.empty();
    auto held = replaces ? hold_last_name(to.node, to.hits.front(), to.name) : nullptr;
    if (plan.size() == 1) {
        TRY(sys::rename(from.opened.front()->get(), from.name, to.opened.front()->get(), to.name,
                        flags));
    } else {
        TRY(execute_plan(request, plan));
    }
    publish_rename(from, to, flags, std::move(held));
    return {};
}

Result<bool> Union::rename_locked(const Request& request, RenameSide& from, RenameSide& to,
                                  unsigned flags) {
    const Plan plan = TRY(plan_rename(from, to, flags));
    const bool replaces = (flags & RENAME_EXCHANGE) == 0 && !to.hits.empty();
    // The system call finds out by itself.
    if (plan.size() > 1 && replaces && to.is_directory() &&
        !TRY(is_empty_directory(*to.node, to.hits))) {
        return fail(ENOTEMPTY);
    }
    if ((flags & RENAME_WHITEOUT) != 0 && plan.size() != 1) return fail(EINVAL);
    if (!from.is_directory() && (to.hits.empty() || !to.is_directory())) {
        TRY(run_rename(request, plan, from, to, flags));
        return true;
    }
    const Lock lock(moves_);
    for (const RenameSide* side : {&from, &to}) {
        if (side->hits.empty() || !side->is_directory()) continue;
        if (!complete(*side->node, side->hits)) return false;
    }
    TRY(run_rename(request, plan, from, to, flags));
    return true;
}

Result<void> Union::rename_between(const Request& request, RenameSide& from, RenameSide& to,
                                   unsigned flags) {
    for (;;) {
        TRY(find_side(from));
        TRY(find_side(to));
        if (!TRY(check_rename(from, to, flags))) return {};
        // A directory that moves needs no lock: whatever is made in it meanwhile goes by moves_.
        // So only one directory is locked below the parents, the one that goes (lock order 2).
        const auto locked = [&](const RenameSide& side, bool goes) -> Node* {
            return side.node && (goes || !side.node->is_directory()) ? side.node.get() : nullptr;
        };
        std::array<Node*, 2> nodes{locked(to, (flags & RENAME_EXCHANGE) == 0), locked(from, false)};
        if (nodes[0] != nullptr && nodes[1] != nullptr && nodes[0]->id > nodes[1]->id) {
            std::swap(nodes[0], nodes[1]);
        }
        if (nodes[0] == nodes[1]) nodes[1] = nullptr;
        SharedMutex unused_first;
        SharedMutex unused_second;
        const Lock first(nodes[0] != nullptr ? nodes[0]->mutex : unused_first);
        const Lock second(nodes[1] != nullptr ? nodes[1]->mutex : unused_second);
        if (TRY(rename_locked(request, from, to, flags))) return {};
    }
}

Result<void> Union::rename(const Request& request, NodeId parent, Name name, NodeId new_parent,
                           Name new_name, unsigned flags) {
    constexpr unsigned kKnown = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if ((flags & ~kKnown) != 0 || (exchange && flags != RENAME_EXCHANGE)) return fail(EINVAL);
    TRY(request.journal.begin("rename"));
    RenameSide from{TRY(directory(parent)), name, {}, {}, {}};
    RenameSide to{TRY(directory(new_parent)), new_name, {}, {}, {}};
    if (parent == new_parent) {
        const Lock lock(from.parent->mutex);
        return rename_between(request, from, to, flags);
    }
    const Lock order(rename_mutex_);
    // Directories change their parents under rename_mutex_ only: what is above what stays so.
    const auto route = nodes_.route(*from.parent);
    const bool to_is_above = new_parent == kRootNode || (route && above(*route, to.parent));
    const Lock first(to_is_above ? to.parent->mutex : from.parent->mutex);
    const Lock second(to_is_above ? from.parent->mutex : to.parent->mutex);
    return rename_between(request, from, to, flags);
}

}  // namespace plyfs
