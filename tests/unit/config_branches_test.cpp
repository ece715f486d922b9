// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "config/branch_expansion.h"
#include "config/branch_pattern.h"
#include "config_scratch.h"

using namespace plyfs::config;
using plyfs::config::test::Scratch;

namespace {

constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

std::vector<std::string> expanded(const Scratch& scratch, std::string path, bool glob = true) {
    BranchPattern pattern;
    pattern.path = std::move(path);
    pattern.glob = glob;
    pattern.where.directory = scratch.path();
    auto paths = expand(pattern);
    return paths ? *paths : std::vector{"error: " + to_text(paths.error())};
}

}  // namespace

TEST_CASE("a branch is PATH[=MODE[,MINFREE]]", "[config]") {
    struct Row {
        std::string_view text;
        std::string_view path;
        BranchMode mode = BranchMode::ReadWrite;
        std::optional<std::uint64_t> min_free_space = std::nullopt;
    };
    const auto row =
        GENERATE(Row{"/a", "/a"}, Row{"/a=RW", "/a"}, Row{"/a=nc", "/a", BranchMode::NoCreate},
                 Row{"/a=Ro", "/a", BranchMode::ReadOnly},
                 Row{"/a=NC,10G", "/a", BranchMode::NoCreate, 10 * kGiB},
                 Row{"/a=RW,0", "/a", BranchMode::ReadWrite, 0}, Row{"rel/b", "rel/b"},
                 // The last `=` counts, and what holds a slash is no mode.
                 Row{"/a=b=RO", "/a=b", BranchMode::ReadOnly}, Row{"/a=b/c", "/a=b/c"},
                 Row{"/a=b/c=NC", "/a=b/c", BranchMode::NoCreate},
                 // Escapes of the grammar are undone; those of glob(7) stay.
                 Row{"/a\\:b", "/a:b"}, Row{"/a\\=b", "/a=b"}, Row{"/a\\=RO", "/a=RO"},
                 Row{"/a\\*b", "/a\\*b"}, Row{"/a\\\\", "/a\\\\"}, Row{"/a\\", "/a\\"},
                 Row{"/a b,c", "/a b,c"}, Row{"/a/*=RO", "/a/*", BranchMode::ReadOnly});
    CAPTURE(row.text);
    const auto branch = parse_branch(row.text);
    REQUIRE(branch);
    CHECK(branch->path == row.path);
    CHECK(branch->mode == row.mode);
    CHECK(branch->min_free_space == row.min_free_space);
}

TEST_CASE("a mistyped branch is an error and never a path", "[config]") {
    const auto* const text = GENERATE("", "=RW", "/a=", "/a=R0", "/a=rw ", "/a=RW,", "/a=RW,10X",
                                      "/a=,10G", "/a=RW,1G,2G", "/a=b");
    CAPTURE(text);
    CHECK_FALSE(parse_branch(text));
    CHECK_FALSE(parse_branch(std::string_view("/a\0b", 4)));
}

TEST_CASE("a branch list is split at colons that are not escaped", "[config]") {
    std::vector<BranchPattern> branches;
    ConfigErrors errors;
    parse_branch_list("/a=RW:/b\\:c=RO:/d*=NC,1G", {}, branches, errors);
    REQUIRE(errors.empty());
    REQUIRE(branches.size() == 3);
    CHECK(branches[0].path == "/a");
    CHECK(branches[1].path == "/b:c");
    CHECK(branches[2].path == "/d*");
}

TEST_CASE("every wrong branch of a list is reported", "[config]") {
    std::vector<BranchPattern> branches;
    ConfigErrors errors;
    Location where{"command line", "/", 0, 0, "branches"};
    parse_branch_list("/a=RX::/b", where, branches, errors);
    CHECK(branches.size() == 1);
    CHECK(test::texts(errors) ==
          std::vector<std::string>{
              "command line: branches: `RX` is not a branch mode (RW, NC or RO; a `=` in a path is "
              "written `\\=`)",
              "command line: branches: a branch without a path (branches are PATH[=MODE[,MINFREE]] "
              "joined by `:`)"});
}

TEST_CASE("globs expand to directories in the order of their names", "[config]") {
    const Scratch scratch;
    const std::string b = scratch.directory("disk b");
    const std::string a = scratch.directory("disk a");
    scratch.file("disk c");
    CHECK(expanded(scratch, "disk*") == std::vector{a, b});
    CHECK(expanded(scratch, scratch / "disk [b-z]") == std::vector{b});
    CHECK(expanded(scratch, "nothing*")[0].starts_with("error: `nothing*` matches no directory"));
    CHECK(expanded(scratch, "nothing")[0].starts_with("error: " + scratch / "nothing: No such"));
}

TEST_CASE("a path with wildcards in its name can be given", "[config]") {
    const Scratch scratch;
    const std::string odd = scratch.directory("a[1]*");
    const std::string back = scratch.directory("back\\slash");
    CHECK(expanded(scratch, "a[1]*") == std::vector{odd});  // as glob it matches nothing
    CHECK(expanded(scratch, "a\\[1\\]\\*") == std::vector{odd});
    CHECK(expanded(scratch, "a[1]*", false) == std::vector{odd});
    CHECK(expanded(scratch, "back\\\\slash") == std::vector{back});
    CHECK(expanded(scratch, "back\\slash", false) == std::vector{back});
}

TEST_CASE("a glob below a directory with wildcards in its name works", "[config]") {
    const Scratch scratch;
    const std::string inner = scratch.directory("odd[x]/d1");
    BranchPattern pattern;
    pattern.path = "d*";
    pattern.where.directory = scratch / "odd[x]";
    const auto paths = expand(pattern);
    REQUIRE(paths);
    CHECK(*paths == std::vector{inner});
}

TEST_CASE("branch paths are made real", "[config]") {
    const Scratch scratch;
    const std::string real = scratch.directory("real");
    std::filesystem::create_directory_symlink("real", scratch / "link");
    CHECK(expanded(scratch, "link") == std::vector{real});
    CHECK(expanded(scratch, "real/../link/.") == std::vector{real});
}
