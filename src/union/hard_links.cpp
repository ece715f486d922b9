// SPDX-License-Identifier: GPL-2.0-or-later
//
// Lower files with several names: copied up once, for all of them. The copy is in the index of its
// branch; a name of it gets one on the branch when the copy is made, or before the name is renamed
// or removed. How many names the union shows is written on the copy (format/link_count.h): relative
// to the copy's own number that does not change while names are made and removed there.
#include <fcntl.h>

#include <algorithm>

#include "copyup/copy_object.h"
#include "format/index_name.h"
#include "format/link_count.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

bool has_several_names(const Attributes& attributes) {
    return !attributes.is_directory() && attributes.links > 1;
}

// Where no record can be made the file is copied up name by name.
Result<std::optional<std::string>> entry_of(int lower, const format::Uuid& uuid) {
    const auto record = format::handle_record(lower, uuid, false);
    if (!record && record.error() != EOPNOTSUPP && record.error() != EOVERFLOW) {
        return fail(record.error());
    }
    if (!record) return std::nullopt;
    auto name = format::index_name(*record);
    if (!name && name.error() != ENAMETOOLONG) return fail(name.error());
    if (!name) return std::nullopt;
    return *std::move(name);
}

}  // namespace

Result<std::optional<std::string>> Union::index_entry(int lower, BranchIndex branch,
                                                      const Attributes& attributes) const {
    if (!options_.index || !has_several_names(attributes)) return std::nullopt;
    return entry_of(lower, branches_[branch]->uuid());
}

Result<void> Union::see_index(Hits& hits, Name name) const {
    if (!layered_ || hits.empty()) return {};
    const Hit& lower = hits.front();
    if (!is_lower(lower.branch) || !has_several_names(lower.attributes)) return {};
    hits.alone = writable_;
    if (!options_.index) return {};
    const UniqueFd object = TRY(sys::open_at(lower.parent->get(), name, O_PATH));
    const auto entry = TRY(entry_of(object.get(), branches_[lower.branch]->uuid()));
    if (!entry) return {};
    hits.alone = false;
    for (std::size_t index = 0; index < branches_.size(); ++index) {
        if (!branches_[index]->writable()) continue;
        const auto copy = TRY(branches_[index]->index().find(TRY(Name::from(*entry))));
        if (!copy) continue;
        hits.indexed = IndexedCopy{static_cast<BranchIndex>(index), *copy, *entry};
        return {};
    }
    return {};
}

Result<void> Union::recognize_indexed(const NodeRef& node, const Hit& hit,
                                      const format::HandleRecord& origin) const {
    if (!options_.index || !has_several_names(hit.attributes)) return {};
    const auto entry = format::index_name(origin);
    if (!entry) return {};
    const auto copy = TRY(branches_[hit.branch]->index().find(TRY(Name::from(*entry))));
    if (!copy || copy->real != hit.attributes.real) return {};
    nodes_.set_index_entry(node, *entry);
    (void)settle_count(*entry, hit.branch);  // a read-only file system has time
    return {};
}

Result<void> Union::settle_count(const std::string& entry, BranchIndex branch) const {
    using Base = format::LinkCount::Base;
    const UniqueFd copy = TRY(branches_[branch]->index().open(TRY(Name::from(entry)), O_PATH));
    const auto count = TRY(format::read_link_count(copy.get(), options_.marks));
    if (!count || count->base == Base::Upper) return {};
    const std::uint32_t links = TRY(sys::stat_descriptor(copy.get())).links;
    return write_count(
        copy.get(), branch,
        format::link_count(Base::Upper, TRY(shown_links(entry, copy.get(), links)), links));
}

// Symlinks and devices can't have attributes of users: their number is not kept.
Result<void> Union::write_count(int copy, BranchIndex branch,
                                const format::LinkCount& count) const {
    const auto written =
        format::write_link_count(copy, TRY(branches_[branch]->layer().format()), count);
    if (!written && (written.error() == EPERM || written.error() == EOPNOTSUPP)) return {};
    return written;
}

Result<std::uint32_t> Union::lower_links(const std::string& entry) const {
    const auto record = format::parse_index_name(entry);
    if (!record) return 0U;
    for (const auto& branch : branches_) {
        if (branch->writable()) continue;
        const auto lower = format::open_handle_record(branch->root(), branch->uuid(),
                                                      format::UuidRule::Same, *record, O_PATH);
        if (lower) return TRY(sys::stat_descriptor(lower->get())).links;
    }
    return 0U;
}

Result<std::uint32_t> Union::shown_links(const std::string& entry, int copy,
                                         std::uint32_t links) const {
    const auto count = TRY(format::read_link_count(copy, options_.marks));
    if (!count) return links;
    const bool by_lower = count->base == format::LinkCount::Base::Lower;
    const std::uint32_t lower = by_lower ? TRY(lower_links(entry)) : 0;
    // Zero: only the index has it.
    if (!by_lower && static_cast<std::int64_t>(links) + count->difference == 0) return 0U;
    return format::shown_links(*count, links, lower).value_or(links);
}

Result<void> Union::count_indexed(const std::string& entry, BranchIndex branch,
                                  Attributes& attributes) const {
    const UniqueFd copy = TRY(branches_[branch]->index().open(TRY(Name::from(entry)), O_PATH));
    attributes.links = TRY(shown_links(entry, copy.get(), attributes.links));
    return {};
}

