// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories and small file systems of their own for tests, gone with the object. File systems
// are mounted in a mount namespace of the test program, so that nothing stays mounted even if it
// is killed.
#pragma once

#include <cstdint>
#include <string>

namespace plyfs::test {

inline constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;  // bytes

// Where what is made for tests goes: tmpfs where there is one, on which fsync costs nothing.
std::string scratch_parent();

// An empty directory on a fast file system.
class ScratchDirectory {
public:
    ScratchDirectory();
    ~ScratchDirectory();
    ScratchDirectory(const ScratchDirectory&) = delete;
    ScratchDirectory& operator=(const ScratchDirectory&) = delete;

    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

enum class FileSystemKind : std::uint8_t { Tmpfs, Ext4, Xfs, Btrfs };

// A file system of `bytes`, or the fewest that its kind takes, with mode 0755 at its root. Skips
// the test where mounting is impossible.
class ScratchFileSystem {
public:
    ScratchFileSystem(FileSystemKind kind, std::uint64_t bytes);
    ~ScratchFileSystem();
    ScratchFileSystem(const ScratchFileSystem&) = delete;
    ScratchFileSystem& operator=(const ScratchFileSystem&) = delete;

    const std::string& path() const noexcept { return directory_.path(); }

    // Writes until ENOSPC, all but about `left` bytes.
    void fill(std::uint64_t left = 0) const;

private:
    ScratchDirectory directory_;
};

}  // namespace plyfs::test
