// SPDX-License-Identifier: GPL-2.0-or-later
//
// File systems of the tests: images on the sandbox's tmpfs through loop devices, and tmpfs. Each is
// unmounted with its owner; the loop device goes with the mount.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace plyfs::test {

inline constexpr std::uint64_t kMebi = std::uint64_t{1} << 20;  // bytes

enum class FileSystem : std::uint8_t { Ext4, Xfs, Btrfs, Tmpfs };

const char* name_of(FileSystem kind);

class LoopFileSystem {
public:
    // Skips the test where the kernel or the machine lacks what `kind` takes. `bytes` is raised to
    // what `kind` needs. `options` are mount options, `format_words` go to mkfs.
    LoopFileSystem(FileSystem kind, std::uint64_t bytes, const std::string& options = "",
                   const std::vector<std::string>& format_words = {});
    LoopFileSystem(const LoopFileSystem&) = delete;
    LoopFileSystem& operator=(const LoopFileSystem&) = delete;
    ~LoopFileSystem();

    // Where it is mounted; its root may be written by all.
    const std::string& path() const noexcept { return path_; }
    FileSystem kind() const noexcept { return kind_; }

    // One of each kind that all tests share, made when first used; it lives as long as the sandbox.
    static LoopFileSystem& shared(FileSystem kind);
    // A new directory on it.
    std::string make_directory();

private:
    FileSystem kind_;
    std::string path_;
    unsigned directories_ = 0;
};

}  // namespace plyfs::test
