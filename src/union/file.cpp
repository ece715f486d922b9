// SPDX-License-Identifier: GPL-2.0-or-later
//
// Opening regular files. What is done with an open file goes to its descriptor (sys/data.h).
#include <fcntl.h>

#include <utility>

#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

int Union::open_file_flags(int flags) {
    // Not O_APPEND: offsets come from the kernel, also those of mapped pages written back through
    // this descriptor, which O_APPEND would send to the end (pwrite(2), BUGS). Not O_DIRECT: the
    // daemon's buffers need not be aligned. Not O_NONBLOCK: it means nothing for regular files.
    return flags & (O_ACCMODE | O_TRUNC | O_SYNC | O_DSYNC | O_NOATIME | O_LARGEFILE);
}

Result<OpenedFile> Union::open(const Request& request, NodeId id, int flags, bool drop_set_id) {
    const NodeRef own = TRY(own_node(id));
    if (own->is_directory()) return fail(EISDIR);
    if (files_.size() >= options_.open_files) return fail(EMFILE);
    const bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    if (changes) TRY(request.journal.begin("open"));
    turned_away_.moved_on(request.thread, id);
    const NodeRef successor = nodes_.successor(*own);
    if (successor) {
        if (auto kept = nodes_.snapshot(*own)) {
            const Errno refusal = turn_away(request, *own);
            if (changes || refusal == ESTALE) return fail(refusal);
            return open_snapshot(own, std::move(kept), flags);
        }
    }
    const NodeRef& node = successor ? successor : own;
    if (changes) {
        TRY(check_open(*node, flags));
        const bool empties = (flags & O_TRUNC) != 0;
        TRY(copy_up(request, node, empties ? CopyNeed::Truncated : CopyNeed::Data));
        TRY(part_from_readers(request, node));
    }
    const SharedLock lock(node->mutex);
    if (!changes && layered_) {
        if (auto kept = nodes_.snapshot(*node)) return open_snapshot(own, std::move(kept), flags);
    }
    OpenedObject found = TRY(open_for(*node, flags, drop_set_id));
    const Branch& branch = *branches_[found.branch];
    std::shared_ptr<const Snapshot> kept;
    if (!branch.writable() && writable_ && branch.readers() == config::Readers::Snapshot) {
        kept = nodes_.hold_snapshot(node, std::make_shared<const Snapshot>(Snapshot{
                                              found.attributes.real, found.branch,
                                              TRY(sys::duplicate(found.descriptor.get()))}));
    }
    OpenedFile result =
        opened({std::move(found.descriptor), own, found.attributes.real, found.branch, flags,
                std::make_shared<FollowedFile>(), std::move(kept)},
               found.attributes);
    result.shared_file = successor != nullptr || nodes_.is_twin(*own);
    return result;
}

Result<Union::OpenedObject> Union::open_for(const Node& node, int flags, bool drop_set_id) {
    const bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    const BranchIndex branch = nodes_.stack(node).front();
    if (changes && !branches_[branch]->writable()) return fail(EROFS);
    const sys::KeepSetId keep((flags & O_TRUNC) != 0 && !drop_set_id);
    // In two steps where it truncates: only what is known to be the node's own file.
    int wanted = open_file_flags(flags) & ~O_TRUNC;
    // The file system does not hold it to the mark: this descriptor does, wherever it is written.
    const bool marked = layered_ && !is_lower(branch);
    if (marked && changes && TRY(protection(node)).append) wanted |= O_APPEND;
    OpenedObject object{{}, {}, branch};
    const auto open_as = [&](int how) { return open_object(node, how, &object.attributes); };
    auto found = branches_[branch]->spare_access_times()
                     ? sys::open_sparing_access_time(wanted, open_as)
                     : open_as(wanted);
    // An append-only file (chattr +a) is opened for appending or not at all.
    if (!found && found.error() == EPERM && (flags & O_APPEND) != 0) {
        found = open_as(wanted | O_APPEND);
    }
    object.descriptor = TRY(std::move(found));
    if ((flags & O_TRUNC) != 0) {
        TRY(sys::truncate(object.descriptor.get(), 0));
        object.attributes = {};
    }
    const bool append_only = marked && TRY(protection_of(node, object.descriptor.get())).append;
    if (auto below = changes ? std::nullopt : TRY(data_below(node, object.descriptor.get()))) {
        object.descriptor = TRY(open_data(*below, wanted));
        object.branch = below->branch;
        object.attributes = {};
    }
    if (object.attributes.mode == 0) {
        object.attributes = TRY(sys::stat_descriptor(object.descriptor.get()));
    }
    if (append_only) object.attributes.flags |= STATX_ATTR_APPEND;
    return object;
}

Result<OpenedFile> Union::open_snapshot(const NodeRef& node,
                                        std::shared_ptr<const Snapshot> snapshot, int flags) {
    UniqueFd descriptor = TRY(sys::open_sparing_access_time(
        open_file_flags(flags), [&](int how) { return sys::reopen(snapshot->object.get(), how); }));
    const Attributes attributes = TRY(sys::stat_descriptor(descriptor.get()));
    const BranchIndex branch = snapshot->branch;
    return opened({std::move(descriptor), node, attributes.real, branch, flags,
                   std::make_shared<FollowedFile>(), std::move(snapshot)},
                  attributes);
}

Result<void> Union::part_from_readers(const Request& request, const NodeRef& node) {
    if (!layered_) return {};
    const Lock lock(node->mutex);
    if (!nodes_.snapshot(*node)) return {};
    return fail(supersede(request, node, false));
}

Errno Union::part(const Request& request, NodeId id) {
    const NodeRef node = nodes_.find(id);
    if (!node) return Errno(ESTALE);
    const Lock lock(node->mutex);
    return supersede(request, node, true);
}

Errno Union::supersede(const Request& request, const NodeRef& node, bool same_file) {
    const auto names = nodes_.supersede(node, same_file);
    if (options_.outdated) {
        for (const NodeName& name : names) options_.outdated(name.parent->id, name.name);
    }
    return turn_away(request, *node);
}

Errno Union::turn_away(const Request& request, const Node& node) {
    return Errno(turned_away_.turn_away(node.id, request.thread) ? ESTALE : ETXTBSY);
}

}  // namespace plyfs
