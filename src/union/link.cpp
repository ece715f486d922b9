// SPDX-License-Identifier: GPL-2.0-or-later
//
// link: a further name on the branch where the file is, whose parents are made there if they lack.
#include <fcntl.h>

#include <algorithm>

#include "sys/entry.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

Result<Entry> Union::link(const Request& request, NodeId id, NodeId new_parent_id, Name new_name) {
    TRY(request.journal.begin("link"));
    const NodeRef parent = TRY(directory(new_parent_id));
    const NodeRef node = TRY(this->node(id));
    if (!node->is_directory()) {
        TRY(check_adding(*parent));
        TRY(check_attributes(*node));
        TRY(copy_up(request, node, CopyNeed::Attributes));
        TRY(make_movable(request, node));
    }
    const Lock lock(parent->mutex);
    const Stack whiteouts = TRY(check_absent(*parent, new_name));
    // Before its lock is taken: it may be above `parent`.
    if (node->is_directory()) return fail(EPERM);
    const Lock node_lock(node->mutex);
    if (nodes_.stack(*parent).empty()) return fail(ENOENT);
    const BranchIndex branch = nodes_.stack(*node).front();
    if (!branches_[branch]->writable()) return fail(EROFS);
    const UniqueFd object = TRY(open_object(*node, O_PATH));
    const DirectoryRef directory = TRY(ensure_directory(parent, branch));
    if (layered_ && TRY(has_origin(node, object.get()))) TRY(mark_impure(*directory, branch));
    // By the descriptor: the very file that the node is, also one without a name (O_TMPFILE).
    const auto make = [&](int at) { return sys::link_descriptor(object.get(), at, new_name); };
    if (std::ranges::find(whiteouts, branch) == whiteouts.end()) {
        TRY(make(directory->get()));
    } else {
        TRY(make_over_whiteout(request, {branch, directory->get(), new_name}, make));
    }
    const Hits hits = TRY(find(*parent, new_name, Scope::Shown));
    if (hits.empty()) return fail(ENOENT);
    return entry(intern(parent, new_name, hits), hits, new_name);
}

}  // namespace plyfs
