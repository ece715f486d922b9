// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/branch_space.h"

#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <numeric>

namespace plyfs {
namespace {

std::uint64_t saturating_sum(std::uint64_t left, std::uint64_t right) {
    std::uint64_t sum = 0;
    return __builtin_add_overflow(left, right, &sum) ? UINT64_MAX : sum;
}

std::uint64_t saturating_product(std::uint64_t left, std::uint64_t right) {
    std::uint64_t product = 0;
    return __builtin_mul_overflow(left, right, &product) ? UINT64_MAX : product;
}

// 0 stands for «not said».
std::uint64_t smallest_said(std::uint64_t left, std::uint64_t right) {
    if (left == 0 || right == 0) return std::max(left, right);
    return std::min(left, right);
}

}  // namespace

Result<FileSystemSpace> BranchSpace::get(Clock::time_point now) noexcept {
    const std::int64_t ticks = now.time_since_epoch().count();
    Reading reading{};
    const bool usable = load(reading) && reading.taken > expired_.load(std::memory_order_acquire);
    // Negative if another thread that looked at the clock later has renewed it.
    const std::int64_t age = usable ? ticks - reading.taken : 0;
    if (usable && age < age_.count()) return reading.space;

    if (renewing_.test_and_set(std::memory_order_acquire)) {
        if (usable && age / kStaleAges < age_.count()) return reading.space;
        return reader_(root_);
    }
    auto space = reader_(root_);
    if (space) store({ticks, *space});
    renewing_.clear(std::memory_order_release);
    return space;
}

void BranchSpace::expire(Clock::time_point now) noexcept {
    expired_.store(now.time_since_epoch().count(), std::memory_order_release);
}

// False: nothing was read yet, or it is being written this moment, for which nobody waits.
bool BranchSpace::load(Reading& reading) const noexcept {
    const std::uint64_t before = sequence_.load(std::memory_order_acquire);
    if (before == 0 || before % 2 != 0) return false;
    std::array<std::uint64_t, kWords> copy{};
    // Acquire on each word, release on each in store(): a word of a later reading brings that
    // reading's odd sequence along. Fences would do too, but ThreadSanitizer can't follow them.
    for (std::size_t index = 0; index < kWords; ++index) {
        copy[index] = words_[index].load(std::memory_order_acquire);
    }
    if (sequence_.load(std::memory_order_relaxed) != before) return false;
    reading = std::bit_cast<Reading>(copy);
    return true;
}

void BranchSpace::store(const Reading& reading) noexcept {
    const auto copy = std::bit_cast<std::array<std::uint64_t, kWords>>(reading);
    const std::uint64_t before = sequence_.load(std::memory_order_relaxed);
    sequence_.store(before + 1, std::memory_order_relaxed);
    for (std::size_t index = 0; index < kWords; ++index) {
        words_[index].store(copy[index], std::memory_order_release);
    }
    sequence_.store(before + 2, std::memory_order_release);
}

std::uint64_t space_pool(std::uint64_t device, const FileSystemIdentity& identity) {
    if (!identity.has_subvolumes || identity.uuid_length == 0) return device;
    return XXH3_64bits(identity.uuid.data(), identity.uuid.size());
}

FileSystemSpace union_space(std::span<const SpaceShare> shares) {
    FileSystemSpace sum;
    sum.read_only = !shares.empty();
    for (const SpaceShare& share : shares) sum.unit = std::gcd(sum.unit, share.space.unit);

    for (auto share = shares.begin(); share != shares.end(); ++share) {
        const auto same_pool = [&](const SpaceShare& other) { return other.pool == share->pool; };
        if (std::any_of(shares.begin(), share, same_pool)) continue;
        const bool writable = std::any_of(share, shares.end(), [&](const SpaceShare& other) {
            return same_pool(other) && other.writable && !other.space.read_only;
        });
        const FileSystemSpace& space = share->space;
        const std::uint64_t scale = sum.unit == 0 ? 0 : space.unit / sum.unit;
        const auto add = [](std::uint64_t& total, std::uint64_t count, std::uint64_t factor) {
            total = saturating_sum(total, saturating_product(count, factor));
        };
        add(sum.blocks, space.blocks, scale);
        add(sum.free_blocks, space.free_blocks, scale);
        add(sum.files, space.files, 1);
        add(sum.free_files, space.free_files, 1);
        if (writable) {
            add(sum.available_blocks, space.available_blocks, scale);
            add(sum.available_files, space.available_files, 1);
            sum.read_only = false;
        }
        sum.block_size = smallest_said(sum.block_size, space.block_size);
        sum.name_max = smallest_said(sum.name_max, space.name_max);
    }
    return sum;
}

}  // namespace plyfs
