// SPDX-License-Identifier: GPL-2.0-or-later
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>

#include "config/yaml_document.h"
#include "config/yaml_reader.h"
#include "config_scratch.h"

using namespace plyfs::config;
using namespace std::chrono_literals;
using plyfs::config::test::Scratch;

namespace {

std::string errors_of(std::string_view text) {
    Draft draft;
    return test::text_of(read_yaml(text, "pool.yaml", "/etc/plyfs", draft));
}

}  // namespace

TEST_CASE("a YAML file sets what it names", "[config]") {
    Draft draft;
    const auto errors = read_yaml(R"(
version: 1
mountpoint: ../media
branches:
  - /mnt/ssd=RW,20G
  - "hdd*"
  - {path: "/mnt/a*b", mode: nc}
  - glob: /mnt/c*
    mode: RO
    min_free_space: 1M
min_free_space: 2G
policies: {create: epmfs, functions: {mkdir: all}, search: ff}
cache:
  entry: 1m
  negative_entry: 0
  attributes: 1.5
  symlinks: no
  readdir: on
  exclusive: true
passthrough: off
locks: branch
io_uring: true
posix_acl: false
xattrs: true
logging: {level: warning, target: log/plyfs}
limits: {threads: 4, open_directories: 9, max_background: 10, readahead: 1M}
mount: {read_only: true, nosuid: true, fsname: "a,b"}
)",
                                  "pool.yaml", "/etc/plyfs", draft);
    CHECK(test::text_of(errors).empty());
    const Options& options = draft.options;
    CHECK(options.mountpoint == "/etc/plyfs/../media");
    REQUIRE(draft.branches.size() == 4);
    CHECK(draft.branches[0].path == "/mnt/ssd");
    CHECK(draft.branches[0].where.line == 5);
    CHECK(draft.branches[0].where.key == "branches[0]");
    CHECK(draft.branches[0].where.directory == "/etc/plyfs");
    CHECK(draft.branches[1].glob);
    CHECK_FALSE(draft.branches[2].glob);
    CHECK(draft.branches[2].mode == BranchMode::NoCreate);
    CHECK(draft.branches[3].min_free_space == 1 << 20);
    CHECK(options.policies.functions == std::map{std::pair{Function::Mkdir, Policy::All}});
    CHECK(options.cache == CacheOptions{1min, 0s, 1500ms, false, true, true});
    CHECK(options.passthrough.mode == PassthroughMode::Off);
    CHECK(options.locks == LockScope::Branch);
    CHECK(options.io_uring);
    CHECK_FALSE(options.posix_acl);
    CHECK(options.logging == LoggingOptions{LogLevel::Warning, "/etc/plyfs/log/plyfs"});
    CHECK(options.limits == LimitOptions{4, 9, 10, 1 << 20});
    CHECK(options.read_only);
    CHECK(options.fsname == "a,b");
}

TEST_CASE("an empty file and empty sections are fine", "[config]") {
    const auto* const text = GENERATE("", "# nothing\n", "---\n", "cache:\nmount:\n");
    CAPTURE(text);
    CHECK(errors_of(text).empty());
}

