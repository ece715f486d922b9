// SPDX-License-Identifier: GPL-2.0-or-later
//
// Files that are not to be passed through, and how deep branches may be stacked; whose files are
// passed through, and to whom.
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/mapping.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

class Overlay {
public:
    explicit Overlay(const std::string& options) : path_(make_scratch_directory()) {
        const Ran ran = run({"mount", "-t", "overlay", "overlay", "-o", options, path_});
        INFO(ran.output);
        REQUIRE(ran.status == 0);
    }
    Overlay(const Overlay&) = delete;
    Overlay& operator=(const Overlay&) = delete;
    ~Overlay() { CHECK(run({"umount", path_}).status == 0); }
    const std::string& path() const { return path_; }

private:
    std::string path_;
};

// Files are written and read, by several.
void work_in(const Mount& mount) {
    put(mount.path("file"), std::string(kMebi, 'x'));
    CHECK((content(mount.path("file")) == std::string(kMebi, 'x')));
    const UniqueFd writer = open_file(mount.path("file"), O_RDWR);
    const UniqueFd reader = open_file(mount.path("file"), O_RDONLY);
    REQUIRE(write_all(writer.get(), "changed") == kOk);
    CHECK(content(reader.get()).starts_with("changed"));
    const Mapping mapping(writer.get(), kMebi, PROT_READ | PROT_WRITE);
    REQUIRE(mapping.valid());
    mapping.bytes()[0] = 'C';
    CHECK(content(reader.get()).starts_with("Changed"));
}

bool passes(const Mount& mount) {
    return mount.requests().count({"READ", "WRITE"}) == 0;
}

TEST_CASE("a branch on overlayfs is passed through", "[passthrough][fallback]") {
    require_sandbox();
    const Branches layers{Ext4};
    for (const char* name : {"lower", "upper", "work"}) make_directory(layers.path(0, name));
    const Overlay overlay("lowerdir=" + layers.path(0, "lower") + ",upperdir=" +
                          layers.path(0, "upper") + ",workdir=" + layers.path(0, "work"));
    SECTION("by default") {
        const Mount mount(overlay.path(), "", kLogging);
        work_in(mount);
        CHECK(passes(mount));
    }
    SECTION("not where plyfs is to be a layer itself") {
        const Mount mount(overlay.path(), "passthrough.max-stack-depth=1", kLogging);
        work_in(mount);
        CHECK_FALSE(passes(mount));
    }
}

TEST_CASE("plyfs on plyfs is passed through, and on that again works",
          "[passthrough][fallback][nested]") {
    const Branches branches{Ext4};
    const Mount inner(branches[0], "", kLogging);
    const Mount middle(inner.path(), "", kLogging);
    work_in(middle);
    CHECK(passes(middle));
    CHECK(passes(inner));
    const Mount outer(middle.path(), "", kLogging);
    work_in(outer);
    CHECK_FALSE(passes(outer));
}

TEST_CASE("plyfs is a layer of an overlay", "[passthrough][fallback]") {
    const Branches branches{Ext4, Ext4};
    for (const char* name : {"upper", "work"}) make_directory(branches.path(1, name));
    const Mount mount(branches[0], "", kLogging);
    put(mount.path("file"), std::string(kMebi, 'x'));
    {
        const Overlay overlay("lowerdir=" + mount.path() + ",upperdir=" +
                              branches.path(1, "upper") + ",workdir=" + branches.path(1, "work"));
        CHECK((content(overlay.path() + "/file") == std::string(kMebi, 'x')));
    }
    CHECK(passes(mount));
}

TEST_CASE("append-only files are appended to and nothing else", "[passthrough][fallback]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("log");
    put(path, "first");
    const UniqueFd early = open_file(path, O_RDONLY);
    const bool open_before = GENERATE(false, true);
    UniqueFd before;
    if (open_before) before = open_file(path, O_RDONLY);
    REQUIRE(run({"chattr", "+a", united.branches.path(0, "log")}).status == 0);
    const UniqueFd writer = open_file(path, O_WRONLY | O_APPEND);
    const UniqueFd other = open_file(path, O_RDWR | O_APPEND);
    REQUIRE(outcome(writer.get()) == kOk);
    REQUIRE(outcome(other.get()) == kOk);
    CHECK(write_all(writer.get(), " second") == kOk);
    CHECK(write_all(other.get(), " third") == kOk);
    CHECK(::pwrite(writer.get(), " fourth", 7, 0) == 7);
    CHECK(content(other.get()) == "first second third fourth");
    CHECK(content(early.get()) == "first second third fourth");
    CHECK(content(path) == "first second third fourth");
    CHECK(status(path).st_size == 25);

    CHECK(try_open(path, O_WRONLY) == EPERM);
    CHECK(try_open(path, O_RDWR) == EPERM);
    CHECK(try_open(path, O_WRONLY | O_APPEND | O_TRUNC) == EPERM);
    CHECK(outcome(::truncate(path.c_str(), 0)) == EPERM);
    CHECK(outcome(::ftruncate(other.get(), 0)) == EPERM);
    CHECK_FALSE(
        outcome(::fallocate(other.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 5)).ok());
    CHECK(outcome(::unlink(path.c_str())) == EPERM);
    CHECK(content(path).starts_with("first second third fourth"));
}

