// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copying up: what is on a read-only branch gets a copy on a writable one before it is changed. The
// copy is made complete in the work directory, with no lock of the union held, and renamed into
// place under the locks of the parent and the node. A crash leaves the name as it was, or with a
// copy that differs in nothing.
#include <fcntl.h>

#include <algorithm>

#include "copyup/copy_object.h"
#include "format/directory_marks.h"
#include "format/escape.h"
#include "format/handle_record.h"
#include "sys/data.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

bool Union::needs_copy_up(const Node& node) const {
    const Stack stack = nodes_.stack(node);
    return layered_ && !stack.empty() &&
           std::ranges::all_of(stack, [&](BranchIndex branch) { return is_lower(branch); });
}

Result<BranchList> Union::copy_up_targets(const Node& parent, std::uint64_t bytes) const {
    const CreateChoice choice =
        TRY(choose_targets(parent, config::Function::Create, options_.copy_up_policy));
    BranchList roomy;
    BranchList others;
    for (const BranchList* const list : {&choice.targets, &choice.fallbacks}) {
        for (const std::size_t branch : *list) {
            const auto space = branches_[branch]->space().get();
            (space && space->available() > bytes ? roomy : others).push_back(branch);
        }
    }
    roomy.insert(roomy.end(), others.begin(), others.end());
    return roomy;
}

Result<void> Union::copy_up(const Request& request, const NodeRef& node, CopyNeed need) {
    const bool attributes_only = need == CopyNeed::Attributes;
    if (!needs_copy_up(*node)) {
        return attributes_only ? Result<void>{} : bring_data(request, node, need);
    }
    if (node->is_directory()) return copy_directory_up(node);
    TRY(copy_object_up(request, node, need));
    // Somebody else may have made a copy without data meanwhile.
    return attributes_only ? Result<void>{} : bring_data(request, node, need);
}

Result<void> Union::copy_object_up(const Request& request, const NodeRef& node, CopyNeed need) {
    const CopyUps::Turn turn = TRY(copy_ups_.enter(node->id, request.interrupted));
    if (!needs_copy_up(*node)) return {};
    CopyUpCounters::Attempt attempt(copy_up_counters_);
    UpperCopy copy{node, need, {}, {}, {}, {}};
    {
        const SharedLock lock(node->mutex);
        copy.source = TRY(open_object(*node, O_PATH));
        copy.shown = TRY(object_attributes(*node));
    }
    copy.place = nodes_.location(*node);
    copy.index_entry =
        TRY(index_entry(copy.source.get(), copy.place.stack.front(), copy.shown)).value_or("");
    const NodeRef parent =
        copy.place.names.empty() ? nodes_.root() : copy.place.names.front().parent;
    copy.bare = TRY(bare_copy(copy));
    const bool with_data = need != CopyNeed::Truncated && !copy.bare;
    const std::uint64_t bytes = with_data ? copy.shown.blocks * 512 : 0;
    std::optional<Errno> failure;
    for (const std::size_t branch : TRY(copy_up_targets(*parent, bytes))) {
        const auto copied = copy_up_to(request, copy, static_cast<BranchIndex>(branch));
        if (copied) attempt.made(!with_data && S_ISREG(node->type) && copy.shown.size > 0);
        if (copied || !another_may_do(copied.error())) return copied;
        failure = copied.error();
        branches_[branch]->space().expire();
    }
    return fail(failure.value_or(Errno(EROFS)));
}

Result<void> Union::copy_directory_up(const NodeRef& node) {
    const Location place = nodes_.location(*node);
    if (place.names.empty()) return {};
    std::optional<Errno> failure;
    for (const std::size_t branch : TRY(copy_up_targets(*place.names.front().parent, 0))) {
        const auto made = ensure_directory(node, static_cast<BranchIndex>(branch));
        if (made) return {};
        if (!another_may_do(made.error())) return fail(made.error());
        failure = made.error();
        branches_[branch]->space().expire();
    }
    return fail(failure.value_or(Errno(EROFS)));
}

