// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/listings.h"

#include <utility>

namespace plyfs {

Listings::Listing Listings::find(NodeId directory) const {
    const Lock lock(mutex_);
    const auto found = index_.find(directory);
    if (found == index_.end()) return {};
    Listing listing = found->second->listing;
    listing.streams = found->second->streams != 0;
    return listing;
}

bool Listings::read(NodeId directory, const Names& names, bool first) {
    if (capacity_ == 0) return true;
    const Lock lock(mutex_);
    const auto it = entry(directory);
    if (first) ++it->streams;
    if (it->streams > 1 && names != it->listing.names) it->mixed = true;
    set_names(*it, it->mixed ? nullptr : names);
    it->listing.read_at = Clock::now();
    const bool mixed = it->mixed;
    shrink();
    return !mixed;
}

void Listings::join(NodeId directory) {
    const Lock lock(mutex_);
    ++entry(directory)->streams;
}

void Listings::closed(NodeId directory) {
    const Lock lock(mutex_);
    const auto found = index_.find(directory);
    if (found == index_.end() || --found->second->streams != 0) return;
    found->second->mixed = false;
    if (found->second->listing.names) return;
    entries_.erase(found->second);
    index_.erase(found);
}

void Listings::forget(NodeId directory) {
    Names names;  // freed after the lock
    const Lock lock(mutex_);
    const auto found = index_.find(directory);
    if (found == index_.end()) return;
    names = found->second->listing.names;
    set_names(*found->second, nullptr);
    entries_.erase(found->second);
    index_.erase(found);
}

Listings::Entries::iterator Listings::entry(NodeId directory) {
    const auto found = index_.find(directory);
    if (found != index_.end()) {
        entries_.splice(entries_.begin(), entries_, found->second);
        return found->second;
    }
    entries_.push_front({.directory = directory, .listing = {}});
    index_.emplace(directory, entries_.begin());
    return entries_.begin();
}

void Listings::set_names(Entry& entry, Names names) {
    if (entry.listing.names) names_ -= entry.listing.names->size();
    if (names) names_ += names->size();
    entry.listing.names = std::move(names);
}

// Those that somebody reads lose their names only: their streams are still counted.
void Listings::shrink() {
    for (auto it = entries_.end(); names_ > capacity_ && it != entries_.begin();) {
        --it;
        set_names(*it, nullptr);
        if (it->streams != 0) continue;
        index_.erase(it->directory);
        it = entries_.erase(it);
    }
}

}  // namespace plyfs
