// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading directories: a handle keeps a snapshot of the merged names; an offset is an index into
// it, after "." and "..".
#include <dirent.h>
#include <fcntl.h>

#include "sys/data.h"
#include "sys/open.h"
#include "union/union.h"

namespace plyfs {
namespace {

bool is_work_directory(std::string_view name) {
    return name == kWorkDirectoryName;
}

}  // namespace

Result<std::shared_ptr<const MergedDirectory>> Union::take_snapshot(const Node& node) const {
    OpenedSources opened;
    {
        const SharedLock lock(node.mutex);
        opened = TRY(open_sources(node));
    }
    return merge_names(node, opened);
}

Result<std::shared_ptr<const MergedDirectory>> Union::read_names(const Node& node) const {
    return merge_names(node, TRY(open_sources(node)));
}

Result<Union::OpenedSources> Union::open_sources(const Node& node) const {
    OpenedSources opened;
    for (const BranchIndex branch : nodes_.stack(node)) {
        auto directory = open_directory(node, branch);
        if (!directory) {
            if (directory.error() == ENOENT || directory.error() == ENOTDIR) continue;
            return fail(directory.error());
        }
        MergedDirectory::Source source{branch, (*directory)->get(),
                                       branches_[branch]->spare_access_times()};
        if (layered_) {
            source.layer =
                MergedDirectory::Layer{TRY((*directory)->marks(options_.marks)).directory,
                                       options_.marks, is_lower(branch)};
        }
        opened.sources.push_back(source);
        opened.directories.push_back(*std::move(directory));
    }
    return opened;
}

Result<std::shared_ptr<const MergedDirectory>>
Union::merge_names(const Node& node, const OpenedSources& opened) const {
    const bool hides_work = work_in_root_ && node.id == kRootNode;
    // A directory that was removed while open reads as empty (POSIX, readdir()).
    return std::make_shared<const MergedDirectory>(
        TRY(MergedDirectory::read({opened.sources.data(), opened.sources.size()},
                                  hides_work ? &is_work_directory : nullptr)));
}

Result<HandleId> Union::opendir(NodeId id) {
    auto handle = std::make_shared<DirectoryHandle>();
    handle->node = TRY(directory(id));
    return directories_.insert(std::move(handle));
}

Result<Union::ListedObject> Union::listed_object(const Node& directory,
                                                 const MergedDirectory& names,
                                                 const MergedDirectory::Entry& entry) const {
    const bool first_is_shown = in_order(policy_for(options_.policies, config::Function::Getattr));
    const bool may_have_origin =
        layered_ && !is_lower(entry.branch) && TRY(is_impure(directory, entry.branch));
    if (entry.type == DT_UNKNOWN || may_have_origin ||
        (entry.several && (entry.type == DT_DIR || !first_is_shown))) {
        const SharedLock lock(directory.mutex);
        const Name name = TRY(Name::from(names.c_name(entry)));
        const Hits hits = TRY(find(directory, name, Scope::Shown));
        if (hits.empty()) return fail(ENOENT);
        const Attributes attributes = TRY(shown_attributes(hits, name));
        return ListedObject{attributes.inode, static_cast<unsigned char>(IFTODT(attributes.mode))};
    }
    const std::uint16_t tag =
        TRY(tags_.tag(branches_[entry.branch]->device(), branches_[entry.branch]->root()));
    return ListedObject{inode_number(tag, entry.inode), entry.type};
}

Result<bool> Union::is_impure(const Node& directory, BranchIndex branch) const {
    const DirectoryRef opened = TRY(open_directory(directory, branch));
    return TRY(opened->marks(options_.marks)).impure;
}

// 0 where the directory or the one above it was removed so that nobody can tell.
std::uint64_t Union::own_inode(const Node& directory) const {
    const SharedLock lock(directory.mutex);
    const auto attributes = directory_attributes(directory);
    return attributes ? attributes->inode : 0;
}

std::uint64_t Union::parent_inode(const Node& directory) const {
    const Location location = nodes_.location(directory);
    return own_inode(location.names.empty() ? directory : *location.names.front().parent);
}

Result<void> Union::readdir(HandleId handle_id, std::uint64_t offset,
                            const std::function<bool(const DirectoryEntry&)>& visit) {
    const auto handle = directories_.find(handle_id);
    if (!handle) return fail(EBADF);
    std::shared_ptr<const MergedDirectory> names;
    {
        const Lock lock(handle->mutex);
        names = handle->names;
    }
    if (!names || offset == 0) {
        names = TRY(take_snapshot(*handle->node));
        const Lock lock(handle->mutex);
        handle->names = names;
    }
    if (offset < 1 && !visit({".", own_inode(*handle->node), DT_DIR, 1})) return {};
    if (offset < 2 && !visit({"..", parent_inode(*handle->node), DT_DIR, 2})) return {};
    for (std::uint64_t index = offset < 2 ? 0 : offset - 2; index < names->size(); ++index) {
        const MergedDirectory::Entry& entry = names->entry(index);
        const auto listed = listed_object(*handle->node, *names, entry);
        // Removed since the snapshot was taken: left out, as POSIX allows.
        if (!listed && is_absent(listed.error())) continue;
        if (!listed) return fail(listed.error());
        if (!visit({names->c_name(entry), listed->inode, listed->type, index + 3})) return {};
    }
    return {};
}

Result<void> Union::fsyncdir(NodeId id, bool data_only) {
    const NodeRef node = TRY(directory(id));
    for (const BranchIndex branch : nodes_.stack(*node)) {
        if (!branches_[branch]->writable()) continue;
        const auto directory = open_directory(*node, branch);
        if (!directory) continue;
        const UniqueFd readable = TRY(sys::reopen((*directory)->get(), O_RDONLY | O_DIRECTORY));
        TRY(sys::synchronize(readable.get(), data_only));
    }
    return {};
}

}  // namespace plyfs
