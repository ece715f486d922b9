// SPDX-License-Identifier: GPL-2.0-or-later
//
// Removing what read-only branches have, by hiding it: a whiteout takes the place of the name on a
// writable branch. No crash shows what was below while it is not hidden yet.
#include <fcntl.h>

#include <algorithm>

#include "copyup/copy_object.h"
#include "format/escape.h"
#include "format/sweep.h"
#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

// A directory like another one, without its marks.
copyup::CopyOptions unmarked(const format::MarkRules& rules) {
    copyup::CopyOptions options;
    options.durable = false;
    options.xattrs.leave_out = [&rules](std::string_view name) {
        return format::is_mark_name(name, rules);
    };
    return options;
}

}  // namespace

Result<BranchIndex> Union::whiteout_branch() const {
    for (std::size_t index = branches_.size(); index-- > 0;) {
        if (branches_[index]->creatable()) return static_cast<BranchIndex>(index);
    }
    return fail(EROFS);
}

Result<void> Union::remove_and_hide(const Request& request, const NodeRef& parent, Name name,
                                    const Hits& copies) {
    const BranchIndex branch = TRY(whiteout_branch());
    const DirectoryRef directory = TRY(ensure_directory(parent, branch));
    format::WhiteoutMaker& maker = *TRY(branches_[branch]->layer().whiteouts());
    const format::MarkFormat marks = TRY(branches_[branch]->layer().format());
    const auto there = std::ranges::find(copies, branch, &Hit::branch);
    if (there == copies.end() || marks.whiteout == format::WhiteoutKind::DotFile) {
        // First, since the copies hide the same: after a crash the name is as it was.
        TRY(maker.place(directory->get(), name));
        directory->forget_marks();
        return copies.empty() ? Result<void>{} : remove_hits(request, *parent, name, copies);
    }
    if (copies.size() > 1) return hide_in_plan(request, parent, name, copies, branch);
    if (!there->attributes.is_directory()) return maker.replace(directory->get(), name);
    const std::string grave = TRY(maker.exchange(directory->get(), name));
    directory->forget_marks();
    empty_grave(branch, grave);
    return {};
}

Result<void> Union::hide_in_plan(const Request& request, const NodeRef& parent, Name name,
                                 const Hits& copies, BranchIndex branch) {
    WorkDirectory& work = branches_[branch]->work();
    const std::string staged = TRY(TRY(branches_[branch]->layer().whiteouts())->stage());
    const int directory = TRY(work.work());
    const Attributes whiteout = TRY(sys::stat_at(directory, TRY(Name::from(staged))));
    const std::string path = TRY(path_on_branch(*parent));
    Plan plan;
    for (const Hit& hit : copies) {
        const Place place{hit.parent->get(), path, name.string()};
        const bool is_directory = hit.attributes.is_directory();
        const Identity identity = Identity::of(hit.attributes);
        if (hit.branch == branch) {
            plan.insert(plan.begin(), Replace{hit.branch,
                                              {directory, WorkDirectory::work_path(), staged},
                                              place,
                                              Identity::of(whiteout),
                                              identity,
                                              is_directory});
        } else {
            plan.emplace_back(Bury{hit.branch, place, identity, is_directory});
        }
    }
    const auto done = execute_plan(request, plan);
    if (!done) (void)sys::remove_name(directory, TRY(Name::from(staged)));
    return done;
}

Result<void> Union::make_as_caller(const Request& request, const NewPlace& place,
                                   const Stack& whiteouts, const Make& make) const {
    if (std::ranges::find(whiteouts, place.branch) != whiteouts.end()) {
        return make_over_whiteout(request, place, make);
    }
    const sys::ActAs caller(request.caller);
    return make(place.directory);
}

// The object is made in a copy of its parent, which hands down the same group and ACLs, and renamed
// onto the whiteout.
Result<void> Union::make_over_whiteout(const Request& request, const NewPlace& place,
                                       const Make& make) const {
    const int work = TRY(branches_[place.branch]->work().work());
    const std::string text = WorkDirectory::unique_name("nursery");
    const auto nursery = TRY(copyup::copy_object(place.directory, work, TRY(Name::from(text)),
                                                 unmarked(options_.marks)));
    const auto made = [&]() -> Result<void> {
        {
            const sys::ActAs caller(request.caller);
            TRY(make(nursery.descriptor.get()));
        }
        return replace_whiteout(nursery.descriptor.get(), place);
    }();
    empty_grave(place.branch, text);
    return made;
}

Result<void> Union::replace_whiteout(int nursery, const NewPlace& place) const {
    const format::MarkFormat marks = TRY(branches_[place.branch]->layer().format());
    const Attributes object = TRY(sys::stat_at(nursery, place.name));
    if (object.is_directory()) {
        const UniqueFd opened = TRY(sys::open_directory_at(nursery, place.name));
        TRY(format::set_opaque(opened.get(), marks));
    }
    const auto whiteout = sys::stat_at(place.directory, place.name);
    if (!whiteout && whiteout.error() != ENOENT) return fail(whiteout.error());
    // What is left in the nursery goes with it.
    const unsigned flags = !whiteout               ? RENAME_NOREPLACE
                           : object.is_directory() ? RENAME_EXCHANGE
                                                   : 0;
    TRY(sys::rename(nursery, place.name, place.directory, place.name, flags));
    if (!whiteout) return format::remove_dot_whiteout(place.directory, place.name);
    return {};
}

Result<void> Union::discard_directory(const Hit& hit, Name name) const {
    const int work = TRY(branches_[hit.branch]->work().work());
    const std::string grave = WorkDirectory::unique_name("discarded");
    TRY(sys::rename(hit.parent->get(), name, work, TRY(Name::from(grave)), RENAME_NOREPLACE));
    empty_grave(hit.branch, grave);
    return {};
}

Result<bool> Union::clear_whiteouts(const Node& node, Name name, const Hits& copies) const {
    bool replaced = false;
    for (const Hit& hit : copies) {
        const DirectoryRef directory = TRY(open_directory(node, hit.branch));
        const auto counts = [](std::string_view) { return true; };
        if (TRY(sys::is_empty(directory->get(), counts))) continue;
        const Branch& branch = *branches_[hit.branch];
        const int work = TRY(branch.work().work());
        const std::string text = WorkDirectory::unique_name("cleared");
        const Name temporary = TRY(Name::from(text));
        const auto empty =
            TRY(copyup::copy_object(directory->get(), work, temporary, unmarked(options_.marks)));
        TRY(format::set_opaque(empty.descriptor.get(), TRY(branch.layer().format())));
        TRY(sys::rename(work, temporary, hit.parent->get(), name, RENAME_EXCHANGE));
        empty_grave(hit.branch, text);
        replaced = true;
    }
    return replaced;
}

void Union::empty_grave(BranchIndex branch, const std::string& temporary) const {
    (void)[&]()->Result<void> {
        const int work = TRY(branches_[branch]->work().work());
        const Name name = TRY(Name::from(temporary));
        const UniqueFd directory = TRY(sys::open_directory_at(work, name));
        (void)TRY(format::sweep(directory.get(), [](std::string_view) { return true; }));
        return sys::remove_directory(work, name);
    }
    ();
}

}  // namespace plyfs