TEST_CASE("errors in a YAML file say line, key, reason and hint", "[config]") {
    struct Row {
        std::string_view text;
        std::string_view error;
    };
    const auto row = GENERATE(
        Row{"branches: [/a]\ncahce:\n  entry: 1\n",
            "pool.yaml:2: cahce: unknown key (did you mean `cache`?)"},
        Row{"cache:\n  attr: 1\n",
            "pool.yaml:2: cache.attr: unknown key (did you mean `attributes`?)"},
        Row{"zebra: 1", "pool.yaml:1: zebra: unknown key"},
        Row{"cache.entry: 1", "pool.yaml:1: cache.entry: unknown key (`entry` belongs below "
                              "`cache`)"},
        Row{"policies:\n  functions.create: ff\n",
            "pool.yaml:2: policies.functions.create: unknown key (`create` belongs below "
            "`policies.functions`)"},
        Row{"no.such: 1", "pool.yaml:1: no.such: unknown key"},
        Row{"\"\": {version: 1}", "pool.yaml:1: unknown key (the key is empty)"},
        Row{"&all\n\"\": *all\n", "pool.yaml:2: unknown key (the key is empty)"},
        Row{"cache:\n  entry: 1\n  entry: 2\n",
            "pool.yaml:3: cache.entry: the key is given twice (first on line 2)"},
        Row{"cache:\n  entry: [1]\n",
            "pool.yaml:2: cache.entry: is a list (it must be a single value)"},
        Row{"cache:\n  entry:\n",
            "pool.yaml:2: cache.entry: has no value (give one or remove the key)"},
        Row{"cache: 5", "pool.yaml:1: cache: is a single value (it must be a mapping of keys)"},
        Row{"\n\nmin_free_space: lots", "pool.yaml:3: min_free_space: `lots` is not a size (a "
                                        "number with B, K, M, G, T or P, such as 10G)"},
        Row{"posix_acl: 2",
            "pool.yaml:1: posix_acl: `2` is neither true nor false (write true or false)"},
        Row{"passthrough: ro", "pool.yaml:1: passthrough: passthrough for `ro` alone is refused "
                               "(a file opened both ways would fail: write on or off)"},
        Row{"branches: 1: 2", "pool.yaml:1: not valid YAML: illegal map value"},
        Row{"branches: {a: b}",
            "pool.yaml:1: branches: is a mapping (it must be a list of branches)"},
        Row{"branches:\n  - /a\n  - [b]\n",
            "pool.yaml:3: branches[1]: is a list (it must be a single value)"},
        Row{"branches:\n  - path: /a\n    mdoe: ro\n",
            "pool.yaml:3: branches[0].mdoe: unknown key (did you mean `mode`?)"},
        Row{"branches:\n  - mode: ro\n", "pool.yaml:2: branches[0]: has neither `path` nor `glob`"},
        Row{"branches:\n  - path: /a\n    glob: /b\n",
            "pool.yaml:2: branches[0]: has both `path` and `glob` (keep one of them)"},
        Row{"branches:\n  - path: /a\n    mode: rx\n",
            "pool.yaml:3: branches[0].mode: `rx` is not a branch mode (rw, nc or ro)"},
        Row{"branches: [\"\"]", "pool.yaml:1: branches[0]: a branch without a path (branches are "
                                "PATH[=MODE[,MINFREE]] joined by `:`)"},
        Row{"mountpoint: \"\\0\"", "pool.yaml:1: mountpoint: a path cannot hold a NUL byte"},
        Row{"version: 2",
            "pool.yaml:1: version: version `2` is not known (this plyfs reads version 1)"},
        Row{"[a, b]",
            "pool.yaml:1: the document is a list (it must be a mapping with a key `branches`)"},
        Row{"? [a]\n: b\n", "pool.yaml:1: a key is a list (keys are plain words)"},
        Row{"a: 1\n---\nb: 2\n",
            "pool.yaml: the file goes on after its first document (keep one document)"});
    CAPTURE(row.text);
    CHECK(errors_of(row.text) == row.error);
}

TEST_CASE("all errors of a file are reported, up to a limit", "[config]") {
    Draft draft;
    CHECK(read_yaml("locks: x\nposix_acl: y\n", "f", "/", draft).size() == 2);
    std::string many;
    for (int i = 0; i < 1000; ++i) many += "key" + std::to_string(i) + ": 1\n";
    CHECK(read_yaml(many, "f", "/", draft).size() == 20);
}

TEST_CASE("a branch may have its work directory apart", "[config]") {
    Draft draft;
    const auto errors =
        read_yaml("branches: [{path: a, work: b}, {path: c, work: ''}]", "x.yaml", "/etc", draft);
    CHECK(test::text_of(errors) == "x.yaml:1: branches[1].work: is an empty path");
    REQUIRE(draft.branches.size() == 2);
    CHECK(draft.branches[0].work_directory == "b");
}

TEST_CASE("aliases cannot multiply the work", "[config]") {
    std::string text = "a0: &a0 [x, x]\n";
    for (int i = 1; i < 60; ++i)
        text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" +
                std::to_string(i - 1) + ", *a" + std::to_string(i - 1) + "]\n";
    CHECK(errors_of(text + "branches: *a59\n").starts_with("pool.yaml:1: a0: unknown key"));
    CHECK_FALSE(errors_of("branches: &b [*b]\n").empty());
}

TEST_CASE("deep nesting is an error, not a stack overflow", "[config]") {
    const char open = GENERATE('[', '{');
    CHECK_FALSE(errors_of("branches: " + std::string(200'000, open)).empty());
}

TEST_CASE("stray punctuation is an error, not an endless loop", "[config]") {
    const auto* const text = GENERATE(",", "]", "branches: [/a]\n---\n,", "--- }");
    CAPTURE(text);
    CHECK_FALSE(errors_of(text).empty());
}

TEST_CASE("a file that is too large or not a file is refused", "[config]") {
    const Scratch scratch;
    Draft draft;
    const auto read = [&](const std::string& path) {
        return test::text_of(read_yaml_file(path, "f.yaml", draft));
    };
    CHECK(read(scratch.file("large.yaml", std::string(kLargestFile + 1, '#'))) ==
          "f.yaml: the file is larger than 1 MiB (is it a plyfs configuration?)");
    std::string fits;
    while (fits.size() < kLargestFile) fits += std::string(1023, '#') + '\n';
    CHECK(read(scratch.file("fits.yaml", fits)).empty());
    CHECK(read(scratch.file("line.yaml", std::string(std::size_t{64} << 10, '#'))).empty());
    CHECK(read(scratch.file("line.yaml", std::string((std::size_t{64} << 10) + 1, '#'))) ==
          "f.yaml: a line is longer than 64 KiB (is it a plyfs configuration?)");
    CHECK(read(scratch.directory("d.yaml")) == "f.yaml: is not a regular file");
    CHECK(read(scratch / "none.yaml") == "f.yaml: No such file or directory");
}
