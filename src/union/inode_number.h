// SPDX-License-Identifier: GPL-2.0-or-later
//
// st_ino as the union shows it: made of the file system's tag and of the inode number there, so
// that it depends neither on the order of the branches nor on st_dev, and is the same after a
// remount and a restart.
//
//   bit 63      1: bits 0 to 47 are a hash
//   bits 62-48  tag of the file system, never 0
//   bits 47-0   inode number of the branch, or its hash
//
// No number is 0, and but for hashed ones none is negative to programs that take ino_t as signed.
#pragma once

#include <atomic>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "sys/file_system_identity.h"
#include "sys/mutex.h"
#include "sys/result.h"

namespace plyfs {

// Tags are in [1, kLastTag].
inline constexpr std::uint16_t kLastTag = 0x7fff;

// Inode numbers below 2^48 (all that ext4, XFS, btrfs and tmpfs hand out in practice) are kept
// as they are. Greater ones (some FUSE and network file systems, overlayfs with xino) are hashed:
// two of them get the same number with a chance of 2^-48 for each pair, and programs that tell
// hard links by st_ino then take them for one file. A hashed and an unhashed one never meet.
std::uint64_t inode_number(std::uint16_t tag, std::uint64_t real_inode);

// The tag that a file system gets as long as no other has it: hash of its UUID, on btrfs with
// f_fsid (subvolumes share the UUID but number their inodes each on their own); without UUID of
// f_fsid; without both of st_dev (`device`), which for NFS and FUSE is another after a remount.
// It may change when the kernel is upgraded to 6.9, the first that tells the UUID.
std::uint16_t preferred_tag(std::uint64_t device, const FileSystemIdentity& identity);

// The tags in use, by st_dev. Grows only: file systems that go away keep their tag, and a st_dev
// that is reused meanwhile (a btrfs subvolume deleted, another one made) inherits it until the
// daemon restarts.
//
// Where two file systems prefer the same tag, the one that is met later gets the next free one:
// its tag then depends on the order of discovery and may be another after a remount. So it is with
// block-level copies (the same UUID twice), with non-directories on an overlayfs whose layers
// show a st_dev each, and by chance for 1 in 33,000 pairs.
//
// Thread-safe. A tag that is known is found without a lock.
class FileSystemTags {
public:
    FileSystemTags();
    FileSystemTags(const FileSystemTags&) = delete;
    FileSystemTags& operator=(const FileSystemTags&) = delete;

    // The tag of the file system `device` (st_dev). `descriptor` is any directory or regular file
    // on it, looked at only if the device is new; for other objects pass the parent directory.
    // EOVERFLOW: all tags are in use. Else the errnos of file_system_identity.
    Result<std::uint16_t> tag(std::uint64_t device, int descriptor) EXCLUDES(mutex_);

    // The same for a file system whose identity is known.
    Result<std::uint16_t> tag(std::uint64_t device, const FileSystemIdentity& identity)
        EXCLUDES(mutex_);

    // All of them, by device, and those of the process before. EPROTO: none is like that.
    std::vector<std::pair<std::uint64_t, std::uint16_t>> all() const EXCLUDES(mutex_);
    Result<void> restore(std::uint64_t device, std::uint16_t tag) EXCLUDES(mutex_);

private:
    // Filled once, tag last: a reader that sees the tag sees the device.
    struct Slot {
        std::atomic<std::uint64_t> device{0};
        std::atomic<std::uint16_t> tag{0};  // 0: empty
    };
    // Open addressing, linear probing, at most half full. The size is a power of two.
    using Table = std::vector<Slot>;

    static Slot& slot_of(Table& table, std::uint64_t device) noexcept;
    std::uint16_t find(std::uint64_t device) const noexcept;  // 0: not there
    void insert(std::uint64_t device, std::uint16_t tag) REQUIRES(mutex_);

    std::atomic<Table*> current_;  // the last of tables_

    mutable Mutex mutex_;
    // Outgrown tables stay, since readers may still be in them: together they are smaller than
    // the current one.
    std::vector<std::unique_ptr<Table>> tables_ GUARDED_BY(mutex_);
    std::size_t count_ GUARDED_BY(mutex_) = 0;
    std::bitset<kLastTag + 1> used_ GUARDED_BY(mutex_);
};

}  // namespace plyfs