Result<UniqueFd> Union::open_indexed(const Node& node, const Location& location, int flags) const {
    const std::string entry = nodes_.index_entry(node);
    if (entry.empty()) return UniqueFd();
    LinkIndex& index = branches_[location.stack.front()]->index();
    auto opened = index.open(TRY(Name::from(entry)), flags | O_NONBLOCK);
    if (!opened && (opened.error() == ENOENT || opened.error() == ELOOP)) return UniqueFd();
    if (!opened) return opened;
    if (TRY(sys::stat_descriptor(opened->get())).real != location.real) return UniqueFd();
    return opened;
}

Result<void> Union::publish_indexed(const UpperCopy& copy, const copyup::CopiedObject& copied,
                                    BranchIndex branch, int work, Name temporary) {
    using Base = format::LinkCount::Base;
    LinkIndex& index = branches_[branch]->index();
    const int directory = TRY(index.directory());
    TRY(write_count(copied.descriptor.get(), branch,
                    format::link_count(Base::Upper, copy.shown.links, 1)));
    {
        const Lock lock(copy.node->mutex);
        if (!needs_copy_up(*copy.node)) return fail(ESTALE);
        const auto renamed = sys::rename(work, temporary, directory,
                                         TRY(Name::from(copy.index_entry)), RENAME_NOREPLACE);
        // Something made it behind the mount: the next lookup finds it.
        if (!renamed && renamed.error() == EEXIST) return fail(ESTALE);
        TRY(renamed);
        nodes_.rebind(copy.node, copied.attributes.real, branch, nullptr);
        nodes_.set_shown_inode(copy.node, copy.shown.inode);
        nodes_.set_index_entry(copy.node, copy.index_entry);
    }
    for (const NodeName& place : copy.place.names) {
        const auto name = Name::from(place.name);
        // The copy is reached without: a name that gets none now gets it when it needs it.
        if (name) (void)give_name(place.parent, *name, copy.node);
    }
    return {};
}

Result<void> Union::give_name(const NodeRef& parent, Name name, const NodeRef& node) {
    const std::string entry = nodes_.index_entry(*node);
    if (entry.empty()) return {};
    const BranchIndex branch = nodes_.stack(*node).front();
    const DirectoryRef directory = TRY(ensure_directory(parent, branch));
    TRY(mark_impure(*directory, branch));
    const Lock parent_lock(parent->mutex);
    const Lock lock(node->mutex);
    const Hits hits = TRY(find(*parent, name, Scope::All));
    // It has one already, or is another file's by now.
    if (!hits.indexed || hits.indexed->attributes.real != nodes_.real(*node)) return {};
    return link_indexed(hits, *directory, name);
}

// A crash in between leaves a count that is right before and after: relative to the lower file.
Result<void> Union::link_indexed(const Hits& hits, const OpenDirectory& directory,
                                 Name name) const {
    using Base = format::LinkCount::Base;
    const IndexedCopy& indexed = *hits.indexed;
    const UniqueFd copy =
        TRY(branches_[indexed.branch]->index().open(TRY(Name::from(indexed.entry)), O_PATH));
    const std::uint32_t links = TRY(sys::stat_descriptor(copy.get())).links;
    const std::uint32_t shown = TRY(shown_links(indexed.entry, copy.get(), links));
    TRY(write_count(copy.get(), indexed.branch,
                    format::link_count(Base::Lower, shown, hits.front().attributes.links)));
    // The union's directory does not change: a name that it has gets a copy.
    const Attributes before = TRY(sys::stat_descriptor(directory.get()));
    const auto linked = sys::link_descriptor(copy.get(), directory.get(), name);
    if (linked) (void)copyup::copy_times(before, directory.get());
    TRY(write_count(copy.get(), indexed.branch,
                    format::link_count(Base::Upper, shown, links + (linked ? 1 : 0))));
    return linked;
}

Result<void> Union::keep_count(const Request& request, const NodeRef& parent, Name name) {
    if (!layered_ || !options_.index) return {};
    {
        const SharedLock lock(parent->mutex);
        const Hits hits = TRY(find(*parent, name, Scope::Shown));
        if (hits.empty() || !is_lower(hits.front().branch)) return {};
        if (!has_several_names(hits.front().attributes)) return {};
    }
    const auto copied = copy_up_name(request, parent, name);
    // A full disk must not keep anything from being removed: the count is too high then.
    if (!copied && (another_may_do(copied.error()) || copied.error() == ESTALE)) return {};
    return copied;
}

void Union::drop_unnamed(const NodeRef& node) const {
    const std::string entry = node ? nodes_.index_entry(*node) : std::string();
    if (entry.empty()) return;
    // Best effort: what stays takes room until the index is swept.
    (void)[&]()->Result<void> {
        const Name name = TRY(Name::from(entry));
        LinkIndex& index = branches_[nodes_.stack(*node).front()]->index();
        const UniqueFd copy = TRY(index.open(name, O_PATH));
        const Attributes attributes = TRY(sys::stat_descriptor(copy.get()));
        if (TRY(shown_links(entry, copy.get(), attributes.links)) != 0) return {};
        nodes_.set_index_entry(node, {});
        return index.remove(name);
    }
    ();
}

}  // namespace plyfs
