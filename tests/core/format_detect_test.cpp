// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/detect.h"

#include <linux/capability.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <catch2/catch_test_macros.hpp>
#include <optional>
#include <thread>

#include "core/overlay_mount.h"
#include "format/directory_marks.h"
#include "sys/fault.h"

namespace plyfs::test {

namespace {

// For the calling thread only: the C library's calls would change all threads.
bool become_nobody(uid_t nobody) {
    if (::syscall(SYS_setresuid, nobody, nobody, nobody) != 0) return false;
    // Other tests have made the process keep its capabilities whoever it is.
    __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
    const std::array<__user_cap_data_struct, 2> none{};
    return ::syscall(SYS_capset, &header, none.data()) == 0;
}

}  // namespace

TEST_CASE("root on tmpfs and ext4 can write every form of marks", "[format]") {
    for (const FileSystemKind kind : {FileSystemKind::Tmpfs, FileSystemKind::Ext4}) {
        const OverlayMount layers(kind);
        const format::MarkSupport support = format::probe_marks(layers.open("work").get()).value();
        CHECK_FALSE(support.device);
        CHECK_FALSE(support.trusted);
        CHECK_FALSE(support.user);
        CHECK_FALSE(support.exchange);
        CHECK_FALSE(support.whiteout_on_rename);
        CHECK_FALSE(support.handles);
        CHECK(layers.names("work").empty());
    }
}

TEST_CASE("who is not root can make devices 0:0, but no trusted attributes", "[format]") {
    const OverlayMount layers;
    constexpr uid_t kNobody = 65534;
    REQUIRE(::chown(layers.path("work").c_str(), kNobody, kNobody) == 0);
    const UniqueFd work = layers.open("work");
    std::optional<format::MarkSupport> support;
    std::thread([&] {
        if (!become_nobody(kNobody)) return;
        if (const auto probed = format::probe_marks(work.get())) support = *probed;
    }).join();
    REQUIRE(support);
    CHECK_FALSE(support->device);  // Linux 5.8 and later ask for no CAP_MKNOD (vfs_mknod)
    CHECK_FALSE(support->user);
    CHECK_FALSE(support->exchange);
    CHECK_FALSE(support->whiteout_on_rename);
    CHECK(support->trusted == Errno(EPERM));
    CHECK(layers.names("work").empty());
}

TEST_CASE("a file system without attributes and handles has plain files for marks", "[format]") {
    const OverlayMount layers;
    REQUIRE(::mount("ramfs", layers.path("work").c_str(), "ramfs", 0, nullptr) == 0);
    {
        const UniqueFd work = layers.open("work");
        const format::MarkSupport support = format::probe_marks(work.get()).value();
        CHECK(support.trusted == Errno(EOPNOTSUPP));
        CHECK(support.user == Errno(EOPNOTSUPP));
        CHECK(support.handles == Errno(EOPNOTSUPP));
        const format::MarkFormat format = format::choose_format(support, {}).value();
        CHECK_FALSE(format.names);
        CHECK(format::set_opaque(work.get(), format));
        CHECK(format::directory_marks(work.get(), {})->opaque);
        CHECK_FALSE(format::is_impure(work.get(), {}).value());
        CHECK(format::set_impure(work.get(), format).error() == EOPNOTSUPP);
    }
    CHECK(::umount2(layers.path("work").c_str(), 0) == 0);
}

TEST_CASE("whatever fails while marks are tried, nothing is left behind", "[format][fault]") {
    const OverlayMount layers;
    const UniqueFd work = layers.open("work");
    std::uint64_t calls = 1;
    for (std::uint64_t nth = 1; nth <= calls; ++nth) {
        fault::arm(fault::Action::Error, nth, EPERM);
        const auto support = format::probe_marks(work.get());
        const std::uint64_t made = fault::disarm();
        if (support) calls = std::max(calls, made);
        calls = std::max(calls, nth + (support ? 0U : 1U));
        // What a failing removal leaves is the sweeper's.
        for (const std::string& name : layers.names("work"))
            REQUIRE(::unlink(layers.path("work/" + name).c_str()) == 0);
    }
    CHECK(calls > 10);
    CHECK(format::probe_marks(work.get()));
}

}  // namespace plyfs::test
