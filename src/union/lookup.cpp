// SPDX-License-Identifier: GPL-2.0-or-later
//
// From a name to a node: what the branches have under it, which of that the union shows, and the
// attributes it is shown with.
#include <algorithm>
#include <tuple>

#include "format/whiteout.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

bool Union::in_order(config::Policy policy) {
    return policy == config::Policy::Ff || policy == config::Policy::EpFf ||
           policy == config::Policy::All || policy == config::Policy::EpAll;
}

Result<NodeRef> Union::own_node(NodeId id) const {
    NodeRef found = nodes_.find(id);
    if (!found) return fail(ESTALE);
    return found;
}

Result<NodeRef> Union::node(NodeId id) const {
    NodeRef found = TRY(own_node(id));
    if (NodeRef successor = nodes_.successor(*found)) return successor;
    return found;
}

bool Union::superseded(NodeId id) const {
    const NodeRef found = nodes_.find(id);
    return found && nodes_.successor(*found);
}

Result<NodeRef> Union::directory(NodeId id) const {
    NodeRef found = TRY(node(id));
    if (!found->is_directory()) return fail(ENOTDIR);
    return found;
}

bool Union::hidden(const Node& parent, Name name) const {
    if (work_in_root_ && parent.id == kRootNode && name.view() == kWorkDirectoryName) return true;
    return layered_ && format::is_reserved_name(name.view(), options_.marks);
}

Result<Union::Hits> Union::find(const Node& parent, Name name, Scope scope) const {
    const config::Policy policy = policy_for(options_.policies, config::Function::Getattr);
    Hits hits;
    hits.dated = nodes_.copies_made();
    if (hidden(parent, name)) return hits;
    std::optional<Errno> failure;
    const Stack stack = nodes_.stack(parent);
    Descent descent;
    for (std::size_t index = 0; index < branches_.size(); ++index) {
        const auto branch = static_cast<BranchIndex>(index);
        // A whiteout is about what has the name below, not about what was moved here from below.
        const bool hidden_below = descent.ended || (!hits.whiteouts.empty() && !descent.redirect);
        if (is_lower(branch) && hidden_below) break;
        // What was moved is found from the roots, whether or not its parent is there.
        const bool from_root = is_lower(branch) && descent.redirect && descent.redirect->absolute;
        if (!from_root && !std::ranges::binary_search(stack, branch)) continue;
        const bool last = is_lower(branch) && !from_root && branch == stack.back();
        descent.below = last ? format::Below::Nothing : format::Below::Something;
        const auto found = see(parent, name, branch, descent, hits);
        if (!found) {
            failure = found.error();
            hits.unseen.push_back(branch);
        }
        if (scope == Scope::All || hits.empty() || !in_order(policy)) continue;
        // A file among copies of a directory hides nothing.
        if (hits.size() == 1 && !hits.front().attributes.is_directory()) break;
    }
    if (failure && (hits.empty() || scope == Scope::All)) return fail(*failure);
    TRY(see_index(hits, name));
    show_first(hits, policy);
    return hits;
}

void Union::show_first(Hits& hits, config::Policy policy) const {
    if (hits.size() < 2 || in_order(policy)) return;
    std::vector<BranchFacts> candidates;
    for (const Hit& hit : hits) {
        // Layers have their order; the policy is about the pool on top of them.
        if (is_lower(hit.branch)) continue;
        const auto one = facts(hit.branch, true, hit.attributes.modification_time);
        if (one) candidates.push_back(*one);
    }
    const auto chosen = choose_search(policy, candidates, thread_random_source());
    if (!chosen) return;
    const auto shown =
        std::ranges::find_if(hits, [&](const Hit& hit) { return hit.branch == chosen->front(); });
    std::rotate(hits.begin(), shown, shown + 1);
}

NodeRef Union::intern(const NodeRef& parent, Name name, const Hits& hits) {
    const Hit& shown = hits.front();
    if (hits.indexed) {
        const IndexedCopy& copy = *hits.indexed;
        const NodeRef node =
            nodes_.object_at(parent, name, copy.attributes.real, copy.attributes.mode, copy.branch);
        nodes_.set_index_entry(node, copy.entry);
        return node;
    }
    if (hits.alone) {
        return nodes_.object_alone_at(parent, name, shown.attributes.real, shown.attributes.mode,
                                      shown.branch);
    }
    if (!shown.attributes.is_directory()) {
        return nodes_.object_at(parent, name, shown.attributes.real, shown.attributes.mode,
                                shown.branch);
    }
    Stack stack;
    LowerPlaces places;
    for (const Hit& hit : hits) {
        if (!hit.attributes.is_directory()) continue;
        stack.push_back(hit.branch);
        if (!hit.lower_path.empty()) places.push_back({hit.branch, hit.lower_path});
    }
    stack.insert(stack.end(), hits.unseen.begin(), hits.unseen.end());
    std::ranges::sort(stack);
    Stack gone;
    NodeRef node = nodes_.directory_at(parent, name, stack, hits.dated, places, gone);
    if (!gone.empty()) cache_.drop(node->id, gone);
    for (const Hit& hit : hits) {
        if (!hit.attributes.is_directory()) continue;
        cache_.confirm(node->id, hit.branch, hit.attributes.real);
        if (hit.self) cache_.insert(node->id, hit.branch, hit.self, hit.attributes.real);
    }
    return node;
}

