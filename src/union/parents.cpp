// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories that a branch lacks are made there before something is put into them: with the
// owner, mode, times, ACLs and other extended attributes of the one that the union shows, complete
// before they get their name.
#include <fcntl.h>

#include <ranges>

#include <algorithm>

#include "copyup/copy_object.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

// The file system of the copy may know fewer kinds of attributes: those are left out. Nothing waits
// for the disk: the directory that a crash takes away had nothing in it yet.
copyup::CopyOptions as_parent() {
    copyup::CopyOptions options;
    options.durable = false;
    options.xattrs.lost = copyup::LostXattrs::LeftOut;
    return options;
}

// In the work directory, complete before it gets its name. Where the work directory lies on another
// mount than `parent`, in place: for a moment it is seen with mode 0700 and the daemon's owner.
Result<void> place_copy(int source, int work, Name temporary, int parent, Name name) {
    TRY(copyup::copy_object(source, work, temporary, as_parent()));
    const auto placed = sys::rename(work, temporary, parent, name, RENAME_NOREPLACE);
    if (placed) return placed;
    (void)sys::remove_directory(work, temporary);
    if (placed.error() != EXDEV) return placed;
    TRY(copyup::copy_object(source, parent, name, as_parent()));
    return {};
}

}  // namespace

Result<DirectoryRef> Union::ensure_directory(const NodeRef& node, BranchIndex branch) {
    const Stack stack = nodes_.stack(*node);
    if (std::ranges::find(stack, branch) != stack.end()) {
        auto there = open_directory(*node, branch);
        if (there || (there.error() != ENOENT && there.error() != ENOTDIR)) return there;
        // Seen there once, gone behind the mount: what is cached above it may be gone too.
    }
    // From looking at the route until all that is made on it is in the stacks: a rename of one of
    // these directories comes before, or sees the copies and takes them along.
    const SharedLock lock(moves_);
    const auto route = nodes_.route(*node);
    if (!route) return fail(ENOENT);
    // Outermost ancestor first. The nodes are kept alive by `node`.
    DirectoryRef at = TRY(open_directory_unmoved(*nodes_.root(), branch));
    for (const RouteStep& step : std::views::reverse(*route)) {
        const NodeRef ancestor = nodes_.find(step.node);
        if (!ancestor) return fail(ESTALE);
        auto there = open_directory_unmoved(*ancestor, branch);
        if (!there && there.error() == ENOENT) {
            there = clone_directory(ancestor, step, at->get(), branch);
        }
        if (!there) return there;
        at = *std::move(there);
        nodes_.add_to_stack(ancestor, branch);
    }
    return at;
}

Result<DirectoryRef> Union::clone_directory(const NodeRef& node, const RouteStep& step,
                                            int branch_parent, BranchIndex branch) {
    DirectoryRef source;
    for (const BranchIndex other : nodes_.stack(*node)) {
        if (other == branch) continue;
        if (auto opened = open_directory_unmoved(*node, other)) {
            source = *std::move(opened);
            break;
        }
    }
    if (!source) return fail(ENOENT);
    const Name name = TRY(Name::from(step.name));
    // Before the work directory is made, which may change the branch's root.
    const Attributes parent_before = TRY(sys::stat_descriptor(branch_parent));
    const int work = TRY(branches_[branch]->work().work());
    const std::string temporary = WorkDirectory::unique_name("directory");

    const auto placed =
        place_copy(source->get(), work, TRY(Name::from(temporary)), branch_parent, name);
    // EEXIST: somebody else made it in the same moment, theirs is as good.
    if (!placed && placed.error() != EEXIST) return fail(placed.error());
    // The union's parent directory has not changed: a name it had already got one more copy.
    (void)copyup::copy_times(parent_before, branch_parent);
    return open_directory_unmoved(*node, branch);
}

}  // namespace plyfs
