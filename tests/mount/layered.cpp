// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/layered.h"

#include "mount/files.h"

namespace plyfs::test {

namespace {

std::string joined(const std::string& one, const std::string& other) {
    return one.empty() || other.empty() ? one + other : one + "," + other;
}

Tree prepared(const Branches& branches, const Layered::Prepare& prepare) {
    prepare(branches[1]);
    return tree_of(branches[1], Detail::Everything);
}

}  // namespace

const std::vector<Stacking>& stackings() {
    using enum FileSystem;
    static const std::vector<Stacking> all{
        {"ext4, follow", Ext4, false, "readers=follow"},
        {"ext4, snapshot", Ext4, true, "readers=snapshot"},
        {"tmpfs, follow", Tmpfs, false, "readers=follow"},
        {"tmpfs, snapshot", Tmpfs, true, "readers=snapshot"},
        {"ext4, follow, off", Ext4, false, "readers=follow,passthrough.io=off"},
        {"ext4, snapshot, off", Ext4, true, "readers=snapshot,passthrough.io=off"},
        {"tmpfs, follow, off", Tmpfs, false, "readers=follow,passthrough.io=off"},
        {"tmpfs, snapshot, off", Tmpfs, true, "readers=snapshot,passthrough.io=off"},
    };
    return all;
}

Layered::Layered(const Stacking& stacking, const Prepare& prepare, const std::string& options)
    : Layered(stacking.kind, prepare, joined(stacking.options, options)) {}

Layered::Layered(FileSystem kind, const Prepare& prepare, const std::string& options,
                 Mount::Style style)
    : branches_({kind, kind}), before_(prepared(branches_, prepare)),
      mount_(branches_.spec({"RW", "RO"}), options, style) {}

bool Layered::moves_open_files() const {
    const std::string report = get_xattr(path(""), "user.plyfs.stats");
    return report.find("\"passthrough-rebind\":true") != std::string::npos;
}

std::string Layered::lower_changes() const {
    return difference(before_, tree_of(branches_[1], Detail::Everything));
}

}  // namespace plyfs::test
