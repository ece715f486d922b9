// SPDX-License-Identifier: GPL-2.0-or-later
//
// Append-only and immutable files (chattr +a, +i). A file system holds its own files to these
// flags. But what a read-only branch has is copied before it is changed, and the copy has them in a
// mark (format/protection.h): so in a union with layers it is the union that refuses what the VFS
// refuses of an inode with the flags (may_delete, may_create, may_open, may_setattr,
// xattr_permission, vfs_link), before anything is copied.
#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>

#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

using format::Protection;

Protection of_object(const Attributes& attributes) {
    return {.append = (attributes.flags & STATX_ATTR_APPEND) != 0,
            .immutable = (attributes.flags & STATX_ATTR_IMMUTABLE) != 0};
}

bool is_protected(const Protection& protection) {
    return protection.append || protection.immutable;
}

// As utimensat(2) sets the times of a file that the caller may write.
bool is_touch(const AttributeChange& change) {
    const auto is_now = [](const std::optional<timespec>& time) {
        return time && time->tv_nsec == UTIME_NOW;
    };
    return is_now(change.access_time) && is_now(change.modification_time);
}

}  // namespace

Result<Protection> Union::directory_protection(const Node& node) const {
    for (const BranchIndex branch : nodes_.stack(node)) {
        const auto opened = open_directory(node, branch);
        if (!opened && is_absent(opened.error())) continue;
        const DirectoryRef directory = TRY(opened);
        if (!is_lower(branch)) return directory->protection(options_.marks);
        return of_object(TRY(sys::stat_descriptor(directory->get())));
    }
    return Protection{};  // it was removed
}

Result<Protection> Union::protection(const Node& node) const {
    if (!layered_) return Protection{};
    if (node.is_directory()) return directory_protection(node);
    const bool lower = is_lower(nodes_.stack(node).front());
    const auto known = node.protection.get();
    if (known && !lower) return *known;
    const UniqueFd object = TRY(open_object(node, O_PATH));
    if (lower) return of_object(TRY(sys::stat_descriptor(object.get())));
    return protection_of(node, object.get());
}

Result<Protection> Union::protection_of(const Node& node, int object) const {
    if (const auto known = node.protection.get()) return *known;
    const Protection found = TRY(format::read_protection(object, options_.marks));
    node.protection.learn(found);
    return found;
}

Result<Protection> Union::protection(const Hits& hits, Name name) const {
    if (!layered_) return Protection{};
    const Hit& shown = hits.front();
    const Attributes& attributes = hits.indexed ? hits.indexed->attributes : shown.attributes;
    const Protection own = of_object(attributes);
    if (!hits.indexed && is_lower(shown.branch)) return own;
    const NodeRef node = nodes_.find_object(attributes.real);
    auto marked = node ? node->protection.get() : std::nullopt;
    if (!marked) {
        auto object = hits.indexed ? branches_[hits.indexed->branch]->index().open(
                                         TRY(Name::from(hits.indexed->entry)), O_PATH)
                                   : sys::open_at(shown.parent->get(), name, O_PATH);
        marked = TRY(format::read_protection(TRY(std::move(object)).get(), options_.marks));
        if (node) node->protection.learn(*marked);
    }
    return Protection{.append = own.append || marked->append,
                      .immutable = own.immutable || marked->immutable};
}

Result<void> Union::check_adding(const Node& directory) const {
    return TRY(protection(directory)).immutable ? fail(EPERM) : Result<void>{};
}

Result<void> Union::check_removing(const Node& directory, Name name, const Hits& hits) const {
    if (is_protected(TRY(protection(directory)))) return fail(EPERM);
    return is_protected(TRY(protection(hits, name))) ? fail(EPERM) : Result<void>{};
}

Result<void> Union::check_attributes(const Node& node) const {
    if (!layered_) return {};
    const SharedLock lock(node.mutex);
    return is_protected(TRY(protection(node))) ? fail(EPERM) : Result<void>{};
}

Result<void> Union::check_change(const Node& node, const AttributeChange& change,
                                 HandleId handle) const {
    if (!layered_) return {};
    const SharedLock lock(node.mutex);
    const Protection found = TRY(protection(node));
    if (!is_protected(found)) return {};
    const bool changes_times = change.access_time || change.modification_time;
    if (change.mode || change.uid || change.gid) return fail(EPERM);
    if (changes_times && (found.immutable || !is_touch(change))) return fail(EPERM);
    if (!change.size) return {};
    // What was opened for writing before it became immutable may still be cut (do_ftruncate).
    const auto open_file = handle == 0 ? nullptr : files_.find(handle);
    const bool writable = open_file && (open_file->flags & O_ACCMODE) != O_RDONLY;
    return found.append || !writable ? fail(EPERM) : Result<void>{};
}

