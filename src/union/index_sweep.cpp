// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a crash leaves in the index of a branch: a copy whose last name was removed and which was
// not taken out any more (drop_unnamed). Nobody finds it again, and its data take room.
#include <fcntl.h>
#include <sys/stat.h>

#include "format/index_name.h"
#include "format/link_count.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {

Result<Union::IndexEntryState> Union::state_of(const std::string& entry, int copy) const {
    using Base = format::LinkCount::Base;
    const Attributes attributes = TRY(sys::stat_descriptor(copy));
    const bool is_whiteout = S_ISCHR(attributes.mode) && attributes.device_number == 0;
    // Directories and whiteouts are there for nfs_export of overlayfs.
    if (attributes.is_directory() || is_whiteout || attributes.links != 1) {
        return IndexEntryState::Used;
    }
    const auto record = format::parse_index_name(entry);
    const auto origin =
        TRY(format::read_handle_mark(copy, format::Mark::Origin, options_.marks)).record;
    const auto count = TRY(format::read_link_count(copy, options_.marks));
    if (!record || origin != *record || !count) return IndexEntryState::Used;
    if (count->base == Base::Upper && 1 + count->difference <= 0) return IndexEntryState::Orphan;
    for (const auto& branch : branches_) {
        if (branch->writable()) continue;
        // A file system without UUID may be any.
        if (!format::matches(*record, branch->uuid(), format::UuidRule::Known)) continue;
        const auto lower = format::open_handle_record(branch->root(), branch->uuid(),
                                                      format::UuidRule::Known, *record, O_PATH);
        if (!lower) {
            return lower.error() == ESTALE ? IndexEntryState::Stale : IndexEntryState::Used;
        }
        const std::int64_t links = TRY(sys::stat_descriptor(lower->get())).links;
        const bool none_left = count->base == Base::Lower && links + count->difference <= 0;
        return none_left ? IndexEntryState::Orphan : IndexEntryState::Used;
    }
    return IndexEntryState::Used;
}

Result<IndexSweep> Union::sweep_index(BranchIndex branch) const {
    IndexSweep swept;
    LinkIndex& index = branches_[branch]->index();
    for (const std::string& entry : TRY(index.entries())) {
        const Name name = TRY(Name::from(entry));
        auto copy = index.open(name, O_PATH);
        if (!copy && copy.error() == ENOENT) continue;  // another mount on the branch was faster
        const IndexEntryState state = TRY(state_of(entry, TRY(std::move(copy)).get()));
        if (state == IndexEntryState::Stale) ++swept.stale;
        if (state != IndexEntryState::Orphan) continue;
        TRY(index.remove(name));
        ++swept.removed;
    }
    return swept;
}

IndexSweep Union::sweep_indexes() const {
    IndexSweep all;
    if (!layered_ || !options_.index) return all;
    for (std::size_t index = 0; index < branches_.size(); ++index) {
        if (!branches_[index]->writable()) continue;
        const std::string& path = branches_[index]->path();
        const auto swept = sweep_index(static_cast<BranchIndex>(index));
        if (!swept) {
            if (options_.warn) options_.warn(path + ": its index: " + swept.error().message());
            continue;
        }
        all.removed += swept->removed;
        all.stale += swept->stale;
        if (swept->stale > 0 && options_.warn) {
            options_.warn(path + ": its index keeps copies of " + std::to_string(swept->stale) +
                          " files that are not below any more");
        }
    }
    return all;
}

}  // namespace plyfs
