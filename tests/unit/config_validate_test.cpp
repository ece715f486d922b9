// SPDX-License-Identifier: GPL-2.0-or-later
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>

#include <catch2/catch_test_macros.hpp>

#include "config/mount_table.h"
#include "config/place.h"
#include "config_scratch.h"

using namespace plyfs::config;
using plyfs::config::test::Scratch;

namespace {

struct Verdict {
    std::string errors;
    std::string warnings;
};

Verdict judge(const Scratch& scratch, const std::string& branches,
              const std::string& mountpoint = "", const std::string& options = "",
              MountpointUse use = MountpointUse::Free) {
    auto configuration = load({branches, mountpoint, {options}}, scratch.environment());
    if (!configuration) return {test::text_of(configuration.error()), ""};
    Verdict verdict{test::text_of(validate(*configuration, use)), ""};
    for (const std::string& warning : configuration->warnings) verdict.warnings += warning + '\n';
    return verdict;
}

}  // namespace

TEST_CASE("good branches and an empty mountpoint are accepted", "[config]") {
    const Scratch scratch;
    for (const auto* name : {"a", "ab", "c", "mnt"}) scratch.directory(name);
    CHECK(judge(scratch, "a:ab:c=RO", "mnt", "minfreespace=0").errors.empty());
    CHECK(judge(scratch, "a=RO", "mnt", "ro").errors.empty());
}

TEST_CASE("branches that cannot be used are refused", "[config]") {
    const Scratch scratch;
    const std::string a = scratch.directory("a");
    scratch.file("file");
    scratch.directory("a/in");
    std::filesystem::create_directory_symlink("a", scratch / "link");
    const auto error = [&](const std::string& branches) { return judge(scratch, branches).errors; };
    CHECK(error("a:missing") ==
          "command line: branches: " + scratch / "missing: No such file or directory (create it, "
                                                 "or see whether its disk is mounted)");
    CHECK(error("a:file") == "command line: branches: " + scratch / "file: not a directory");
    CHECK(error("a:a") == "command line: branches: " + a + " is given twice (keep one of them)");
    CHECK(error("a:link=RO") ==
          "command line: branches: " + a + " is given twice (keep one of them)");
    CHECK(error("a:a/in") == "command line: branches: " + a + "/in is inside the branch " + a +
                                 " (a branch must not be part of another)");
    CHECK(error("a/in:a") == "command line: branches: the branch " + a + "/in is inside " + a +
                                 " (a branch must not be part of another)");
    CHECK(error("a=RO") == "command line: branches: no branch is writable (give one the mode RW, "
                           "or mount with ro)");
    CHECK(error("a=NC") == error("a=RO"));
    CHECK(judge(scratch, "").errors ==
          "branches: there is no branch (give at least one directory)");
}

TEST_CASE("an unreadable branch is refused", "[config]") {
    const Scratch scratch;
    scratch.directory("a");
    std::filesystem::permissions(scratch / "a", std::filesystem::perms::none);
    chmod(scratch.path().c_str(), 0755);
    std::string errors;
    // The system call, not its wrapper, so that only this thread is someone else.
    std::thread([&] {
        constexpr int kNobody = 65534;
        if (geteuid() == 0) syscall(SYS_setresuid, -1, kNobody, -1);
        errors = judge(scratch, "a").errors;
    }).join();
    CHECK(errors == "command line: branches: " + scratch / "a: Permission denied (it must be "
                                                           "readable)");
}

TEST_CASE("mountpoints that cannot be used are refused", "[config]") {
    const Scratch scratch;
    const std::string a = scratch.directory("pool/a");
    scratch.directory("pool/a/in");
    const std::string full = scratch.directory("full");
    scratch.file("full/file");
    scratch.directory("mnt");
    const auto error = [&](const std::string& mountpoint, const std::string& options = "") {
        return judge(scratch, "pool/a", mountpoint, options).errors;
    };
    const std::string where = "command line: mountpoint: ";
    CHECK(error("missing") == where + scratch / "missing: No such file or directory (create it)");
    CHECK(error("full/file") == where + full + "/file: Not a directory");
    CHECK(error("full") ==
          where + full + ": not an empty directory (nonempty mounts over what is there)");
    CHECK(error("full", "nonempty").empty());
    CHECK(error("pool/a", "nonempty") ==
          where + a + ": is itself a branch (mount on another directory)");
    CHECK(error("pool/a/in") ==
          where + a + "/in is inside the branch " + a + " (mount outside of the branches)");
    CHECK(error("pool", "nonempty") == where + "the branch " + a + " is inside " +
                                           scratch / "pool (mounting would hide it: mount "
                                                     "elsewhere)");
    CHECK(judge(scratch, "pool/a", "full", "", MountpointUse::InUse).errors.empty());
}

