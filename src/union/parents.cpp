// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories that a branch lacks are made there before something is put into them: with the
// owner, mode, times, ACLs and other extended attributes of the one that the union shows, complete
// before they get their name.
#include <fcntl.h>

#include "sys/entry.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

timespec to_timespec(const Timestamp& time) {
    return {time.seconds, static_cast<long>(time.nanoseconds)};
}

Result<void> copy_times(int target, const Attributes& source) {
    return sys::change_times(target, to_timespec(source.access_time),
                             to_timespec(source.modification_time));
}

// The file system of `target` may know fewer kinds of attributes: those are left out.
Result<void> copy_xattrs(int source, int target) {
    const auto names = sys::xattr_names(source);
    if (!names) return names.error() == EOPNOTSUPP ? Result<void>{} : fail(names.error());
    for (const std::string& name : *names) {
        const auto value = sys::xattr_value(source, name.c_str());
        if (!value && value.error() == ENODATA) continue;
        const auto set = sys::set_xattr(target, name.c_str(), TRY(value), 0);
        if (!set && set.error() != EOPNOTSUPP && set.error() != EPERM) return set;
    }
    return {};
}

Result<void> copy_directory_metadata(int source, int target) {
    const Attributes attributes = TRY(sys::stat_descriptor(source));
    TRY(sys::change_owner(target, attributes.uid, attributes.gid));
    TRY(copy_xattrs(source, target));
    {
        const sys::KeepSetId keep((attributes.mode & S_ISGID) != 0);
        TRY(sys::change_mode(target, attributes.mode & 07777));
    }
    return copy_times(target, attributes);
}

}  // namespace

Result<DirectoryRef> Union::ensure_directory(const NodeRef& node, BranchIndex branch) {
    {
        auto there = open_directory(*node, branch);
        if (there || (there.error() != ENOENT && there.error() != ENOTDIR)) return there;
        // Seen there once, gone behind the mount: what is cached above it may be gone too.
    }
    // Outermost ancestor first. The nodes are kept alive by `node`.
    const auto route = nodes_.route(*node);
    if (!route) return fail(ENOENT);
    DirectoryRef at = TRY(open_directory(*nodes_.root(), branch));
    for (auto step = route->rbegin(); step != route->rend(); ++step) {
        const NodeRef ancestor = nodes_.find(step->node);
        if (!ancestor) return fail(ESTALE);
        auto there = open_directory(*ancestor, branch);
        if (!there && there.error() == ENOENT) {
            there = clone_directory(ancestor, *step, at->get(), branch);
        }
        at = TRY(std::move(there));
        nodes_.add_to_stack(ancestor, branch);
    }
    return at;
}

Result<DirectoryRef> Union::clone_directory(const NodeRef& node, const RouteStep& step,
                                            int branch_parent, BranchIndex branch) {
    const Stack stack = nodes_.stack(*node);
    DirectoryRef source;
    for (const BranchIndex other : stack) {
        if (other == branch) continue;
        if (auto opened = open_directory(*node, other)) {
            source = *std::move(opened);
            break;
        }
    }
    if (!source) return fail(ENOENT);
    const Name name = TRY(Name::from(step.name));
    const int work = TRY(branches_[branch]->work().work());
    const std::string temporary = WorkDirectory::unique_name("directory");
    const Name temporary_name = TRY(Name::from(temporary));
    const Attributes parent_before = TRY(sys::stat_descriptor(branch_parent));

    TRY(sys::make_directory(work, temporary_name, 0700));
    const auto placed = [&]() -> Result<void> {
        const UniqueFd made = TRY(sys::open_directory_at(work, temporary_name));
        TRY(copy_directory_metadata(source->get(), made.get()));
        return sys::rename(work, temporary_name, branch_parent, name, RENAME_NOREPLACE);
    }();
    if (!placed) {
        (void)sys::remove_directory(work, temporary_name);
        // Somebody else made it in the same moment: theirs is as good.
        if (placed.error() != EEXIST) return fail(placed.error());
    }
    // The union's parent directory has not changed: a name it had already got one more copy.
    (void)copy_times(branch_parent, parent_before);
    return open_directory(*node, branch);
}

}  // namespace plyfs
