// SPDX-License-Identifier: GPL-2.0-or-later
//
// rename and its flags. Each copy is renamed on its own branch, where the destination's parents
// are made if they lack; copies of the destination elsewhere, which would shadow it or come back
// when it goes, are removed. More than one step goes as a plan, all or none.
#include <fcntl.h>

#include <algorithm>

#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

// One of the two names: what is there, and its node where the kernel knows it.
struct Union::RenameSide {
    NodeRef parent;
    Name name;
    Hits hits;
    NodeRef node;
    Hits copies{};  // those of `hits` on writable branches: what is moved
    // Keeps open what the plan's places borrow.
    boost::container::small_vector<DirectoryRef, 4> opened;

    const Hit* on(BranchIndex branch) const {
        const auto hit =
            std::ranges::find_if(hits, [&](const Hit& h) { return h.branch == branch; });
        return hit == hits.end() ? nullptr : &*hit;
    }
    bool is_directory() const { return hits.front().attributes.is_directory(); }
    // A directory of which read-only branches have a part.
    bool is_merged_below() const {
        return !hits.empty() && is_directory() && copies.size() < hits.size();
    }
    bool has_whiteout(BranchIndex branch) const {
        return std::ranges::find(hits.whiteouts, branch) != hits.whiteouts.end();
    }
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
    side.copies.clear();
    for (const Hit& hit : side.hits) {
        if (!is_lower(hit.branch)) side.copies.push_back(hit);
    }
    if (side.hits.empty()) return {};
    const bool known = side.is_directory() || side.hits.indexed;
    side.node = known ? intern(side.parent, side.name, side.hits)
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
    if (from.node && from.node == to.node) return false;
    if (!to.hits.empty() && from.hits.front().attributes.real == to.hits.front().attributes.real) {
        return false;
    }
    const auto from_route = nodes_.route(*from.parent);
    const auto to_route = nodes_.route(*to.parent);
    if (!from_route || !to_route) return fail(ENOENT);
    if (above(*to_route, from.node)) return fail(EINVAL);
    if (above(*from_route, to.node)) return fail(exchange ? EINVAL : ENOTEMPTY);
    TRY(check_removing(*from.parent, from.name, from.hits));
    TRY(to.hits.empty() ? check_adding(*to.parent) : check_removing(*to.parent, to.name, to.hits));
    if (!exchange && !to.hits.empty()) {
        if (from.is_directory() && !to.is_directory()) return fail(ENOTDIR);
        if (!from.is_directory() && to.is_directory()) return fail(EISDIR);
    }
    // Copied up before the locks were taken, and moved or removed since: the VFS looks again.
    for (const RenameSide* side : {&from, &to}) {
        if (side == &to && !exchange) break;
        if (side->copies.empty()) return fail(ESTALE);
        if (side->is_merged_below() && !options_.redirect) return fail(EXDEV);
    }
    return true;
}

Result<Place> Union::plan_place(RenameSide& side, BranchIndex branch, const std::string& path) {
    DirectoryRef directory = TRY(ensure_directory(side.parent, branch));
    Place place{directory->get(), path, side.name.string()};
    side.opened.push_back(std::move(directory));
    return place;
}

// As overlayfs (ovl_rename); of merged directories detach_below takes care.
Result<void> Union::take_origin_along(const RenameSide& from, const Hit& hit,
                                      const RenameSide& to) const {
    if (!layered_ || hit.attributes.is_directory() || from.parent == to.parent) return {};
    const UniqueFd object = TRY(sys::open_at(hit.parent->get(), from.name, O_PATH));
    if (!TRY(has_origin(nodes_.find_object(hit.attributes.real), object.get()))) return {};
    const DirectoryRef parent = TRY(open_directory(*to.parent, hit.branch));
    return mark_impure(*parent, hit.branch);
}

