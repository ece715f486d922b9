// SPDX-License-Identifier: GPL-2.0-or-later
//
// Append-only and immutable files of read-only branches: what is refused, that nothing is copied
// then, and that a copy keeps the flags in its mark.
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"
#include "sys/data.h"
#include "sys/open.h"

namespace plyfs::test {
namespace {

constexpr char kProtectionMark[] = "trusted.overlay.protattr";

std::uint32_t real_flags(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return sys::inode_flags(file.get()).value_or(0) & (FS_APPEND_FL | FS_IMMUTABLE_FL);
}

bool set_real_flags(const std::string& path, std::uint32_t flags) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    return sys::set_inode_flags(file.get(), flags).has_value();
}

std::string mark(const std::string& path) {
    std::array<char, 8> value{};
    const ssize_t size = ::lgetxattr(path.c_str(), kProtectionMark, value.data(), value.size());
    return size < 0 ? "" : std::string(value.data(), static_cast<std::size_t>(size));
}

// `file` and `dir` of the read-only branch have `flags`.
struct ProtectedLayers {
    explicit ProtectedLayers(std::uint32_t flags) {
        lower = u.host(1);
        std::filesystem::create_directories(lower + "/dir/inner");
        for (const char* const name : {"/file", "/dir/child", "/other"}) {
            host_write(lower + name, "lower");
        }
        REQUIRE(::setxattr((lower + "/file").c_str(), "user.y", "1", 1, 0) == 0);
        if (!set_real_flags(lower + "/file", flags) || !set_real_flags(lower + "/dir", flags)) {
            SKIP("the file system has no inode flags");
        }
        before = tree_state(lower);
    }
    ~ProtectedLayers() {
        CHECK(tree_state(lower) == before);
        for (const char* const name : {"/file", "/dir"}) {
            CHECK(set_real_flags(lower + name, 0));
        }
    }
    ProtectedLayers(const ProtectedLayers&) = delete;
    ProtectedLayers& operator=(const ProtectedLayers&) = delete;

    bool nothing_copied() const { return std::filesystem::is_empty(u.host(0)); }

    int open(const std::string& path, int flags) {
        const auto opened = u.open(path, flags);
        if (opened) u.verbs().release(opened->handle);
        return code(opened);
    }
    std::uint32_t flags(const std::string& path) {
        const auto entry = u.look(path);
        REQUIRE(entry.has_value());
        const bool directory = S_ISDIR(entry->attributes.mode);
        const auto opened = directory ? Result<OpenedFile>(OpenedFile{}) : u.open(path, O_RDONLY);
        const auto found =
            u.verbs().inode_flags(entry->node, opened->handle, InodeFlags::Form::Word);
        if (!directory) u.verbs().release(opened->handle);
        REQUIRE(found.has_value());
        return format::flags_of(found->protection());
    }
    int set_flags(const std::string& path, const format::Protection& protection) {
        const auto entry = u.look(path);
        const bool directory = S_ISDIR(entry->attributes.mode);
        const auto opened = directory ? Result<OpenedFile>(OpenedFile{}) : u.open(path, O_RDONLY);
        auto flags = u.verbs().inode_flags(entry->node, opened->handle, InodeFlags::Form::Word);
        REQUIRE(flags.has_value());
        flags->set_protection(protection);
        const auto set =
            u.verbs().set_inode_flags(u.request(), entry->node, opened->handle, *flags);
        if (!directory) u.verbs().release(opened->handle);
        return code(set);
    }

    DrivenUnion u{{kRw, kRo}};
    std::string lower;
    std::string before;
};

AttributeChange times(const timespec& access, const timespec& modification) {
    AttributeChange change;
    change.access_time = access;
    change.modification_time = modification;
    return change;
}

constexpr timespec kNow{0, UTIME_NOW};

}  // namespace

