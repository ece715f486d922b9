// SPDX-License-Identifier: GPL-2.0-or-later
//
// Random operations on a tree of few names, and what carries them out below a mountpoint, so that
// two file systems can be asked the same.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "sys/unique_fd.h"

namespace plyfs::test {

struct Operation {
    enum class Kind : std::uint8_t {
        Open,  // for writing, with flags; writes
        Truncate,
        Chmod,
        Chown,
        SetTimes,
        SetXattr,
        RemoveXattr,
        Link,
        Symlink,
        Mknod,
        Mkdir,
        Rmdir,
        Unlink,
        Rename,
        List,
        Read,
        Hold,       // opens a file and keeps it open
        WriteHeld,  // of one that is open
        TruncateHeld,
        Release,
    };
    Kind kind;
    std::string path;
    std::string other;
    std::uint64_t choice;  // flags, modes and values are chosen by it
};

Operation draw_operation(std::mt19937_64& random);
std::string describe(const Operation& operation);

// One of the file systems: a mountpoint, and the files that are open below it.
class OperatedTree {
public:
    explicit OperatedTree(std::string root) : root_(std::move(root)) {}

    // What was answered, as text: an errno's name, or what was read.
    std::string carry_out(const Operation& operation);
    void release_all() { held_.clear(); }
    const std::string& root() const noexcept { return root_; }

private:
    std::string at(const std::string& path) const { return root_ + "/" + path; }
    std::string carry_out_held(const Operation& operation);

    std::string root_;
    std::vector<UniqueFd> held_;
};

}  // namespace plyfs::test
