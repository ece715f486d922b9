// SPDX-License-Identifier: GPL-2.0-or-later
//
// Descriptors and memory of the daemon.
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// What the daemon is started with, while this lives.
class LoweredLimit {
public:
    explicit LoweredLimit(rlim_t descriptors) {
        ::getrlimit(RLIMIT_NOFILE, &before_);
        const rlimit lowered{descriptors, before_.rlim_max};
        REQUIRE(::setrlimit(RLIMIT_NOFILE, &lowered) == 0);
    }
    LoweredLimit(const LoweredLimit&) = delete;
    LoweredLimit& operator=(const LoweredLimit&) = delete;
    ~LoweredLimit() { ::setrlimit(RLIMIT_NOFILE, &before_); }

private:
    rlimit before_{};
};

// Directories with files in them, made on the branches, where it is fast.
void make_tree(const Branches& branches, int directories, int files) {
    for (int i = 0; i < directories; ++i) {
        const std::string path =
            branches.path(static_cast<std::size_t>(i) % branches.size(), std::to_string(i));
        make_directory(path);
        const UniqueFd directory = open_file(path, O_RDONLY | O_DIRECTORY);
        int made = 0;
        while (made < files &&
               ::mknodat(directory.get(), std::to_string(made).c_str(), S_IFREG | 0644, 0) == 0)
            ++made;
        REQUIRE(made == files);
    }
}

TEST_CASE("a tree of more files than descriptors is walked and removed", "[limits][descriptors]") {
    const Branches branches{Ext4, Tmpfs};
    make_tree(branches, 300, 20);
    const Mount mount = [&] {
        const LoweredLimit limit(256);
        return Mount(branches.spec());
    }();
    rlimit limit{};
    REQUIRE(::prlimit(mount.daemon(), RLIMIT_NOFILE, nullptr, &limit) == 0);
    // It may raise the soft limit; then the tree proves little, but it is still walked.
    const Ran found = run({"find", mount.path(), "-type", "f", "-size", "0"});
    CHECK(std::ranges::count(found.output, '\n') == 6000);
    CHECK(descriptors_of(mount.daemon()) < 4000);
    CHECK(descriptors_of(mount.daemon()) <= limit.rlim_cur);
    const Ran removed = run({"rm", "-rf", mount.path() + "/1", mount.path() + "/2"});
    INFO(removed.output);
    CHECK(removed.status == 0);
    CHECK(names(mount.path()).size() == 298);
}

TEST_CASE("a hard limit on descriptors is lived with", "[limits][descriptors]") {
    const Branches branches{Ext4, Tmpfs};
    make_tree(branches, 300, 10);
    const std::string mountpoint = make_scratch_directory();
    const Ran ran = run({"prlimit", "--nofile=200:200", PLYFS_BINARY, branches.spec(), mountpoint,
                         "-o", "minfreespace=0"});
    INFO(ran.output);
    REQUIRE(ran.status == 0);
    const Mount mount = Mount::adopt(mountpoint);
    const Ran found = run({"find", mount.path(), "-type", "f", "-size", "0"});
    CHECK(std::ranges::count(found.output, '\n') == 3000);
    const Ran removed = run({"rm", "-rf", mount.path("1"), mount.path("2"), mount.path("3")});
    INFO(removed.output);
    CHECK(removed.status == 0);
    SECTION("and running out of them is an error of that open only") {
        std::vector<UniqueFd> files;
        Outcome failed;
        for (int i = 10; i < 300 && failed.ok(); ++i) {
            files.push_back(open_file(mount.path(std::to_string(i) + "/5"), O_RDWR));
            failed = outcome(files.back().get());
        }
        CHECK((failed == EMFILE || failed == ENFILE || failed.ok()));
        files.clear();
        CHECK(try_open(mount.path("20/5"), O_RDWR) == kOk);
        CHECK(names(mount.path("20")).size() == 10);
    }
}

TEST_CASE("nothing is kept open when nothing is used", "[limits][descriptors]") {
    const Union united{Ext4};
    put(united.path("warm"), "up");
    (void)names(united.path());
    const std::size_t before = descriptors_of(united.mount.daemon());
    for (int i = 0; i < 200; ++i) {
        const std::string path = united.path(std::to_string(i));
        const UniqueFd file = open_file(path, O_RDWR | O_CREAT);
        REQUIRE(write_all(file.get(), "content") == kOk);
        const UniqueFd reader = open_file(path, O_RDONLY);
        REQUIRE(::unlink(path.c_str()) == 0);
    }
    drop_caches();
    CHECK(eventually([&] {
        (void)status(united.path("warm"));
        return descriptors_of(united.mount.daemon()) <= before + 8;
    }));
}

// Of the program as it is installed: sanitizers keep what is freed.
TEST_CASE("memory goes down when the kernel drops its caches", "[limits][memory]") {
    if (!exists(PLYFS_RELEASE_BINARY)) SKIP("the preset release is not built");
    // Enough for giving it back to be worth while (NodeTable::shrunk()).
    constexpr long kFiles = 80'000;
    const Branches branches{Tmpfs, Tmpfs};
    make_tree(branches, 400, kFiles / 400);
    const Mount mount(branches.spec(), "", Mount::Style::Background, PLYFS_RELEASE_BINARY);
    const long before = memory_of(mount.daemon());
    long full = 0;
    long after = 0;
    bool given_back = false;
    // Somebody else on the machine may drop the caches, too, before they are full.
    for (int attempt = 0; attempt < 3 && !given_back; ++attempt) {
        REQUIRE(run({"find", mount.path(), "-size", "0"}).status == 0);
        full = memory_of(mount.daemon());
        drop_caches();
        given_back = eventually([&] {
            (void)status(mount.path("1"));
            after = memory_of(mount.daemon());
            return after <= before + (full - before) / 2;
        });
    }
    CAPTURE(before, full, after);
    CHECK(given_back);
    CHECK((full - before) * 1024 / kFiles < 600);
}

}  // namespace
}  // namespace plyfs::test