TEST_CASE("nothing changes an immutable lower file, and nothing is copied",
          "[layers][protection]") {
    ProtectedLayers layers(GENERATE(FS_IMMUTABLE_FL, FS_APPEND_FL));
    DrivenUnion& u = layers.u;
    AttributeChange owner;
    owner.uid = 1;
    AttributeChange size;
    size.size = GENERATE(0, 1, 9);
    CHECK(u.chmod("file", 0600) == EPERM);
    CHECK(u.change("file", owner) == EPERM);
    CHECK(u.change("file", size) == EPERM);
    CHECK(u.change("file", times({1, 0}, {2, 0})) == EPERM);
    CHECK(u.change("file", times({1, UTIME_OMIT}, kNow)) == EPERM);
    CHECK(u.set_xattr("file", "user.x", "1") == EPERM);
    CHECK(u.remove_xattr("file", "user.y") == EPERM);
    for (const int how : {O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_WRONLY | O_APPEND | O_TRUNC}) {
        INFO(how);
        CHECK(layers.open("file", how) == EPERM);
    }
    CHECK(u.unlink("file") == EPERM);
    CHECK(u.link("file", "new") == EPERM);
    CHECK(u.rename("file", "new") == EPERM);
    CHECK(u.rename("dir", "new") == EPERM);
    CHECK(u.rmdir("dir") == EPERM);
    CHECK(u.rename("dir/child", "new") == EPERM);
    CHECK(u.unlink("dir/child") == EPERM);
    CHECK(u.rmdir("dir/inner") == EPERM);
    CHECK(layers.nothing_copied());
    CHECK(u.rename("other", "file") == EPERM);
    CHECK(u.rename("other", "file", RENAME_EXCHANGE) == EPERM);
    CHECK(*u.read("file") == "lower");
}

TEST_CASE("nothing is made in an immutable lower directory", "[layers][protection]") {
    ProtectedLayers layers(FS_IMMUTABLE_FL);
    DrivenUnion& u = layers.u;
    CHECK(u.mkdir("dir/new") == EPERM);
    CHECK(u.mknod("dir/new", S_IFIFO | 0600) == EPERM);
    CHECK(u.symlink("target", "dir/new") == EPERM);
    CHECK(u.link("other", "dir/new") == EPERM);
    CHECK(code(u.create("dir/new")) == EPERM);
    CHECK(code(u.tmpfile("dir")) == EPERM);
    CHECK(u.change("file", times(kNow, kNow)) == EPERM);
    CHECK(layers.open("file", O_WRONLY | O_APPEND) == EPERM);
    CHECK(layers.nothing_copied());
    CHECK(u.rename("other", "dir/new") == EPERM);
    SECTION("but what is in it changes") {
        REQUIRE(u.write("dir/child", "new") == 0);
        CHECK(*u.read("dir/child") == "new");
        CHECK(mark(u.host(0, "dir")) == "i");
        CHECK(real_flags(u.host(0, "dir")) == 0);
        u.remount();
        CHECK(layers.flags("dir") == FS_IMMUTABLE_FL);
        CHECK(u.mkdir("dir/new") == EPERM);
        CHECK(u.unlink("dir/child") == EPERM);
        CHECK(u.rmdir("dir") == EPERM);
    }
}

TEST_CASE("an append-only lower file is appended to, and its copy is append-only",
          "[layers][protection]") {
    ProtectedLayers layers(FS_APPEND_FL);
    DrivenUnion& u = layers.u;
    CHECK(layers.flags("file") == FS_APPEND_FL);
    if (GENERATE(false, true)) {
        REQUIRE(u.change("file", times(kNow, kNow)) == 0);
    } else {
        REQUIRE(layers.open("file", GENERATE(O_WRONLY, O_RDWR) | O_APPEND) == 0);
    }
    CHECK(mark(u.host(0, "file")) == "a");
    CHECK(real_flags(u.host(0, "file")) == 0);
    if (GENERATE(false, true)) u.remount();
    CHECK(layers.flags("file") == FS_APPEND_FL);
    CHECK(layers.open("file", O_WRONLY) == EPERM);
    CHECK(layers.open("file", O_WRONLY | O_APPEND) == 0);
    CHECK(u.chmod("file", 0600) == EPERM);
    CHECK(u.unlink("file") == EPERM);
    CHECK(u.rename("file", "new") == EPERM);
    CHECK(u.mkdir("dir/new") == 0);
    CHECK(mark(u.host(0, "dir")) == "a");
    CHECK(u.rmdir("dir/new") == EPERM);
    CHECK(u.rename("other", "dir/other") == 0);
    CHECK(u.rename("dir/other", "other") == EPERM);
}

