// SPDX-License-Identifier: GPL-2.0-or-later
//
// unlink and rmdir. One copy is one system call; several go as a plan, all or none.
#include <fcntl.h>

#include <algorithm>
#include <ranges>

#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "union/union.h"

namespace plyfs {

Result<std::string> Union::path_on_branch(const Node& directory) const {
    const auto route = nodes_.route(directory);
    if (!route) return fail(ENOENT);
    std::string path;
    for (const RouteStep& step : std::views::reverse(*route)) {
        if (!path.empty()) path += '/';
        path += step.name;
    }
    return path;
}

std::vector<PlanBranch> Union::plan_branches() const {
    std::vector<PlanBranch> result;
    for (const auto& branch : branches_) {
        result.push_back({branch->root(), branch->writable() ? &branch->work() : nullptr});
    }
    return result;
}

Result<void> Union::execute_plan(const Request& request, const Plan& plan) const {
    const std::vector<PlanBranch> branches = plan_branches();
    return execute(plan, {branches, request.journal, options_.warn});
}

Result<bool> Union::is_empty_directory(const Node& node, const Hits& hits) const {
    if (layered_) return TRY(read_names(node))->size() == 0;
    for (const Hit& hit : hits) {
        if (!hit.attributes.is_directory()) continue;
        const DirectoryRef directory = TRY(open_directory(node, hit.branch));
        if (!TRY(sys::is_empty(directory->get(), [](std::string_view) { return true; }))) {
            return false;
        }
    }
    return true;
}

Result<Union::Hits> Union::chosen_hits(const Hits& hits, config::Function function) const {
    const BranchList chosen = TRY(choose_action(policy_for(options_.policies, function),
                                                TRY(facts(hits)), thread_random_source()));
    Hits result;
    for (const std::size_t branch : chosen) {
        result.push_back(
            *std::ranges::find_if(hits, [&](const Hit& hit) { return hit.branch == branch; }));
    }
    return result;
}

Result<Union::Hits> Union::removable(const Node& parent, Name name, bool directories) const {
    Hits hits = TRY(find(parent, name, Scope::All));
    if (hits.empty()) return fail(ENOENT);
    TRY(check_removing(parent, name, hits));
    if (hits.front().attributes.is_directory() != directories) {
        return fail(directories ? ENOTDIR : EISDIR);
    }
    // What a branch has of the other kind under this name shows up when this is gone.
    const auto others = std::ranges::remove_if(
        hits, [&](const Hit& hit) { return hit.attributes.is_directory() != directories; });
    hits.erase(others.begin(), others.end());
    return hits;
}

Result<Union::Removal> Union::plan_removal(const Node& parent, Name name, const Hits& hits,
                                           config::Function function) const {
    Removal removal;
    Hits writable;
    for (const Hit& hit : hits) {
        if (!is_lower(hit.branch)) writable.push_back(hit);
    }
    removal.chosen = writable.size() > 1 ? TRY(chosen_hits(writable, function)) : writable;
    removal.whole = removal.chosen.size() == writable.size();
    if (removal.whole && hits.whiteouts.empty()) removal.hides = TRY(is_covered(parent, name));
    return removal;
}

Result<void> Union::remove(const Request& request, const NodeRef& parent, Name name,
                           const Removal& removal) {
    if (removal.hides) return remove_and_hide(request, parent, name, removal.chosen);
    return remove_hits(request, *parent, name, removal.chosen);
}

Result<void> Union::remove_hits(const Request& request, const Node& parent, Name name,
                                const Hits& hits) {
    const bool directories = hits.front().attributes.is_directory();
    if (hits.size() == 1) {
        const int at = hits.front().parent->get();
        if (!directories) return sys::remove_name(at, name);
        const auto removed = sys::remove_directory(at, name);
        if (removed || removed.error() != ENOTEMPTY || !layered_) return removed;
        return discard_directory(hits.front(), name);  // whiteouts are left in it
    }
    const std::string path = TRY(path_on_branch(parent));
    Plan plan;
    for (const Hit& hit : hits) {
        plan.emplace_back(Bury{hit.branch,
                               {hit.parent->get(), path, name.string()},
                               Identity::of(hit.attributes),
                               directories});
    }
    return execute_plan(request, plan);
}

std::shared_ptr<UniqueFd> Union::hold_last_name(const NodeRef& node, const Hit& shown,
                                                Name name) const {
    if (!node || nodes_.name_count(*node) > 1) return {};
    // Best effort: where no descriptor is to be had the object is gone for those who still refer
    // to it without having it open (ESTALE).
    auto held = node->is_directory() ? sys::open_directory_at(shown.parent->get(), name)
                                     : sys::open_at(shown.parent->get(), name, O_PATH);
    return held ? std::make_shared<UniqueFd>(*std::move(held)) : nullptr;
}

Result<void> Union::unlink(const Request& request, NodeId parent_id, Name name) {
    TRY(request.journal.begin("unlink"));
    const NodeRef parent = TRY(directory(parent_id));
    TRY(keep_count(request, parent, name));
    const Lock lock(parent->mutex);
    const Hits hits = TRY(removable(*parent, name, false));
    const Removal removal = TRY(plan_removal(*parent, name, hits, config::Function::Unlink));
    const NodeRef node = nodes_.find_object(hits.front().attributes.real);
    const auto unlink = [&]() -> Result<void> {
        auto held = hold_last_name(node, hits.front(), name);
        TRY(remove(request, parent, name, removal));
        const bool shown_went =
            removal.whole || std::ranges::any_of(removal.chosen, [&](const Hit& hit) {
                return hit.branch == hits.front().branch;
            });
        if (node && shown_went) nodes_.remove_place(node, *parent, name, std::move(held));
        drop_unnamed(node);
        return {};
    };
    if (!node) return unlink();
    const Lock node_lock(node->mutex);
    return unlink();
}

Result<void> Union::rmdir(const Request& request, NodeId parent_id, Name name) {
    TRY(request.journal.begin("rmdir"));
    const NodeRef parent = TRY(directory(parent_id));
    const Lock lock(parent->mutex);
    while (!TRY(remove_directory(request, parent, name))) {
    }
    return {};
}

Result<bool> Union::remove_directory(const Request& request, const NodeRef& parent, Name name) {
    const Hits hits = TRY(removable(*parent, name, true));
    const NodeRef node = intern(parent, name, hits);
    const Lock node_lock(node->mutex);
    if (!complete(*node, hits)) return false;
    // One directory's own system call finds out by itself.
    if ((hits.size() > 1 || layered_) && !TRY(is_empty_directory(*node, hits))) {
        return fail(ENOTEMPTY);
    }
    const Removal removal = TRY(plan_removal(*parent, name, hits, config::Function::Rmdir));
    if (layered_ && removal.chosen.size() > 1 &&
        TRY(clear_whiteouts(*node, name, removal.chosen))) {
        return false;
    }
    auto held = hold_last_name(node, hits.front(), name);
    TRY(remove(request, parent, name, removal));
    forget_directory(node, removal.whole ? hits : removal.chosen);
    if (removal.whole) nodes_.remove_place(node, *parent, name, std::move(held));
    return true;
}

void Union::forget_directory(const NodeRef& node, const Hits& removed) {
    Stack gone;
    for (const Hit& hit : removed) gone.push_back(hit.branch);
    Stack left;
    for (const BranchIndex branch : nodes_.stack(*node)) {
        if (std::ranges::find(gone, branch) == gone.end()) left.push_back(branch);
    }
    nodes_.set_stack(node, left);
    cache_.drop(node->id, gone);
}

}  // namespace plyfs