Result<Plan> Union::plan_rename(RenameSide& from, RenameSide& to, unsigned flags) {
    const std::string from_path = TRY(path_on_branch(*from.parent));
    const std::string to_path = TRY(path_on_branch(*to.parent));
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    const bool all = exchange || from.is_directory() || from.copies.size() == 1;
    const Hits moved = all ? from.copies : TRY(chosen_hits(from.copies, config::Function::Rename));
    const auto moves = [&](BranchIndex branch) {
        return std::ranges::any_of(moved, [&](const Hit& hit) { return hit.branch == branch; });
    };
    const BranchIndex first_moved = std::ranges::min_element(moved, {}, &Hit::branch)->branch;
    Plan plan;
    for (const Hit& hit : moved) {
        Place from_place = TRY(plan_place(from, hit.branch, from_path));
        Place to_place = TRY(plan_place(to, hit.branch, to_path));
        const Hit* const target = to.on(hit.branch);
        TRY(take_origin_along(from, hit, to));
        if (exchange && target != nullptr) TRY(take_origin_along(to, *target, from));
        const Identity identity = Identity::of(hit.attributes);
        if (target == nullptr && to.has_whiteout(hit.branch)) {
            TRY(plan_over_whiteout(plan, hit, std::move(from_place), std::move(to_place)));
        } else if (target == nullptr || exchange) {
            plan.emplace_back(
                Move{hit.branch, std::move(from_place), std::move(to_place), identity,
                     target != nullptr ? Move::Mode::Exchange : Move::Mode::NoReplace});
        } else {
            plan.emplace_back(Replace{hit.branch, std::move(from_place), std::move(to_place),
                                      identity, Identity::of(target->attributes),
                                      target->attributes.is_directory()});
        }
    }
    for (const Hit& hit : from.copies) {
        if (moves(hit.branch)) continue;
        plan.emplace_back(Bury{hit.branch, TRY(plan_place(from, hit.branch, from_path)),
                               Identity::of(hit.attributes), hit.attributes.is_directory()});
    }
    for (const Hit& hit : to.copies) {
        if (moves(hit.branch)) continue;
        // Of another kind, and shadowed now as before: not what is replaced.
        if (!exchange && hit.attributes.is_directory() != to.is_directory() &&
            hit.branch > first_moved) {
            continue;
        }
        if (exchange) {
            Place to_place = TRY(plan_place(to, hit.branch, to_path));
            Place from_place = TRY(plan_place(from, hit.branch, from_path));
            TRY(take_origin_along(to, hit, from));
            if (from.has_whiteout(hit.branch)) {
                TRY(plan_over_whiteout(plan, hit, std::move(to_place), std::move(from_place)));
            } else {
                plan.emplace_back(Move{hit.branch, std::move(to_place), std::move(from_place),
                                       Identity::of(hit.attributes), Move::Mode::NoReplace});
            }
        } else {
            plan.emplace_back(Bury{hit.branch, TRY(plan_place(to, hit.branch, to_path)),
                                   Identity::of(hit.attributes), hit.attributes.is_directory()});
        }
    }
    return plan;
}

// A whiteout is replaced like a file; with a directory it changes places, and then goes.
Result<void> Union::plan_over_whiteout(Plan& plan, const Hit& moved, Place from, Place to) const {
    const Identity identity = Identity::of(moved.attributes);
    const auto whiteout = sys::stat_at(to.directory, TRY(Name::from(to.name)));
    if (!whiteout && whiteout.error() != ENOENT) return fail(whiteout.error());
    if (!whiteout) {  // a `.wh.` file: it may stay beside the object
        plan.emplace_back(
            Move{moved.branch, std::move(from), std::move(to), identity, Move::Mode::NoReplace});
    } else if (!moved.attributes.is_directory()) {
        plan.emplace_back(Replace{moved.branch, std::move(from), std::move(to), identity,
                                  Identity::of(*whiteout), false});
    } else {
        const Place rest = from;
        plan.emplace_back(
            Move{moved.branch, std::move(from), std::move(to), identity, Move::Mode::Exchange});
        plan.emplace_back(Bury{moved.branch, rest, Identity::of(*whiteout), false});
    }
    return {};
}

Result<void> Union::copy_up_name(const Request& request, const NodeRef& parent, Name name) {
    if (!layered_) return {};
    NodeRef node;
    {
        const SharedLock lock(parent->mutex);
        const Hits hits = TRY(find(*parent, name, Scope::Shown));
        if (hits.empty()) return {};
        TRY(check_removing(*parent, name, hits));
        node = intern(parent, name, hits);
    }
    TRY(copy_up(request, node, CopyNeed::Attributes));
    if (node->is_directory()) return {};
    TRY(make_movable(request, node));
    return give_name(parent, name, node);
}