TEST_CASE("room is made in an append-only file, no holes", "[layers][protection]") {
    ProtectedLayers layers(FS_APPEND_FL);
    const auto file = layers.u.open("file", O_WRONLY | O_APPEND);
    REQUIRE(file.has_value());
    const auto check = [&](int mode) {
        return code(layers.u.verbs().check_allocate(*file->file, mode));
    };
    CHECK(check(0) == 0);
    CHECK(check(FALLOC_FL_KEEP_SIZE) == 0);
    CHECK(check(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE) == EPERM);
    layers.u.verbs().release(file->handle);
}

TEST_CASE("the flags of lower objects are taken away and given back", "[layers][protection]") {
    ProtectedLayers layers(FS_IMMUTABLE_FL);
    DrivenUnion& u = layers.u;
    const std::string name = GENERATE("file", "dir");
    CHECK(layers.flags(name) == FS_IMMUTABLE_FL);
    REQUIRE(layers.set_flags(name, {}) == 0);
    CHECK(layers.flags(name) == 0);
    CHECK(mark(u.host(0, name)).empty());
    REQUIRE(u.chmod(name, 0700) == 0);
    REQUIRE(layers.set_flags(name, {.append = true, .immutable = true}) == 0);
    CHECK(mark(u.host(0, name)) == "ai");
    CHECK(real_flags(u.host(0, name)) == 0);
    CHECK(u.chmod(name, 0755) == EPERM);
    u.remount();
    CHECK(layers.flags(name) == (FS_APPEND_FL | FS_IMMUTABLE_FL));
    CHECK(u.chmod(name, 0755) == EPERM);
    REQUIRE(layers.set_flags(name, {}) == 0);
    CHECK(u.rename(name, "new") == 0);
}

TEST_CASE("real flags of a copy become a mark when they are set", "[layers][protection]") {
    DrivenUnion u({kRw, kRo});
    host_write(u.host(0, "file"), "upper");
    const std::string path = u.host(0, "file");
    if (!set_real_flags(path, FS_APPEND_FL)) SKIP("the file system has no inode flags");
    CHECK(u.unlink("file") == EPERM);
    const auto node = u.look("file")->node;
    const auto file = u.open("file", O_RDONLY);
    auto flags = u.verbs().inode_flags(node, file->handle, InodeFlags::Form::Word);
    CHECK(flags->protection() == format::Protection{.append = true});
    flags->set_protection({.immutable = true});
    REQUIRE(u.verbs().set_inode_flags(u.request(), node, file->handle, *flags).has_value());
    u.verbs().release(file->handle);
    CHECK(real_flags(path) == 0);
    CHECK(mark(path) == "i");
    CHECK(u.unlink("file") == EPERM);
}

TEST_CASE("without layers the branch has the flags itself", "[protection]") {
    DrivenUnion u({kRw});
    host_write(u.host(0, "file"), "upper");
    const auto node = u.look("file")->node;
    const auto file = u.open("file", O_RDONLY);
    auto flags = u.verbs().inode_flags(node, file->handle, InodeFlags::Form::Extended);
    if (!flags) SKIP("the file system has no inode flags");
    flags->set_protection({.immutable = true});
    REQUIRE(u.verbs().set_inode_flags(u.request(), node, file->handle, *flags).has_value());
    u.verbs().release(file->handle);
    CHECK(real_flags(u.host(0, "file")) == FS_IMMUTABLE_FL);
    CHECK(u.unlink("file") == EPERM);
    CHECK(set_real_flags(u.host(0, "file"), 0));
}

TEST_CASE("a directory that goes to a further branch keeps its flags", "[layers][protection]") {
    DrivenUnion u({kRw, kRw, kRo}, policies());
    std::filesystem::create_directories(u.host(2, "dir"));
    host_write(u.host(2, "dir/child"), "lower");
    const std::string lower = u.host(2, "dir");
    if (!set_real_flags(lower, FS_APPEND_FL)) SKIP("the file system has no inode flags");
    REQUIRE(u.write("dir/child", "new") == 0);
    CHECK(mark(u.host(0, "dir")) == "a");
    u.remount([](UnionOptions& options) {
        options.policies.functions[config::Function::Mkdir] = config::Policy::All;
    });
    REQUIRE(u.mkdir("dir/new") == 0);
    CHECK(mark(u.host(1, "dir")) == "a");
    CHECK(set_real_flags(lower, 0));
}

}  // namespace plyfs::test
