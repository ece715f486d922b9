// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/inode_number.h"

#include <xxhash.h>

#include <cerrno>
#include <cstring>

namespace plyfs {
namespace {

constexpr int kInodeBits = 48;
constexpr std::uint64_t kInodeMask = (std::uint64_t{1} << kInodeBits) - 1;
constexpr std::uint64_t kHashed = std::uint64_t{1} << 63;
constexpr std::size_t kFirstTableSize = 32;

std::uint64_t hash(std::uint64_t value) {
    return XXH3_64bits(&value, sizeof value);
}

}  // namespace

std::uint64_t inode_number(std::uint16_t tag, std::uint64_t real_inode) {
    const std::uint64_t high = std::uint64_t{tag} << kInodeBits;
    if (real_inode <= kInodeMask) return high | real_inode;
    return kHashed | high | (hash(real_inode) & kInodeMask);
}

std::uint16_t preferred_tag(std::uint64_t device, const FileSystemIdentity& identity) {
    std::uint64_t hashed = 0;
    if (identity.uuid_length != 0) {
        // Zeros where the identity has less to say, so that the length is always the same.
        unsigned char key[sizeof identity.uuid + sizeof identity.fsid] = {};
        std::memcpy(key, identity.uuid.data(), identity.uuid_length);
        if (identity.has_subvolumes) {
            std::memcpy(key + sizeof identity.uuid, &identity.fsid, sizeof identity.fsid);
        }
        hashed = XXH3_64bits(key, sizeof key);
    } else {
        hashed = hash(identity.fsid != 0 ? identity.fsid : device);
    }
    return static_cast<std::uint16_t>(1 + hashed % kLastTag);
}

FileSystemTags::FileSystemTags() {
    tables_.push_back(std::make_unique<Table>(kFirstTableSize));
    current_.store(tables_.back().get(), std::memory_order_release);
}

Result<std::uint16_t> FileSystemTags::tag(std::uint64_t device, int descriptor) {
    if (const std::uint16_t known = find(device)) return known;
    // Asked without the lock: a network file system may take its time.
    return tag(device, TRY(sys::file_system_identity(descriptor)));
}

Result<std::uint16_t> FileSystemTags::tag(std::uint64_t device,
                                          const FileSystemIdentity& identity) {
    Lock lock(mutex_);
    if (const std::uint16_t known = find(device)) return known;
    if (count_ == kLastTag) return fail(EOVERFLOW);
    std::uint16_t chosen = preferred_tag(device, identity);
    while (used_[chosen]) chosen = static_cast<std::uint16_t>(chosen % kLastTag + 1);
    insert(device, chosen);
    return chosen;
}

std::vector<std::pair<std::uint64_t, std::uint16_t>> FileSystemTags::all() const {
    std::vector<std::pair<std::uint64_t, std::uint16_t>> result;
    const Lock lock(mutex_);
    for (const Slot& slot : *tables_.back()) {
        const std::uint16_t tag = slot.tag.load(std::memory_order_relaxed);
        if (tag != 0) result.emplace_back(slot.device.load(std::memory_order_relaxed), tag);
    }
    return result;
}

Result<void> FileSystemTags::restore(std::uint64_t device, std::uint16_t tag) {
    const Lock lock(mutex_);
    const std::uint16_t known = find(device);
    if (known == tag && tag != 0) return {};
    if (known != 0 || tag == 0 || tag > kLastTag || used_[tag]) return fail(EPROTO);
    insert(device, tag);
    return {};
}

// The slot that holds `device`, or the empty one where it belongs.
FileSystemTags::Slot& FileSystemTags::slot_of(Table& table, std::uint64_t device) noexcept {
    const std::size_t mask = table.size() - 1;
    for (std::size_t index = hash(device) & mask;; index = (index + 1) & mask) {
        Slot& slot = table[index];
        if (slot.tag.load(std::memory_order_acquire) == 0 ||
            slot.device.load(std::memory_order_relaxed) == device) {
            return slot;
        }
    }
}

std::uint16_t FileSystemTags::find(std::uint64_t device) const noexcept {
    const Slot& slot = slot_of(*current_.load(std::memory_order_acquire), device);
    // Once more with its tag: the slot may have been empty and filled since, by another device.
    const std::uint16_t tag = slot.tag.load(std::memory_order_acquire);
    return tag != 0 && slot.device.load(std::memory_order_relaxed) == device ? tag : 0;
}

void FileSystemTags::insert(std::uint64_t device, std::uint16_t tag) {
    const auto fill = [](Table& table, std::uint64_t new_device, std::uint16_t new_tag) {
        Slot& slot = slot_of(table, new_device);
        slot.device.store(new_device, std::memory_order_relaxed);
        slot.tag.store(new_tag, std::memory_order_release);
    };
    Table& table = *tables_.back();
    used_.set(tag);
    ++count_;
    if (count_ * 2 <= table.size()) return fill(table, device, tag);

    auto grown = std::make_unique<Table>(table.size() * 2);
    for (const Slot& slot : table) {
        const std::uint16_t old_tag = slot.tag.load(std::memory_order_relaxed);
        if (old_tag != 0) fill(*grown, slot.device.load(std::memory_order_relaxed), old_tag);
    }
    fill(*grown, device, tag);
    tables_.push_back(std::move(grown));
    current_.store(tables_.back().get(), std::memory_order_release);
}

}  // namespace plyfs
