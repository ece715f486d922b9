// SPDX-License-Identifier: GPL-2.0-or-later
//
// What the tests of copyup share: a place with a lower and a work directory, and what is compared
// between a source and its copy.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "copyup/copy_object.h"
#include "core/scratch_file_system.h"

namespace plyfs::test {

const char* name_of(FileSystemKind kind);

// Directories `lower` and `work` at `top`, and copies from the one to the other.
class CopyPlace {
public:
    // Skips the test without root.
    explicit CopyPlace(const std::string& top) : CopyPlace(top, top) {}
    CopyPlace(const std::string& lower_top, const std::string& work_top);

    std::string lower(const std::string& name) const { return lower_ + "/" + name; }
    std::string work(const std::string& name) const { return work_ + "/" + name; }
    int work_descriptor() const { return work_descriptor_.get(); }

    // O_PATH, through a read-only clone of the mount, as the union reaches read-only branches.
    UniqueFd open_lower(const std::string& name) const;

    // Copies lower(name) to work(as).
    Result<copyup::CopiedObject> copy(const std::string& name, const std::string& as = "copy",
                                      const copyup::CopyOptions& options = quick()) const;
    // How many names there are in the work directory.
    std::size_t left() const;

    // Options without waiting for the disk.
    static copyup::CopyOptions quick();

private:
    std::string lower_;
    std::string work_;
    UniqueFd work_descriptor_;
};

// Pairs [begin, end) of data as SEEK_DATA and SEEK_HOLE tell them.
using DataMap = std::vector<std::pair<off_t, off_t>>;
DataMap data_map(const std::string& path);

// Every extended attribute of the object itself.
std::map<std::string, std::string> xattrs_of(const std::string& path);

// Writes `bytes` pseudo-random bytes at `offset`, making the file where there is none.
void put(const std::string& path, off_t offset, std::size_t bytes);

// What a file holds, read at once: some are large.
std::string bytes_of(const std::string& path);

// An ACL as system.posix_acl_* has it: rwx for the owner, r-x for user 4242 and the group, the mask
// rwx, nothing for others.
std::string acl_bytes();
// A file capability as security.capability has it: cap_net_raw+ep.
std::string capability_bytes();

}  // namespace plyfs::test
