// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories that a branch lacks are made there before something is put into them: with the
// owner, mode, times, ACLs and other extended attributes of the one that the union shows, complete
// before they get their name.
#include <fcntl.h>

#include <ranges>

#include <algorithm>

#include "copyup/copy_object.h"
#include "format/escape.h"
#include "format/whiteout.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

// The file system of the copy may know fewer kinds of attributes: those are left out. Nothing waits
// for the disk: the directory that a crash takes away had nothing in it yet.
copyup::CopyOptions as_parent(const format::MarkRules& marks) {
    copyup::CopyOptions options;
    options.durable = false;
    options.xattrs.lost = copyup::LostXattrs::LeftOut;
    options.xattrs.leave_out = [&marks](std::string_view name) {
        return format::is_mark_name(name, marks);
    };
    return options;
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
        // ENOTDIR: a whiteout may be there, which hides what another writable branch has not.
        if (!there && is_absent(there.error())) {
            there = clone_directory(ancestor, step, *at, branch, there.error());
        }
        if (!there) return there;
        at = *std::move(there);
        nodes_.add_to_stack(ancestor, branch);
    }
    return at;
}

Result<DirectoryRef> Union::clone_directory(const NodeRef& node, const RouteStep& step,
                                            const OpenDirectory& branch_parent, BranchIndex branch,
                                            Errno why) {
    DirectoryCopy copy{{}, 0, TRY(Name::from(step.name)), branch_parent, branch, false, {}};
    bool has_lower_part = false;
    for (const BranchIndex other : nodes_.stack(*node)) {
        has_lower_part = has_lower_part || is_lower(other);
        if (other == branch || copy.source) continue;
        if (auto opened = open_directory_unmoved(*node, other)) {
            copy.source = *std::move(opened);
            copy.source_branch = other;
        }
    }
    if (!copy.source) return fail(ENOENT);
    if (why == ENOTDIR) {
        if (!layered_) return fail(ENOTDIR);
        const LayerMarks marks = TRY(branch_parent.marks(options_.marks));
        const Attributes there = TRY(sys::stat_at(branch_parent.get(), copy.name));
        copy.over_whiteout = TRY(format::is_whiteout(branch_parent.get(), copy.name, there,
                                                     marks.directory, options_.marks));
        if (!copy.over_whiteout) return fail(ENOTDIR);
        if (has_lower_part) copy.redirect = TRY(redirect_to(*node));
    }
    // Before the work directory is made, which may change the branch's root.
    const Attributes parent_before = TRY(sys::stat_descriptor(branch_parent.get()));
    const auto placed = place_directory(copy);
    // EEXIST: somebody else made it in the same moment, theirs is as good.
    if (!placed && placed.error() != EEXIST) return fail(placed.error());
    // The union's parent directory has not changed: a name it had already got one more copy.
    (void)copyup::copy_times(parent_before, branch_parent.get());
    return open_directory_unmoved(*node, branch);
}

// In the work directory, complete before it gets its name. Where the work directory lies on another
// mount than the parent, in place: for a moment it is seen with mode 0700 and the daemon's owner.
Result<void> Union::place_directory(const DirectoryCopy& copy) const {
    const int work = TRY(branches_[copy.branch]->work().work());
    const std::string text = WorkDirectory::unique_name("directory");
    const Name temporary = TRY(Name::from(text));
    const int parent = copy.parent.get();
    const auto placed = [&]() -> Result<void> {
        const auto made = TRY(
            copyup::copy_object(copy.source->get(), work, temporary, as_parent(options_.marks)));
        TRY(mark_directory_copy(copy, made));
        return sys::rename(work, temporary, parent, copy.name,
                           copy.over_whiteout ? RENAME_EXCHANGE : RENAME_NOREPLACE);
    }();
    if (placed && copy.over_whiteout) return sys::remove_name(work, temporary);
    if (placed) return placed;
    (void)sys::remove_directory(work, temporary);
    if (placed.error() != EXDEV) return placed;
    TRY(copyup::copy_object(copy.source->get(), parent, copy.name, as_parent(options_.marks)));
    return {};
}

Result<void> Union::mark_directory_copy(const DirectoryCopy& copy,
                                        const copyup::CopiedObject& object) const {
    const int made = object.descriptor.get();
    if (layered_) {
        const format::Protection marked = is_lower(copy.source_branch)
                                              ? format::Protection{}
                                              : TRY(copy.source->protection(options_.marks));
        TRY(keep_protection(object.protecting_flags | format::flags_of(marked), made, copy.branch));
    }
    if (!copy.over_whiteout && !is_lower(copy.source_branch)) return {};
    const format::MarkFormat marks = TRY(branches_[copy.branch]->layer().format());
    if (copy.over_whiteout && !copy.redirect) return format::set_opaque(made, marks);
    if (copy.over_whiteout) {
        TRY(format::write_redirect(made, marks, *copy.redirect));
        return mark_impure(copy.parent, copy.branch);
    }
    TRY(mark_origin(copy.source->get(), copy.source_branch, made, copy.branch));
    return mark_impure(copy.parent, copy.branch);
}

}  // namespace plyfs
