// SPDX-License-Identifier: GPL-2.0-or-later
//
// Opening regular files. What is done with an open file goes to its descriptor (sys/data.h).
#include <fcntl.h>

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
    const NodeRef node = TRY(this->node(id));
    if (node->is_directory()) return fail(EISDIR);
    const bool changes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
    if (changes) TRY(request.journal.begin("open"));
    if (changes) {
        const bool empties = (flags & O_TRUNC) != 0;
        TRY(copy_up(request, node, empties ? CopyNeed::Truncated : CopyNeed::Data));
    }
    const SharedLock lock(node->mutex);
    const BranchIndex branch = nodes_.stack(*node).front();
    if (changes && !branches_[branch]->writable()) return fail(EROFS);
    const sys::KeepSetId keep((flags & O_TRUNC) != 0 && !drop_set_id);
    // In two steps where it truncates: only what is known to be the node's own file.
    const int wanted = open_file_flags(flags) & ~O_TRUNC;
    const auto open_as = [&](int how) { return open_object(*node, how); };
    auto found = branches_[branch]->spare_access_times()
                     ? sys::open_sparing_access_time(wanted, open_as)
                     : open_as(wanted);
    // An append-only file (chattr +a) is opened for appending or not at all.
    if (!found && found.error() == EPERM && (flags & O_APPEND) != 0) {
        found = open_object(*node, wanted | O_APPEND);
    }
    UniqueFd descriptor = TRY(std::move(found));
    if ((flags & O_TRUNC) != 0) TRY(sys::truncate(descriptor.get(), 0));
    if (auto below = changes ? std::nullopt : TRY(data_below(*node, descriptor.get()))) {
        descriptor = TRY(open_data(*below, wanted));
        const RealId real = TRY(sys::stat_descriptor(descriptor.get())).real;
        return opened({std::move(descriptor), node, real, below->branch, flags});
    }
    return opened({std::move(descriptor), node, nodes_.real(*node), branch, flags});
}

}  // namespace plyfs
