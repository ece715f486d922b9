// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/layers.h"

#include <sys/mount.h>

#include <catch2/catch_test_macros.hpp>
#include <csignal>

#include "mount/files.h"

namespace plyfs::test {

Layers::Layers() {
    for (const auto* name : {"lower", "upper", "work"}) make_directory(path(name));
    put(path("lower/file"), "lower");
    put(path("lower/gone"), "lower");
    make_directory(path("lower/directory"));
    put(path("lower/directory/inside"), "lower");
}

std::string Layers::options() const {
    return "lowerdir=" + path("lower") + ",upperdir=" + path("upper") + ",workdir=" + path("work");
}

Ran Layers::mount(const std::string& options, const std::string& mountpoint) const {
    return run({PLYFS_BINARY, "-o", options, mountpoint}, branches_[0]);
}

void kill_daemon(Mount& mount) {
    ::kill(mount.daemon(), SIGKILL);
    CHECK(reap(mount.daemon()) == 128 + SIGKILL);
    REQUIRE(outcome(::umount2(mount.path().c_str(), UMOUNT_NOFOLLOW)) == kOk);
    mount.abandon();
}

}  // namespace plyfs::test