Result<std::uint64_t> Union::inode_of(const Attributes& attributes, int descriptor) const {
    const std::uint16_t tag = TRY(tags_.tag(attributes.real.device, descriptor));
    return inode_number(tag, attributes.real.inode);
}

Result<std::uint64_t> Union::inode_of(const Attributes& attributes, Name name, int parent,
                                      BranchIndex branch) const {
    if (attributes.real.device == branches_[branch]->device()) {
        return inode_of(attributes, branches_[branch]->root());
    }
    // A mount or a subvolume below the branch: asked itself where that is possible.
    if (attributes.is_directory()) {
        const UniqueFd directory = TRY(sys::open_directory_at(parent, name));
        return inode_of(attributes, directory.get());
    }
    return inode_of(attributes, parent);
}

bool Union::complete(const Node& node, const Hits& hits) const {
    const Stack stack = nodes_.stack(node);
    return std::ranges::all_of(stack, [&](BranchIndex branch) {
        return std::ranges::any_of(hits, [&](const Hit& hit) {
            return hit.branch == branch && hit.attributes.is_directory();
        });
    });
}

Attributes Union::merge(std::span<const Attributes> attributes, std::size_t writable) {
    Attributes merged = attributes.front();
    std::size_t eldest = 0;
    for (std::size_t index = 1; index < std::min(writable, attributes.size()); ++index) {
        const Attributes& other = attributes[index];
        merged.access_time = std::max(merged.access_time, other.access_time);
        merged.modification_time = std::max(merged.modification_time, other.modification_time);
        merged.change_time = std::max(merged.change_time, other.change_time);
        // Of copies made in one tick, the same one whatever the order of the branches.
        const Attributes& oldest = attributes[eldest];
        if (other.has_birth &&
            std::tie(other.real.birth, other.inode) < std::tie(oldest.real.birth, oldest.inode)) {
            eldest = index;
        }
    }
    // Read-only branches do not change: the first that has it gives the number, as in overlayfs,
    // whatever copies are made above. It gives the times too only while there are none.
    if (writable < attributes.size()) eldest = writable;
    // 1 says that the number of subdirectories is not counted, as on btrfs: programs that would
    // stop at the count (find) read the types instead.
    if (attributes.size() > 1) merged.links = 1;
    merged.real.birth = attributes[eldest].real.birth;
    merged.inode = attributes[eldest].inode;
    return merged;
}

Result<Attributes> Union::shown_attributes(const Hits& hits, Name name) const {
    if (hits.indexed) {
        const Hit& lower = hits.front();
        Attributes attributes = hits.indexed->attributes;
        attributes.inode = TRY(inode_of(lower.attributes, name, lower.parent->get(), lower.branch));
        if (const NodeRef node = nodes_.find_object(attributes.real)) {
            nodes_.set_shown_inode(node, attributes.inode);
        }
        TRY(count_indexed(hits.indexed->entry, hits.indexed->branch, attributes));
        return attributes;
    }
    boost::container::small_vector<Attributes, 4> found;
    std::size_t writable = 0;
    for (const Hit& hit : hits) {
        if (hit.attributes.is_directory() != hits.front().attributes.is_directory()) continue;
        found.push_back(hit.attributes);
        found.back().inode = TRY(inode_of(hit.attributes, name, hit.parent->get(), hit.branch));
        if (!is_lower(hit.branch)) ++writable;
        if (!hit.attributes.is_directory()) break;
    }
    return with_origin(hits.front(), name, merge({found.data(), found.size()}, writable));
}

Result<Entry> Union::entry(const NodeRef& node, const Hits& hits, Name name) {
    const Attributes attributes = TRY(shown_attributes(hits, name));
    nodes_.count_lookup(node);
    return Entry{node->id, attributes};
}

Result<Entry> Union::lookup(NodeId parent_id, Name name) {
    const NodeRef parent = TRY(directory(parent_id));
    if (parent->listing_kept.load(std::memory_order_relaxed)) parent->names_asked = true;
    const SharedLock lock(parent->mutex);
    const Hits hits = TRY(find(*parent, name, Scope::Shown));
    if (hits.empty()) return fail(ENOENT);
    return entry(intern(parent, name, hits), hits, name);
}

}  // namespace plyfs