Result<void> Union::check_open(const Node& node, int flags) const {
    if (!layered_) return {};
    const SharedLock lock(node.mutex);
    const Protection found = TRY(protection(node));
    if (found.immutable) return fail(EPERM);
    const bool overwrites = (flags & O_TRUNC) != 0 || (flags & O_APPEND) == 0;
    return found.append && overwrites ? fail(EPERM) : Result<void>{};
}

Result<void> Union::check_allocate(const FileHandle& file, int mode) const {
    if (!layered_) return {};
    const SharedLock lock(file.node->mutex);
    const Protection found = TRY(protection(*file.node));
    const bool overwrites = (mode & ~FALLOC_FL_KEEP_SIZE) != 0;
    return found.immutable || (found.append && overwrites) ? fail(EPERM) : Result<void>{};
}

Result<InodeFlags> Union::inode_flags(NodeId id, HandleId handle, InodeFlags::Form form) const {
    const NodeRef node = TRY(this->node(id));
    const SharedLock lock(node->mutex);
    UniqueFd opened;
    InodeFlags flags = TRY(InodeFlags::read(TRY(readable(*node, handle, opened)), form));
    Protection found = flags.protection();
    const Protection marked = TRY(protection(*node));
    found.append = found.append || marked.append;
    found.immutable = found.immutable || marked.immutable;
    flags.set_protection(found);
    return flags;
}

Result<int> Union::readable(const Node& node, HandleId handle, UniqueFd& opened) const {
    if (node.is_directory()) {
        opened = TRY(sys::reopen(TRY(open_shown(node)).get(), O_RDONLY | O_DIRECTORY));
        return opened.get();
    }
    const auto file = files_.find(handle);
    if (file && file->real == nodes_.real(node)) return file->descriptor.get();
    // It was copied up since, or its data alone are open.
    opened = TRY(open_object(node, O_RDONLY));
    return opened.get();
}

// Where there are layers the mark takes the place of the flags, as in overlayfs (ovl_set_protattr):
// an object that has them could be neither renamed nor removed by the union.
Result<void> Union::write_flags(int object, BranchIndex branch, const FlagChange& change) const {
    const InodeFlags before = TRY(InodeFlags::read(object, change.wanted.form()));
    InodeFlags wanted = change.applied_to(before);
    if (!layered_) return wanted.write(object);
    if (is_protected(before.protection())) {
        InodeFlags unprotected = before;
        unprotected.set_protection({});
        TRY(unprotected.write(object));
    }
    const auto marked = format::write_protection(object, TRY(branches_[branch]->layer().format()),
                                                 change.wanted.protection());
    if (!marked && marked.error() == EOPNOTSUPP) return fail(EPERM);
    TRY(marked);
    wanted.set_protection({});
    return wanted.write(object);
}

Result<void> Union::keep_protection(std::uint32_t flags, int copy, BranchIndex branch) const {
    if (flags == 0) return {};
    const auto marked = format::write_protection(copy, TRY(branches_[branch]->layer().format()),
                                                 format::protection_of_flags(flags));
    if (!marked && (marked.error() == EOPNOTSUPP || marked.error() == EPERM)) return {};
    return marked;
}

Result<void> Union::set_inode_flags(const Request& request, NodeId id, HandleId handle,
                                    const InodeFlags& flags) {
    TRY(request.journal.begin("setflags"));
    const NodeRef node = TRY(this->node(id));
    const FlagChange change{.shown = TRY(inode_flags(id, handle, flags.form())), .wanted = flags};
    TRY(copy_up(request, node, CopyNeed::Attributes));
    const Lock lock(node->mutex);
    const Stack stack = nodes_.stack(*node);
    if (stack.empty()) return fail(ENOENT);
    if (!node->is_directory()) {
        if (is_lower(stack.front())) return fail(EROFS);
        UniqueFd opened;
        const int object = TRY(readable(*node, handle, opened));
        node->protection.forget();
        TRY(write_flags(object, stack.front(), change));
        if (layered_) node->protection.set(flags.protection());
        return {};
    }
    for (const OpenCopy& copy : TRY(open_copies(*node, config::Function::Chmod))) {
        const UniqueFd object = TRY(sys::reopen(copy.object.get(), O_RDONLY | O_DIRECTORY));
        const auto written = write_flags(object.get(), copy.branch, change);
        if (const DirectoryRef cached = cache_.find(node->id, copy.branch)) cached->forget_marks();
        TRY(written);
    }
    return {};
}

}  // namespace plyfs
