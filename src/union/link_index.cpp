// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/link_index.h"

#include "sys/dirents.h"
#include "sys/entry.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs {

Result<int> LinkIndex::existing() {
    const Lock lock(mutex_);
    if (!looked_) {
        auto found = work_.existing_index();
        if (!found && found.error() != ENOENT) return fail(found.error());
        if (found) directory_ = *std::move(found);
        looked_ = true;
    }
    return directory_.get();
}

Result<std::optional<Attributes>> LinkIndex::find(Name entry) {
    const int directory = TRY(existing());
    if (directory < 0) return std::nullopt;
    const auto found = sys::stat_at(directory, entry);
    if (!found && found.error() == ENOENT) return std::nullopt;
    if (!found) return fail(found.error());
    return *found;
}

Result<UniqueFd> LinkIndex::open(Name entry, int flags) {
    const int directory = TRY(existing());
    if (directory < 0) return fail(ENOENT);
    return sys::open_at(directory, entry, flags);
}

Result<int> LinkIndex::directory() {
    const Lock lock(mutex_);
    if (!directory_) {
        directory_ = TRY(work_.make_index());
        looked_ = true;
    }
    return directory_.get();
}

Result<std::vector<std::string>> LinkIndex::entries() {
    std::vector<std::string> names;
    const int directory = TRY(existing());
    if (directory < 0) return names;
    auto reader = TRY(sys::DirectoryReader::open(directory));
    while (TRY(reader.fill())) {
        reader.for_each([&](const sys::RawEntry& entry) { names.emplace_back(entry.name); });
    }
    return names;
}

Result<void> LinkIndex::remove(Name entry) {
    const int directory = TRY(existing());
    if (directory < 0) return {};
    const auto removed = sys::remove_name(directory, entry);
    if (!removed && removed.error() == ENOENT) return {};
    return removed;
}

void LinkIndex::release() {
    const Lock lock(mutex_);
    directory_ = {};
    looked_ = false;
}

}  // namespace plyfs