Result<void> Union::copy_up_to(const Request& request, const UpperCopy& copy, BranchIndex branch) {
    WorkDirectory& directory = branches_[branch]->work();
    const int work = TRY(directory.work());
    const std::string text = WorkDirectory::unique_name("copy");
    const Name temporary = TRY(Name::from(text));
    copyup::CopyOptions options;
    options.durable = false;  // once the marks are on it
    options.xattrs.leave_out = [&](std::string_view name) {
        return format::is_mark_name(name, options_.marks);
    };
    options.observer.cancelled = request.interrupted;
    std::optional<LowerData> below;  // of a lower file that lacks its data itself
    if (copy.need != CopyNeed::Truncated && !copy.bare) {
        const SharedLock lock(copy.node->mutex);
        below = TRY(data_below(*copy.node, copy.source.get()));
    }
    if (copy.need == CopyNeed::Truncated) {
        options.size_without_data = 0;
    } else if (copy.bare || below) {
        options.size_without_data = copy.shown.size;
    }
    const auto copied = TRY(copyup::copy_object(copy.source.get(), work, temporary, options));
    copy_up_counters_.copied(copied.data);
    const auto published = [&]() -> Result<void> {
        if (below) TRY(fill(request, *below, copied.descriptor.get()));
        return finish_copy(copy, copied, branch, work, temporary);
    }();
    if (!published) (void)sys::remove_name(work, temporary);  // gone where it was renamed
    return published;
}

Result<void> Union::finish_copy(const UpperCopy& copy, const copyup::CopiedObject& copied,
                                BranchIndex branch, int work, Name temporary) {
    const int descriptor = copied.descriptor.get();
    // Without the index the copy of one of several names is a file of its own: it keeps no number
    // in common with them (overlayfs: ovl_copy_up_one).
    const bool keeps_inode = copied.source.links == 1 || !copy.index_entry.empty();
    if (keeps_inode)
        TRY(mark_origin(copy.source.get(), copy.place.stack.front(), descriptor, branch));
    if (copy.bare) TRY(mark_bare(descriptor, branch, *copy.bare));
    TRY(keep_protection(copied.protecting_flags, descriptor, branch));
    // What is cloned, and metadata alone, is in the journal before the rename that shows it
    // (overlayfs does the same: ovl_copy_up_file); data that were copied need not be.
    if (copied.data.origin == copyup::DataOrigin::Copied && options_.durable_copies) {
        TRY(sys::synchronize(descriptor, false));
    }
    if (!copy.index_entry.empty() && !copy.place.names.empty()) {
        return publish_indexed(copy, copied, branch, work, temporary);
    }
    const std::uint64_t inode = keeps_inode ? copy.shown.inode : kOwnInode;
    if (!copy.place.names.empty())
        return publish_copy(copy, copied, branch, work, temporary, inode);

    // It has no name any more: nor has the copy.
    const Lock lock(copy.node->mutex);
    if (!needs_copy_up(*copy.node)) return fail(ESTALE);
    auto held = std::make_shared<UniqueFd>(TRY(sys::duplicate(descriptor)));
    TRY(sys::remove_name(work, temporary));
    nodes_.rebind(copy.node, copied.attributes.real, branch, std::move(held));
    nodes_.set_shown_inode(copy.node, inode);
    return {};
}

Result<void> Union::publish_copy(const UpperCopy& copy, const copyup::CopiedObject& copied,
                                 BranchIndex branch, int work, Name temporary,
                                 std::uint64_t inode) {
    const NodeName& place = copy.place.names.front();
    const DirectoryRef directory = TRY(ensure_directory(place.parent, branch));
    if (inode != kOwnInode) TRY(mark_impure(*directory, branch));
    const Lock parent_lock(place.parent->mutex);
    const Lock lock(copy.node->mutex);
    const Location now = nodes_.location(*copy.node);
    const bool there = std::ranges::any_of(now.names, [&](const NodeName& name) {
        return name.parent == place.parent && name.name == place.name;
    });
    // Renamed or removed meanwhile: whoever asked looks once more.
    if (!there || !is_lower(now.stack.front())) return fail(ESTALE);
    // The union's directory does not change: a name that it has gets a copy.
    const Attributes before = TRY(sys::stat_descriptor(directory->get()));
    const auto renamed = sys::rename(work, temporary, directory->get(), TRY(Name::from(place.name)),
                                     RENAME_NOREPLACE);
    // Something came there behind the mount.
    if (!renamed && renamed.error() == EEXIST) return fail(ESTALE);
    TRY(renamed);
    (void)copyup::copy_times(before, directory->get());
    nodes_.rebind(copy.node, copied.attributes.real, branch, nullptr);
    nodes_.set_shown_inode(copy.node, inode);
    return {};
}