TEST_CASE("options that contradict each other are refused", "[config]") {
    const Scratch scratch;
    scratch.directory("a");
    const std::string mnt = scratch.directory("mnt");
    CHECK(judge(scratch, "a", "mnt", "xattr=noattr,posix_acl").errors ==
          "-o options: posix_acl: ACLs are extended attributes, and those are off (turn `xattrs` "
          "on or `posix_acl` off)");
    CHECK(judge(scratch, "a", "mnt", "log.target=mnt/log").errors ==
          "-o options: log.target: " + mnt +
              "/log: is inside the mountpoint (plyfs would wait for itself: log elsewhere)");
    CHECK(judge(scratch, "a", "mnt", "subtype=a/b").errors ==
          "-o options: subtype: is not the name of a file system type (letters, digits, `-`, `_` "
          "and `.`)");
}

TEST_CASE("what is odd but works is warned about", "[config]") {
    const Scratch scratch;
    const std::string a = scratch.directory("a");
    CHECK(judge(scratch, "a", "", "minfreespace=4000P").warnings ==
          "command line: branches: " + a +
              ": nothing will be created there: min_free_space 4000P is more than the whole file "
              "system\n");
    CHECK(judge(scratch, "a=RW,1", "", "minfreespace=4000P").warnings.empty());
    CHECK(
        judge(scratch, "a=RW,1", "", "passthrough.io=off,passthrough.max_stack_depth=1").warnings ==
        "-o options: passthrough.max_stack_depth: has no effect without "
        "passthrough\n");
}

TEST_CASE("bind mounts of one place are recognized", "[config]") {
    const Scratch scratch;
    for (const auto* name : {"a/in", "b", "c", "mnt"}) scratch.directory(name);
    bool mounted = false;
    std::string same;
    std::string nested;
    std::string mountpoint;
    // A mount namespace belongs to a thread: the mounts end with it.
    std::thread([&] {
        const auto bind = [&](const char* from, const char* to) {
            return mount((scratch / from).c_str(), (scratch / to).c_str(), nullptr, MS_BIND,
                         nullptr) == 0;
        };
        mounted = unshare(CLONE_NEWNS) == 0 &&
                  mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                  bind("a", "b") && bind("a/in", "c");
        if (!mounted) return;
        same = judge(scratch, "a:b").errors;
        nested = judge(scratch, "a:c").errors;
        mountpoint = judge(scratch, "a", "c").errors;
    }).join();
    if (!mounted) SKIP("needs the right to mount");
    CHECK(same == "command line: branches: " + scratch / "b is the same directory as " +
                      scratch / "a (keep one of them)");
    CHECK(nested == "command line: branches: " + scratch / "c is inside the branch " +
                        scratch / "a (a branch must not be part of another)");
    CHECK(mountpoint == "command line: mountpoint: " + scratch / "c is inside the branch " +
                            scratch / "a (mount outside of the branches)");
}

TEST_CASE("the mount table is read as the kernel writes it", "[config]") {
    const auto table = parse_mount_table(
        "36 35 98:0 /mnt1 /mnt\\0402\\134x rw,noatime master:1 - ext3 /dev/root rw\n"
        "nonsense\n"
        "37 35 0:50 / /media rw shared:2 propagate_from:1 - fuse.plyfs a:b rw,user_id=0\n"
        "38 35 0:51 / /x rw\n");
    REQUIRE(table.size() == 2);
    CHECK(table[0].id == 36);
    CHECK(table[0].device == "98:0");
    CHECK(table[0].root == "/mnt1");
    CHECK(table[0].mountpoint == "/mnt 2\\x");
    CHECK(table[0].type == "ext3");
    CHECK_FALSE(is_plyfs(table[0]));
    CHECK(is_plyfs(table[1]));
}
