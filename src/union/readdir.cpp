// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading directories: a handle keeps a snapshot of the merged names; an offset is an index into
// it, after "." and "..".
#include <dirent.h>
#include <fcntl.h>
#include <xxhash.h>

#include <algorithm>
#include <chrono>

#include "sys/data.h"
#include "sys/open.h"
#include "sys/statx.h"
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
    const std::uint64_t stamp = TRY(stamp_of(node, opened));
    if (stamp != 0) {
        Listings::Names known = listings_.find(node.id).names;
        if (known && known->stamp() == stamp) return known;
    }
    return merge_names(node, opened, stamp);
}

// Change times, since nobody can put them back.
Result<std::uint64_t> Union::stamp_of(const Node& node, const OpenedSources& opened) const {
    struct Seen {
        std::uint64_t branch;
        std::uint64_t device;
        std::uint64_t inode;
        std::int64_t seconds;
        std::uint64_t nanoseconds;
    };
    const Location location = nodes_.location(node);
    boost::container::small_vector<Seen, 8> seen;
    // "..", which is listed too.
    seen.push_back({0, 0, location.names.empty() ? 0 : location.names.front().parent->id, 0, 0});
    for (const MergedDirectory::Source& source : opened.sources) {
        const Attributes attributes = TRY(sys::stat_descriptor(source.directory));
        if (!is_settled(attributes, source.branch)) return std::uint64_t{0};
        seen.push_back({source.branch, attributes.real.device, attributes.real.inode,
                        attributes.change_time.seconds, attributes.change_time.nanoseconds});
    }
    return std::max<std::uint64_t>(1, XXH3_64bits(seen.data(), seen.size() * sizeof(Seen)));
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
Union::merge_names(const Node& node, const OpenedSources& opened, std::uint64_t stamp) const {
    const bool hides_work = work_in_root_ && node.id == kRootNode;
    // A directory that was removed while open reads as empty (POSIX, readdir()).
    return std::make_shared<const MergedDirectory>(
        TRY(MergedDirectory::read({opened.sources.data(), opened.sources.size()},
                                  hides_work ? &is_work_directory : nullptr, stamp)));
}

Result<HandleId> Union::opendir(NodeId id) {
    auto handle = std::make_shared<DirectoryHandle>();
    handle->node = TRY(directory(id));
    return directories_.insert(std::move(handle));
}

ListingUse Union::recall_listing(HandleId handle_id, std::chrono::nanoseconds validity,
                                 bool wants_attributes) {
    const auto handle = directories_.find(handle_id);
    // By such a policy the numbers of names change with the times of files.
    if (!handle || !in_order(policy_for(options_.policies, config::Function::Getattr)))
        return ListingUse::None;
    const Node& node = *handle->node;
    const Listings::Listing listing = listings_.find(node.id);
    const auto is_unchanged = [&]() -> Result<bool> {
        if (!listing.names || listing.names->stamp() == 0) return false;
        OpenedSources opened;
        {
            const SharedLock lock(node.mutex);
            opened = TRY(open_sources(node));
        }
        return TRY(stamp_of(node, opened)) == listing.names->stamp();
    };
    if (!is_unchanged().value_or(false)) {
        return listing.streams ? ListingUse::None : ListingUse::Fill;
    }
    const bool valid = Listings::Clock::now() - listing.read_at < validity;
    if (!valid && (wants_attributes || node.names_asked.load(std::memory_order_relaxed))) {
        return ListingUse::Fill;
    }
    node.listing_kept.store(true, std::memory_order_relaxed);
    {
        const Lock lock(handle->mutex);
        handle->names = listing.names;
    }
    listings_.join(node.id);
    return valid ? ListingUse::Keep : ListingUse::KeepNames;
}

void Union::releasedir(HandleId handle_id) {
    const auto handle = directories_.remove(handle_id);
    if (!handle) return;
    const Lock lock(handle->mutex);
    if (handle->names) listings_.closed(handle->node->id);
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

Result<bool> Union::readdir(HandleId handle_id, std::uint64_t offset,
                            const std::function<bool(const DirectoryEntry&)>& visit) {
    const auto handle = directories_.find(handle_id);
    if (!handle) return fail(EBADF);
    std::shared_ptr<const MergedDirectory> names;
    {
        const Lock lock(handle->mutex);
        names = handle->names;
    }
    bool mixed = false;
    if (!names || offset == 0) {
        names = TRY(take_snapshot(*handle->node));
        bool first = false;
        {
            const Lock lock(handle->mutex);
            first = !handle->names;
            handle->names = names;
        }
        mixed = !listings_.read(handle->node->id, names, first);
    }
    const std::uint64_t end = names->size() + 2;
    if (offset < 1 && !visit({".", own_inode(*handle->node), DT_DIR, 1, end})) return mixed;
    if (offset < 2 && !visit({"..", parent_inode(*handle->node), DT_DIR, 2, end})) return mixed;
    for (std::uint64_t index = offset < 2 ? 0 : offset - 2; index < names->size(); ++index) {
        const MergedDirectory::Entry& entry = names->entry(index);
        const auto listed = listed_object(*handle->node, *names, entry);
        // Removed since the snapshot was taken: left out, as POSIX allows.
        if (!listed && is_absent(listed.error())) continue;
        if (!listed) return fail(listed.error());
        if (!visit({names->c_name(entry), listed->inode, listed->type, index + 3, end})) break;
    }
    return mixed;
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
