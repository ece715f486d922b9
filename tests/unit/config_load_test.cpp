// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "config_scratch.h"

using namespace plyfs::config;
using namespace std::chrono_literals;
using plyfs::config::test::Scratch;

namespace {

Configuration loaded(const Request& request, const Environment& environment) {
    auto configuration = load(request, environment);
    if (!configuration) FAIL(test::text_of(configuration.error()));
    return *std::move(configuration);
}

std::string load_errors(const Request& request, const Environment& environment) {
    auto configuration = load(request, environment);
    return configuration ? "" : test::text_of(configuration.error());
}

}  // namespace

TEST_CASE("writable branches come before read-only ones, else in the order given", "[config]") {
    const Scratch scratch;
    for (const auto* name : {"a", "b", "c", "d"}) scratch.directory(name);
    const auto configuration = loaded({"a=RO:b:c=RO:d=NC", "", {}}, scratch.environment());
    REQUIRE(configuration.options.branches.size() == 4);
    CHECK(configuration.options.branches[0].path == scratch / "b");
    CHECK(configuration.options.branches[1].path == scratch / "d");
    CHECK(configuration.options.branches[2].path == scratch / "a");
    CHECK(configuration.options.branches[3].path == scratch / "c");
    CHECK(configuration.branch_origins.size() == 4);
    CHECK(configuration.options.fsname == "a=RO:b:c=RO:d=NC");
}

TEST_CASE("options name layers as those of mount -t overlay", "[config][overlay_form]") {
    const Scratch scratch;
    for (const auto* name : {"top", "b:c", "upper", "work", "mnt"}) scratch.directory(name);
    const Options options =
        loaded({"", "mnt", {R"(lowerdir=top:b\:c)", "upperdir=upper,workdir=work"}},
               scratch.environment())
            .options;
    REQUIRE(options.branches.size() == 3);
    CHECK(options.branches[0] ==
          BranchOptions{scratch / "upper", BranchMode::ReadWrite, {}, scratch / "work"});
    CHECK(options.branches[1] == BranchOptions{scratch / "top", BranchMode::ReadOnly, {}, {}});
    CHECK(options.branches[2].path == scratch / "b:c");
    CHECK(options.min_free_space == 0);
    CHECK(options.policies.create == Policy::Ff);
    CHECK(options.fsname == "plyfs");
    CHECK_FALSE(options.read_only);

    SECTION("what is given replaces the defaults of this form") {
        const auto given =
            loaded({"overlay", "mnt", {"minfreespace=1G,lowerdir=top,category.create=mfs,zebra"}},
                   scratch.environment());
        CHECK(given.options.min_free_space == std::uint64_t{1} << 30);
        CHECK(given.options.policies.create == Policy::Mfs);
        CHECK(given.options.fsname == "overlay");
        CHECK(given.options.read_only);
        CHECK(given.warnings ==
              std::vector<std::string>{"-o options: zebra: unknown option, ignored"});
    }
    SECTION("layers given again replace those before, lowerdir+ adds one") {
        const auto given = loaded({"", "mnt", {"lowerdir=upper,lowerdir=top,lowerdir+=work"}},
                                  scratch.environment());
        REQUIRE(given.options.branches.size() == 2);
        CHECK(given.options.branches[0].path == scratch / "top");
        CHECK(given.options.branches[1].path == scratch / "work");
    }
    SECTION("a configuration file may give the other options") {
        scratch.file("pool.yaml", "branches: [missing]\nlocks: branch\n");
        const auto given =
            loaded({"none", "mnt", {"config=pool.yaml,lowerdir=top"}}, scratch.environment());
        CHECK(given.options.locks == LockScope::Branch);
        CHECK(given.options.branches.size() == 1);
        CHECK(
            load_errors({"pool.yaml", "mnt", {"lowerdir=top"}}, scratch.environment()) ==
            "command line: branches: the source is a YAML file, and options name layers (give one "
            "of them, or the file by config=)");
    }
}