// What is seen below the old name would come up: a whiteout has to take its place.
Result<void> Union::hide_old_name(RenamePlan& plan, RenameSide& from, const RenameSide& to) {
    if (!from.hits.whiteouts.empty()) return {};
    if (!TRY(is_covered(*from.parent, from.name))) return {};
    const BranchIndex branch = TRY(whiteout_branch());
    LayerWriter& layer = branches_[branch]->layer();
    const bool device = TRY(layer.format()).whiteout == format::WhiteoutKind::Device;
    const auto moved = std::ranges::find(from.copies, branch, &Hit::branch);
    if (moved == from.copies.end() || !device) {
        // First, since what is about to go hides the same.
        const DirectoryRef directory = TRY(ensure_directory(from.parent, branch));
        TRY(TRY(layer.whiteouts())->place(directory->get(), from.name));
        directory->forget_marks();
        return {};
    }
    if (plan.steps.size() == 1) {
        plan.flags |= RENAME_WHITEOUT;
        return {};
    }
    // An exchange with a whiteout has left one there already.
    const auto left = std::ranges::find_if(plan.steps, [&](const Step& step) {
        const auto* bury = std::get_if<Bury>(&step);
        return bury != nullptr && bury->branch == branch && to.has_whiteout(branch) &&
               bury->place.name == from.name.view() && from.is_directory();
    });
    if (left != plan.steps.end()) {
        plan.steps.erase(left);
        plan.flags = RENAME_EXCHANGE;
        return {};
    }
    WorkDirectory& work = branches_[branch]->work();
    const int directory = TRY(work.work());
    const std::string staged = TRY(TRY(layer.whiteouts())->stage());
    const Attributes whiteout = TRY(sys::stat_at(directory, TRY(Name::from(staged))));
    plan.steps.emplace_back(Move{branch,
                                 {directory, WorkDirectory::work_path(), staged},
                                 TRY(plan_place(from, branch, TRY(path_on_branch(*from.parent)))),
                                 Identity::of(whiteout),
                                 Move::Mode::NoReplace});
    return {};
}

// The directory takes along what read-only branches have of it, and is not merged with what they
// have at its new place.
Result<void> Union::detach_below(const RenameSide& from, const RenameSide& to) const {
    if (!from.is_directory()) return {};
    const bool merged = from.is_merged_below();
    if (!merged && !TRY(is_covered(*to.parent, to.name))) return {};
    for (const Hit& hit : from.copies) {
        const format::MarkFormat marks = TRY(branches_[hit.branch]->layer().format());
        const DirectoryRef directory = TRY(open_directory(*from.node, hit.branch));
        if (merged) {
            const auto redirect = [&] {
                const SharedLock lock(moves_);
                return redirect_to(*from.node);
            }();
            const auto written = format::write_redirect(directory->get(), marks, TRY(redirect));
            if (!written && (written.error() == ENAMETOOLONG || written.error() == EOPNOTSUPP)) {
                return fail(EXDEV);
            }
            TRY(written);
            const DirectoryRef parent = TRY(open_directory(*to.parent, hit.branch));
            TRY(mark_impure(*parent, hit.branch));
        } else {
            TRY(format::set_opaque(directory->get(), marks));
        }
        directory->forget_marks();
    }
    return {};
}