Result<void> Union::mark_origin(int source, BranchIndex lower, int copy, BranchIndex branch) const {
    const format::MarkFormat marks = TRY(branches_[branch]->layer().format());
    std::optional<format::HandleRecord> record;
    auto made = format::handle_record(source, branches_[lower]->uuid(), false);
    if (made) {
        record = *std::move(made);
    } else if (made.error() != EOPNOTSUPP && made.error() != EOVERFLOW) {
        return fail(made.error());
    }
    (void)TRY(format::write_handle_mark(copy, format::Mark::Origin, marks, record));
    return {};
}

Result<void> Union::mark_impure(const OpenDirectory& directory, BranchIndex branch) const {
    if (TRY(directory.marks(options_.marks)).impure) return {};
    const auto marked =
        format::set_impure(directory.get(), TRY(branches_[branch]->layer().format()));
    if (!marked && marked.error() != EOPNOTSUPP) return marked;
    directory.note_impure();
    return {};
}

Result<bool> Union::has_origin(const NodeRef& node, int object) const {
    // Also where the branch could not keep it.
    if (node && nodes_.shown_inode(*node) > kOwnInode) return true;
    return TRY(format::read_handle_mark(object, format::Mark::Origin, options_.marks)).present;
}

Result<Union::Origin> Union::origin_of(int object) const {
    Origin origin;
    origin.record =
        TRY(format::read_handle_mark(object, format::Mark::Origin, options_.marks)).record;
    if (!origin.record) return origin;
    for (const auto& branch : branches_) {
        if (branch->writable()) continue;
        const auto lower = format::open_handle_record(
            branch->root(), branch->uuid(), format::UuidRule::Same, *origin.record, O_PATH);
        if (!lower) continue;
        const Attributes attributes = TRY(sys::stat_descriptor(lower->get()));
        origin.inode = TRY(inode_of(attributes, branch->root()));
        break;
    }
    return origin;
}

Result<bool> Union::may_have_origin(const Hit& hit) const {
    // Of one of several names the number must not depend on the directory, nor how many there are.
    return hit.attributes.links > 1 || TRY(hit.parent->marks(options_.marks)).impure;
}

Result<Attributes> Union::with_origin(const Hit& hit, Name name, Attributes attributes) const {
    if (!layered_ || attributes.is_directory() || is_lower(hit.branch)) return attributes;
    const NodeRef node = nodes_.find_object(attributes.real);
    std::uint64_t inode = node ? nodes_.shown_inode(*node) : 0;
    if (inode == 0) {
        Origin origin;
        if (TRY(may_have_origin(hit))) {
            const UniqueFd object = TRY(sys::open_at(hit.parent->get(), name, O_PATH));
            origin = TRY(origin_of(object.get()));
        }
        inode = origin.inode;
        if (node) nodes_.set_shown_inode(node, inode);
        if (node && origin.record) TRY(recognize_indexed(node, hit, *origin.record));
    }
    if (inode != kOwnInode) attributes.inode = inode;
    const std::string entry = node ? nodes_.index_entry(*node) : std::string();
    if (!entry.empty()) TRY(count_indexed(entry, hit.branch, attributes));
    if (node) show_blocks(*node, attributes);
    return attributes;
}

Result<std::shared_ptr<const UniqueFd>>
Union::data_of(const std::shared_ptr<const FileHandle>& file) const {
    std::shared_ptr<const UniqueFd> own(file, &file->descriptor);
    if (!is_lower(file->branch) || !layered_ || file->snapshot) return own;
    const NodeRef& node = file->node;
    const SharedLock node_lock(node->mutex);
    const RealId real = nodes_.real(*node);
    if (real == file->real) return own;
    FollowedFile& followed = *file->followed;
    const Lock lock(followed.mutex);
    if (!followed.descriptor || followed.real != real) {
        auto opened = open_object(*node, file->flags & (O_ACCMODE | O_NOATIME));
        followed.descriptor = std::make_shared<const UniqueFd>(TRY(std::move(opened)));
        followed.real = real;
        followed.has_data = false;
    }
    // As long as the copy has no data they are where this file is open.
    if (!followed.has_data) followed.has_data = !TRY(lacks_data(followed.descriptor->get()));
    return followed.has_data ? followed.descriptor : own;
}

}  // namespace plyfs