TEST_CASE("what is written to append-only files goes to the end by any means",
          "[passthrough][fallback]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("log");
    put(path, std::string(8192, '1'));
    REQUIRE(run({"chattr", "+a", united.branches.path(0, "log")}).status == 0);
    // Whoever reads it meanwhile.
    const bool has_reader = GENERATE(false, true);
    CAPTURE(has_reader);
    const UniqueFd reader(has_reader ? open_file(path, O_RDONLY).release() : -1);
    const UniqueFd file = open_file(path, O_RDWR | O_APPEND);
    REQUIRE(outcome(file.get()) == kOk);
    if (::fcntl(file.get(), F_SETFL, 0) == 0) {
        (void)::pwrite(file.get(), "2", 1, 0);
        CHECK(content(path).starts_with("1"));
    }
    CHECK_FALSE(Mapping(file.get(), 4096, PROT_READ | PROT_WRITE).valid());
    CHECK(content(path).starts_with("1"));
    CHECK(content(united.branches.path(0, "log")).starts_with("1"));
}

TEST_CASE("immutable files are read", "[passthrough][fallback]") {
    const Union united({Ext4}, GENERATE("", "passthrough.io=off"));
    const std::string path = united.path("file");
    put(path, "content");
    REQUIRE(run({"chattr", "+i", united.branches.path(0, "file")}).status == 0);
    CHECK(content(path) == "content");
    const UniqueFd reader = open_file(path, O_RDONLY);
    for (const int flags : {O_WRONLY, O_RDWR, O_WRONLY | O_APPEND, O_RDWR | O_TRUNC})
        CHECK(try_open(path, flags) == EPERM);
    CHECK(outcome(::truncate(path.c_str(), 0)) == EPERM);
    CHECK(outcome(::unlink(path.c_str())) == EPERM);
    CHECK(content(reader.get()) == "content");
}

TEST_CASE("who may not open a file does not, whoever has it open", "[passthrough][permissions]") {
    const Stacking stacking = GENERATE(from_range(stackings()));
    UNSCOPED_INFO(stacking.name);
    const Layered layered(
        stacking,
        [](const std::string& lower) {
            put(lower + "/file", "open");
            put(lower + "/closed", "closed");
            REQUIRE(::chmod((lower + "/closed").c_str(), 0600) == 0);
        },
        "cache.entry=100,cache.attr=100");
    const std::string path = layered.path("file");
    const std::string closed = layered.path("closed");
    const auto refused = [&](const std::string& name) {
        for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR})
            CHECK(as_user(kAlice, [&] { return try_open(name, flags); }) == EACCES);
    };
    refused(closed);
    const UniqueFd roots = open_file(closed, O_RDONLY);
    refused(closed);
    const UniqueFd written = open_file(closed, O_RDWR);
    refused(closed);
    REQUIRE(write_all(written.get(), "secret") == kOk);
    refused(closed);

    // Alice keeps hold of a file that she may not open any more.
    const UniqueFd object = open_file(path, O_PATH);
    UniqueFd reader = open_file(path, O_RDONLY);
    const std::string held = "/proc/self/fd/" + std::to_string(object.get());
    CHECK(as_user(kAlice, [&] { return try_open(path, O_RDONLY); }) == kOk);
    const bool writes = GENERATE(false, true);
    if (writes) put(path, "secret");
    REQUIRE(outcome(::chmod(path.c_str(), 0600)) == kOk);
    refused(path);
    refused(held);
    reader.reset();
    refused(path);
    refused(held);
    CHECK(layered.lower_changes() == "");
}

}  // namespace
}  // namespace plyfs::test
