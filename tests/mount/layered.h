// SPDX-License-Identifier: GPL-2.0-or-later
//
// Unions of a writable branch over a read-only one, which nothing may change.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "mount/mounted.h"
#include "mount/tree.h"

namespace plyfs::test {

// The ways in which tests of such unions are repeated.
struct Stacking {
    const char* name;
    FileSystem kind;  // of both branches
    bool snapshot;    // what readers are given: snapshot or follow
    const char* options;
};
// ext4 and tmpfs, snapshot and follow, with passthrough and without.
const std::vector<Stacking>& stackings();

class Layered {
public:
    // `prepare` makes what is in the read-only branch, at the path that it is given.
    using Prepare = std::function<void(const std::string& lower)>;
    Layered(const Stacking& stacking, const Prepare& prepare, const std::string& options = "");
    Layered(FileSystem kind, const Prepare& prepare, const std::string& options,
            Mount::Style style = Mount::Style::Background);

    std::string path(std::string_view name) const { return mount_.path(name); }
    const Mount& mount() const noexcept { return mount_; }
    Mount& mount() noexcept { return mount_; }
    std::string upper(std::string_view name) const { return branches_.path(0, name); }
    std::string lower(std::string_view name) const { return branches_.path(1, name); }
    // The kernel moves what is open in passthrough to the copy; what is mapped it can't move.
    bool moves_open_files() const;
    // How the read-only branch differs from what it was: nothing but "" is right.
    std::string lower_changes() const;

private:
    Branches branches_;
    Tree before_;
    Mount mount_;
};

}  // namespace plyfs::test
