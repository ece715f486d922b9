// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copies without data (format/metacopy.h): what changes attributes only need not copy the data up.
// Reading such a file reads the next copy below; before its data change they are brought up, into
// the same inode, and only then the mark goes: a crash in between leaves the file as it was.
#include <fcntl.h>

#include <algorithm>

#include "copyup/copy_object.h"
#include "format/metacopy.h"
#include "format/redirect.h"
#include "sys/data.h"
#include "sys/metadata.h"
#include "sys/open.h"
#include "sys/statx.h"
#include "union/union.h"

namespace plyfs {
namespace {

// Writing takes it away, whoever writes (kernel: file_remove_privs).
constexpr char kCapability[] = "security.capability";

std::vector<std::byte> capability_of(int file) {
    std::vector<std::byte> value(64);
    const auto size = sys::get_xattr(file, kCapability, value);
    value.resize(size.value_or(0));
    return value;
}

}  // namespace

Result<bool> Union::lacks_data(int object) const {
    if (!TRY(format::read_metacopy(object, options_.marks))) return false;
    return TRY(sys::stat_descriptor(object)).size > 0;
}

Result<std::optional<Union::LowerData>>
Union::find_data(const NodeName& place, BranchIndex above,
                 const std::optional<format::Redirect>& redirect) const {
    Descent descent{false, redirect};
    const Name name = TRY(Name::from(place.name));
    const Stack stack = nodes_.stack(*place.parent);
    for (std::size_t index = above + 1U; index < branches_.size() && !descent.ended; ++index) {
        const auto branch = static_cast<BranchIndex>(index);
        const bool from_root = descent.redirect && descent.redirect->absolute;
        if (!is_lower(branch) || (!from_root && !std::ranges::binary_search(stack, branch))) {
            continue;
        }
        const auto at = spot(*place.parent, name, branch, descent);
        if (!at && is_absent(at.error())) continue;
        if (!at) return fail(at.error());
        auto object = sys::open_at(at->directory->get(), TRY(Name::from(at->name)), O_PATH);
        if (!object && object.error() == ENOENT) continue;
        if (!object) return fail(object.error());
        if (!TRY(sys::stat_descriptor(object->get())).is_regular()) break;
        if (!TRY(lacks_data(object->get()))) return LowerData{*std::move(object), branch};
        auto next = TRY(redirect_of(object->get()));
        if (next) descent.redirect = redirected(descent.redirect, 0, *std::move(next));
    }
    return std::nullopt;
}

Result<std::optional<Union::LowerData>> Union::data_below(const Node& node, int object) const {
    if (!layered_ || !S_ISREG(node.type) || node.own_data) return std::nullopt;
    if (!TRY(format::read_metacopy(object, options_.marks))) {
        node.own_data = true;
        return std::nullopt;
    }
    // Cut off, and the mark not gone yet.
    if (TRY(sys::stat_descriptor(object)).size == 0) return std::nullopt;
    const auto redirect = TRY(redirect_of(object));
    const Location location = nodes_.location(node);
    for (const NodeName& place : location.names) {
        auto found = TRY(find_data(place, location.stack.front(), redirect));
        if (found) return found;
    }
    if (location.names.empty() && redirect && redirect->absolute) {
        const NodeName place{nodes_.root(), redirect->components.back()};
        auto found = TRY(find_data(place, location.stack.front(), redirect));
        if (found) return found;
    }
    return fail(EIO);
}

Result<UniqueFd> Union::open_data(const LowerData& data, int flags) {
    return sys::open_sparing_access_time(
        flags, [&](int how) { return sys::reopen(data.object.get(), how); });
}

Result<void> Union::fill(const Request& request, const LowerData& data, int copy) const {
    const UniqueFd source = TRY(open_data(data, O_RDONLY));
    const Attributes from = TRY(sys::stat_descriptor(source.get()));
    const Attributes before = TRY(sys::stat_descriptor(copy));
    const std::vector<std::byte> capability = capability_of(copy);
    const sys::KeepSetId keep(true);
    copyup::Observer observer;
    observer.cancelled = request.interrupted;
    const auto copied = copyup::copy_data(source.get(), from, copy, observer);
    if (!copied) {
        // What was copied would take room for nothing.
        (void)sys::truncate(copy, 0);
        (void)sys::truncate(copy, static_cast<off_t>(before.size));
    }
    if (!capability.empty()) TRY(sys::set_xattr(copy, kCapability, capability, 0));
    (void)copyup::copy_times(before, copy);
    TRY(copied);
    copy_up_counters_.copied(*copied);
    if (options_.durable_copies && copied->origin == copyup::DataOrigin::Copied) {
        TRY(sys::synchronize(copy, false));
    }
    return {};
}

Result<void> Union::bring_data(const Request& request, const NodeRef& node, CopyNeed need) {
    if (!layered_ || !S_ISREG(node->type) || node->own_data) return {};
    const CopyUps::Turn turn = TRY(copy_ups_.enter(node->id, request.interrupted));
    UniqueFd copy;
    std::optional<LowerData> below;
    {
        const SharedLock lock(node->mutex);
        const UniqueFd object = TRY(open_object(*node, O_PATH));
        if (!TRY(format::read_metacopy(object.get(), options_.marks))) {
            node->own_data = true;
            return {};
        }
        if (need == CopyNeed::Data) below = TRY(data_below(*node, object.get()));
        copy = TRY(sys::reopen(object.get(), O_RDWR));
    }
    if (below) {
        CopyUpCounters::Attempt attempt(copy_up_counters_);
        TRY(fill(request, *below, copy.get()));
        attempt.filled();
    } else {
        const sys::KeepSetId keep(true);
        TRY(sys::truncate(copy.get(), 0));
    }
    TRY(format::remove_metacopy(copy.get(), options_.marks));
    node->own_data = true;
    return {};
}

Result<void> Union::make_movable(const Request& request, const NodeRef& node) {
    if (!layered_ || !S_ISREG(node->type) || node->own_data) return {};
    {
        const SharedLock lock(node->mutex);
        const UniqueFd object = TRY(open_object(*node, O_PATH));
        if (!TRY(lacks_data(object.get()))) return {};
        const auto redirect = TRY(redirect_of(object.get()));
        if (redirect && redirect->absolute) return {};
    }
    return bring_data(request, node, CopyNeed::Data);
}

Result<std::optional<format::Redirect>> Union::bare_copy(const UpperCopy& copy) const {
    const bool asked = copy.need == CopyNeed::Attributes && options_.metacopy;
    if (!asked || !S_ISREG(copy.node->type) || copy.shown.size == 0 || copy.place.names.empty()) {
        return std::nullopt;
    }
    const NodeName& place = copy.place.names.front();
    format::Redirect redirect{true, {}};
    if (place.parent->id != kRootNode) {
        const SharedLock lock(moves_);
        redirect = TRY(redirect_to(*place.parent));
    }
    redirect.components.push_back(place.name);
    if (!format::encode(redirect)) return std::nullopt;
    return redirect;
}

Result<void> Union::mark_bare(int copy, BranchIndex branch,
                              const format::Redirect& redirect) const {
    const format::MarkFormat marks = TRY(branches_[branch]->layer().format());
    TRY(format::write_redirect(copy, marks, redirect));
    return format::write_metacopy(copy, marks, {});
}

void Union::show_blocks(const Node& node, Attributes& attributes) const {
    // It may have blocks for its attributes.
    const bool sparse = attributes.blocks * 512 < attributes.size;
    if (!layered_ || !S_ISREG(node.type) || !sparse || node.own_data) return;
    const auto object = open_object(node, O_PATH);
    if (!object) return;
    const auto below = data_below(node, object->get());
    if (!below || !*below) return;
    const auto data = sys::stat_descriptor((*below)->object.get());
    if (data) attributes.blocks = data->blocks;
}

}  // namespace plyfs
