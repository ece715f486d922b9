// SPDX-License-Identifier: GPL-2.0-or-later
//
// The space of a branch, remembered for a moment because every create asks for it, and the space
// of the whole union.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "sys/file_system_identity.h"
#include "sys/file_system_space.h"
#include "sys/result.h"

namespace plyfs {

// Thread-safe, without locks: nobody ever waits for somebody else's question to the file system.
class BranchSpace {
public:
    using Clock = std::chrono::steady_clock;
    using Reader = Result<FileSystemSpace> (*)(int descriptor);

    static constexpr Clock::duration kDefaultAge = std::chrono::seconds(1);
    // While one thread renews a reading, the others get the old one up to this many times its age.
    static constexpr int kStaleAges = 10;

    // `root` is borrowed and must outlive this. Readings are renewed once they are `age` old;
    // 0: every question goes to the file system.
    explicit BranchSpace(int root, Clock::duration age = kDefaultAge,
                         Reader reader = &sys::file_system_space) noexcept
        : root_(root), age_(age), reader_(reader) {}
    BranchSpace(const BranchSpace&) = delete;
    BranchSpace& operator=(const BranchSpace&) = delete;

    // Errnos: those of file_system_space; the next question tries again.
    Result<FileSystemSpace> get(Clock::time_point now = Clock::now()) noexcept;

    // What was read up to `now` is not to be given out again: after ENOSPC, EDQUOT or EROFS.
    void expire(Clock::time_point now = Clock::now()) noexcept;

private:
    struct Reading {
        std::int64_t taken;  // ticks of Clock
        FileSystemSpace space;
    };
    static constexpr std::size_t kWords = sizeof(Reading) / sizeof(std::uint64_t);
    static_assert(sizeof(Reading) % sizeof(std::uint64_t) == 0);

    bool load(Reading& reading) const noexcept;
    void store(const Reading& reading) noexcept;

    const int root_;
    const Clock::duration age_;
    const Reader reader_;

    std::atomic_flag renewing_;  // held by the one thread that may store()
    // A sequence lock: odd while words_ are being written, 0 before the first reading.
    std::atomic<std::uint64_t> sequence_{0};
    std::array<std::atomic<std::uint64_t>, kWords> words_{};
    std::atomic<std::int64_t> expired_{INT64_MIN};  // readings up to then don't count
};

// What one branch adds to the union.
struct SpaceShare {
    std::uint64_t pool = 0;  // by space_pool: equal where branches draw on the same space
    FileSystemSpace space;
    bool writable = false;  // the branch's mode allows writing
};

// Names the space that a branch draws on: its st_dev, but on btrfs its UUID, since all subvolumes
// share the space while each has a st_dev of its own.
std::uint64_t space_pool(std::uint64_t device, const FileSystemIdentity& identity);

// The sum over distinct pools, as statfs(2) of the union answers. Blocks are counted in the
// greatest unit that divides the units of all pools; they are powers of two, so the smallest. The
// smallest I/O block size and the smallest name length count. A pool that no branch may write to
// adds to what there is but has nothing available, so that df shows what can be written. Sums
// that overflow stay at 2^64 - 1. Read-only if every pool is; without shares all is 0.
FileSystemSpace union_space(std::span<const SpaceShare> shares);

}  // namespace plyfs
