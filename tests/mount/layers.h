// SPDX-License-Identifier: GPL-2.0-or-later
//
// Directories for the overlay form of the command line, on one ext4: lower, upper and work.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "mount/mounted.h"

namespace plyfs::test {

class Layers {
public:
    Layers();

    // The path of a layer, or of something in it: `lower`, `upper/file`.
    std::string path(std::string_view name) const { return branches_.path(0, name); }
    // lowerdir=...,upperdir=...,workdir=...
    std::string options() const;
    // plyfs -o OPTIONS MOUNTPOINT, in the directory of the layers.
    Ran mount(const std::string& options, const std::string& mountpoint) const;

private:
    Branches branches_{FileSystem::Ext4};
};

// The daemon dies; the mount is taken away.
void kill_daemon(Mount& mount);

}  // namespace plyfs::test
