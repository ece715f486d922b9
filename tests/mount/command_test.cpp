// SPDX-License-Identifier: GPL-2.0-or-later
//
// Commands that mount nothing.
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using Catch::Matchers::ContainsSubstring;
using enum FileSystem;

TEST_CASE("help and version are printed", "[command]") {
    const auto words = GENERATE(std::vector<std::string>{PLYFS_BINARY, "--help"},
                                std::vector<std::string>{PLYFS_BINARY, "mount", "--help"},
                                std::vector<std::string>{PLYFS_BINARY, "umount", "--help"},
                                std::vector<std::string>{PLYFS_BINARY, "check", "--help"},
                                std::vector<std::string>{PLYFS_BINARY, "--version"});
    const Ran ran = run(words);
    INFO(words.back() << ": " << ran.output);
    CHECK(ran.status == 0);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs"));
}

TEST_CASE("the version names libfuse and the kernel", "[command]") {
    const Ran ran = run({PLYFS_BINARY, "--version"});
    CHECK_THAT(ran.output, ContainsSubstring("libfuse"));
    CHECK_THAT(ran.output, ContainsSubstring("passthrough"));
}

TEST_CASE("a wrong command line says so", "[command]") {
    const auto words = GENERATE(std::vector<std::string>{PLYFS_BINARY},
                                std::vector<std::string>{PLYFS_BINARY, "--no-such-option"},
                                std::vector<std::string>{PLYFS_BINARY, "umount"});
    const Ran ran = run(words);
    CHECK(ran.status == 2);
    CHECK_THAT(ran.output, ContainsSubstring("plyfs: "));
}

TEST_CASE("check prints the configuration that is in force, and mounts nothing", "[command]") {
    const Branches branches{Ext4, Ext4};
    const Ran ran = run(
        {PLYFS_BINARY, "check", branches.spec({"RW", "RO"}), "-o", "cache.entry=5,minfreespace=0"});
    INFO(ran.output);
    CHECK(ran.status == 0);
    CHECK_THAT(ran.output, ContainsSubstring(branches[0]));
    CHECK_THAT(ran.output, ContainsSubstring(branches[1]));
    CHECK_THAT(ran.output, ContainsSubstring("entry: 5s"));

    SECTION("as a YAML file that mounts the same") {
        const std::string file = make_scratch_directory() + "/checked.yaml";
        put(file, ran.output);
        put(branches.path(1, "file"), "content");
        const Mount mount(file);
        CHECK(content(mount.path("file")) == "content");
        put(mount.path("file"), "changed");
        CHECK(content(branches.path(1, "file")) == "content");
    }
}

}  // namespace
}  // namespace plyfs::test