// As overlayfs: by the names that are seen, up to a directory whose own redirect goes from the
// root. So it is right from the first layer on, whatever those say on the way (ovl_get_redirect).
Result<format::Redirect> Union::redirect_to(const Node& directory) const {
    const auto route = nodes_.route(directory);
    if (!route) return fail(ENOENT);
    std::string path;
    for (const RouteStep& step : *route) {
        const NodeRef node = nodes_.find(step.node);
        if (!node) return fail(ESTALE);
        std::optional<format::Redirect> own;
        for (const BranchIndex branch : nodes_.stack(*node)) {
            if (is_lower(branch) || own) continue;
            const auto opened = open_directory_unmoved(*node, branch);
            if (!opened && is_absent(opened.error())) continue;
            if (!opened) return fail(opened.error());
            if (!TRY((*opened)->marks(options_.marks)).redirected) continue;
            own = TRY(format::read_redirect((*opened)->get(), options_.marks));
        }
        if (!own) {
            path.insert(0, '/' + step.name);
            continue;
        }
        std::string above;
        for (const std::string& component : own->components) above += '/' + component;
        path.insert(0, above);
        if (own->absolute) break;
    }
    return format::parse_redirect(path);
}

Result<LowerPlaces> Union::lower_places(const RenameSide& side) const {
    LowerPlaces places;
    if (!side.is_merged_below()) return places;
    for (const Hit& hit : side.hits) {
        if (!is_lower(hit.branch)) continue;
        places.push_back({hit.branch, TRY(lower_path(*side.node, hit.branch))});
    }
    return places;
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
        drop_unnamed(to.node);
    }
    if (from.node) {
        nodes_.move_place(from.node, from.parent, from.name, to.parent, to.name);
    }
}

Result<void> Union::run_rename(const Request& request, const RenamePlan& plan, RenameSide& from,
                               RenameSide& to, unsigned flags) {
    const bool replaces = (flags & RENAME_EXCHANGE) == 0 && !to.hits.empty();
    auto held = replaces ? hold_last_name(to.node, to.hits.front(), to.name) : nullptr;
    const LowerPlaces from_places = TRY(lower_places(from));
    const LowerPlaces to_places = TRY(lower_places(to));
    if (plan.steps.size() == 1) {
        TRY(sys::rename(from.opened.front()->get(), from.name, to.opened.front()->get(), to.name,
                        plan.flags));
    } else {
        TRY(execute_plan(request, plan.steps));
    }
    publish_rename(from, to, flags, std::move(held));
    if (from.is_merged_below()) nodes_.set_lower_places(from.node, from_places);
    if ((flags & RENAME_EXCHANGE) != 0 && to.is_merged_below()) {
        nodes_.set_lower_places(to.node, to_places);
    }
    return {};
}

Result<bool> Union::rename_locked(const Request& request, RenameSide& from, RenameSide& to,
                                  unsigned flags) {
    RenamePlan plan{TRY(plan_rename(from, to, flags)), flags};
    const bool replaces = (flags & RENAME_EXCHANGE) == 0 && !to.hits.empty();
    // The system call finds out by itself.
    if ((plan.steps.size() > 1 || layered_) && replaces && to.is_directory() &&
        !TRY(is_empty_directory(*to.node, to.hits))) {
        return fail(ENOTEMPTY);
    }
    if ((flags & RENAME_WHITEOUT) != 0 && plan.steps.size() != 1) return fail(EINVAL);
    if (layered_) {
        if (replaces && to.is_directory() && TRY(clear_whiteouts(*to.node, to.name, to.copies)))
            return false;
        // That nothing is there was seen under the locks; a whiteout may be.
        if (to.hits.empty()) plan.flags &= ~static_cast<unsigned>(RENAME_NOREPLACE);
        // Redirects first: a whiteout on another branch would hide what is merged without one.
        TRY(detach_below(from, to));
        if ((flags & RENAME_EXCHANGE) != 0) {
            TRY(detach_below(to, from));
        } else {
            TRY(hide_old_name(plan, from, to));
        }
    }
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
    constexpr unsigned kKnownFlags = RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT;
    const bool exchange = (flags & RENAME_EXCHANGE) != 0;
    if ((flags & ~kKnownFlags) != 0 || (exchange && flags != RENAME_EXCHANGE)) return fail(EINVAL);
    TRY(request.journal.begin("rename"));
    RenameSide from{TRY(directory(parent)), name, {}, {}, {}, {}};
    RenameSide to{TRY(directory(new_parent)), new_name, {}, {}, {}, {}};
    TRY(copy_up_name(request, from.parent, name));
    TRY(exchange ? copy_up_name(request, to.parent, new_name)
                 : keep_count(request, to.parent, new_name));
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