TEST_CASE("the command line goes over the file", "[config]") {
    const Scratch scratch;
    scratch.directory("etc/a");
    const std::string b = scratch.directory("b");
    const std::string mnt = scratch.directory("mnt");
    scratch.file("etc/pool.yaml",
                 "branches: [a]\nmountpoint: none\nlocks: branch\ncache: {entry: 5}\n");

    SECTION("as the source") {
        const auto configuration =
            loaded({"etc/pool.yaml", "mnt", {"cache.entry=7"}}, scratch.environment());
        CHECK(configuration.options.branches[0].path == scratch / "etc/a");
        CHECK(configuration.options.mountpoint == mnt);
        CHECK(configuration.options.locks == LockScope::Branch);
        CHECK(configuration.options.cache.entry == 7s);
    }
    SECTION("by config=, wherever it stands") {
        const auto configuration =
            loaded({"none", "mnt", {"cache.entry=7,config=etc/pool.yaml"}}, scratch.environment());
        CHECK(configuration.options.branches[0].path == scratch / "etc/a");
        CHECK(configuration.options.cache.entry == 7s);
    }
    SECTION("branches replace the file's") {
        const auto configuration =
            loaded({"b", "mnt", {"config=etc/pool.yaml"}}, scratch.environment());
        REQUIRE(configuration.options.branches.size() == 1);
        CHECK(configuration.options.branches[0].path == b);
    }
    SECTION("two files are refused") {
        CHECK(load_errors({"etc/pool.yaml", "mnt", {"config=etc/pool.yaml"}},
                          scratch.environment()) ==
              "command line: branches: the source is a YAML file and config= names another (give "
              "one of them)");
    }
}

TEST_CASE("defaults follow other settings and who mounts", "[config]") {
    const Scratch scratch;
    scratch.directory("a");
    const auto options = [&](std::string list, bool root = true) {
        return loaded({"a", "", {std::move(list)}}, {scratch.path(), root}).options;
    };
    CHECK(options("cache.exclusive").cache.entry == 24h);
    CHECK(options("cache.exclusive").cache.attributes == 24h);
    CHECK(options("cache.exclusive,cache.entry=3").cache.entry == 3s);
    CHECK_FALSE(options("xattr=nosys").posix_acl);
    CHECK(options("").allow_other);
    CHECK_FALSE(options("", false).allow_other);
    CHECK(options("allow_other", false).allow_other);
    CHECK_FALSE(options("").no_suid);
    CHECK(options("suid,dev", false).no_suid);
    CHECK(options("suid,dev", false).no_dev);
}

TEST_CASE("errors of the file and of the options are reported together", "[config]") {
    const Scratch scratch;
    scratch.file("p.yaml", "branches: [missing]\nlocks: x\n");
    CHECK(load_errors({"p.yaml", "", {"zebra"}}, scratch.environment()) ==
          "p.yaml:2: locks: `x` is not one of its values (local or branch)\n"
          "-o options: zebra: unknown option\n"
          "p.yaml:1: branches[0]: " +
              scratch / "missing: No such file or directory (create it, or see whether its disk is "
                        "mounted)");
    CHECK(load_errors({"none.yaml", "", {}}, scratch.environment()) ==
          "command line: branches: none.yaml: no such file (a source that ends in .yaml is a "
          "configuration file)");
}

TEST_CASE("what is printed loads back to the same options", "[config]") {
    const Scratch scratch;
    scratch.directory("a");
    scratch.directory("b \"quoted\" \\ \t: #é");
    scratch.directory("mnt");
    const auto* const list = GENERATE(
        "", "ro,nosuid,nodev,noexec,noatime,nodiratime,relatime,sync,dirsync,nonempty",
        "minfreespace=12345,cache.entry=1500ms,cache.attr=3ns,cache.exclusive,cache.readdir",
        "category.create=epmfs,func.mkdir=all,func.utimens=newest,func.access=ff",
        "passthrough.io=off,locks=branch,xattr=nosys,log.level=debug,log.target=x y",
        "threads=3,readahead=7,fsname=a\\,\"b\" '\\\\,subtype=x,allow_other=0");
    CAPTURE(list);
    Request request{"a=RW,1G:b*=RO", "mnt", {list}};
    const auto first = loaded(request, scratch.environment());
    const std::string text = dump(first.options);
    CAPTURE(text);
    const std::string file = scratch.file("dump.yaml", text);
    const auto second = loaded({file, "", {}}, {"/", true});
    CHECK(second.options == first.options);
    CHECK(dump(second.options) == text);
}
