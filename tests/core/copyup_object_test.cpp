// SPDX-License-Identifier: GPL-2.0-or-later
//
// Objects of every type and all that belongs to them, copied up on each file system.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>
#include <functional>

#include "core/copied.h"
#include "core/driven_union.h"
#include "core/host_files.h"
#include "sys/statx.h"

namespace plyfs::test {
namespace {

using copyup::CopiedObject;
using copyup::CopyOptions;

FileSystemKind any_kind() {
    return GENERATE(FileSystemKind::Tmpfs, FileSystemKind::Ext4, FileSystemKind::Xfs,
                    FileSystemKind::Btrfs);
}

Attributes look(const std::string& path) {
    const UniqueFd object(::open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
    REQUIRE(object);
    return sys::stat_descriptor(object.get()).value();
}

bool same(const Attributes& left, const Attributes& right) {
    return left.real == right.real && left.mode == right.mode && left.links == right.links &&
           left.uid == right.uid && left.gid == right.gid && left.size == right.size &&
           left.blocks == right.blocks && left.access_time == right.access_time &&
           left.modification_time == right.modification_time &&
           left.change_time == right.change_time;
}

void check_metadata(const CopyPlace& place, const std::string& name, const std::string& copy) {
    const Attributes source = look(place.lower(name));
    const Attributes made = look(place.work(copy));
    CHECK(made.mode == source.mode);
    CHECK(made.uid == source.uid);
    CHECK(made.gid == source.gid);
    CHECK(made.device_number == source.device_number);
    CHECK(made.access_time == source.access_time);
    CHECK(made.modification_time == source.modification_time);
    CHECK(xattrs_of(place.work(copy)) == xattrs_of(place.lower(name)));
}

void set(const std::string& path, const char* name, const std::string& value) {
    INFO(path << " " << name);
    REQUIRE(::lsetxattr(path.c_str(), name, value.data(), value.size(), 0) == 0);
}

// Times that no copy has by itself.
void set_times(const std::string& path) {
    const timespec times[2] = {{1234567890, 123456789}, {987654321, 987654321}};
    REQUIRE(::utimensat(AT_FDCWD, path.c_str(), times, AT_SYMLINK_NOFOLLOW) == 0);
}

void make_socket(const std::string& path) {
    const UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof address.sun_path);
    path.copy(address.sun_path, path.size());
    REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
}

struct Special {
    const char* name;
    std::function<void(const std::string&)> make;
};

std::vector<Special> specials() {
    const auto node = [](mode_t type, dev_t device) {
        return [type, device](const std::string& path) {
            REQUIRE(::mknod(path.c_str(), type | 0600, device) == 0);
        };
    };
    return {
        {"empty", [](const std::string& path) { host_write(path, ""); }},
        {"directory", [](const std::string& path) { REQUIRE(::mkdir(path.c_str(), 0700) == 0); }},
        {"character", node(S_IFCHR, makedev(1, 7))},
        {"block", node(S_IFBLK, makedev(7, 99))},
        {"fifo", node(S_IFIFO, 0)},
        {"socket", make_socket},
        {"symlink",
         [](const std::string& path) { REQUIRE(::symlink("to/nowhere", path.c_str()) == 0); }},
    };
}

std::uint32_t flags_of(const std::string& path) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    int flags = 0;
    REQUIRE(::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) == 0);
    return static_cast<std::uint32_t>(flags);
}

bool set_flags(const std::string& path, std::uint32_t flags) {
    const UniqueFd file(::open(path.c_str(), O_RDONLY | O_NOATIME | O_CLOEXEC));
    int value = static_cast<int>(flags);
    return ::ioctl(file.get(), FS_IOC_SETFLAGS, &value) == 0;
}

}  // namespace

TEST_CASE("copying up keeps every type of object with its owner, mode, xattrs and times",
          "[copyup]") {
    const FileSystemKind kind = any_kind();
    INFO(name_of(kind));
    const ScratchFileSystem system(kind, 64 * kMebi);
    const CopyPlace place(system.path());
    for (const Special& special : specials()) {
        INFO(special.name);
        const std::string path = place.lower(special.name);
        special.make(path);
        REQUIRE(::lchown(path.c_str(), 1234, 5678) == 0);
        const bool symlink = std::string_view(special.name) == "symlink";
        if (!symlink) {
            set(path, "system.posix_acl_access", acl_bytes());
            host_chmod(path, 07570);
        }
        set(path, "trusted.mark", std::string("\0\1x", 3));
        set_times(path);
        const Attributes before = look(path);
        const auto copied = place.copy(special.name, special.name);
        REQUIRE(code(copied) == 0);
        CHECK(same(look(path), before));
        CHECK(same(copied->source, before));
        check_metadata(place, special.name, special.name);
        CHECK(same(copied->attributes, look(place.work(special.name))));
        CHECK(copied->data.origin == copyup::DataOrigin::None);
        if (symlink) {
            CHECK(std::filesystem::read_symlink(place.work("symlink")) == "to/nowhere");
        }
    }
}

TEST_CASE("copying up keeps SUID, capabilities and ACLs of a file and leaves its source alone",
          "[copyup]") {
    const FileSystemKind kind = any_kind();
    INFO(name_of(kind));
    const ScratchFileSystem system(kind, 64 * kMebi);
    const CopyPlace place(system.path());
    const std::string path = place.lower("file");
    put(path, 0, 300000);
    REQUIRE(::chown(path.c_str(), 1234, 5678) == 0);
    set(path, "user.text", "text");
    set(path, "user.empty", "");
    set(path, "user.long", std::string(500, 'l'));
    set(path, "trusted.secret", "secret");
    set(path, "security.capability", capability_bytes());
    set(path, "system.posix_acl_access", acl_bytes());
    host_chmod(path, 06775);
    set_times(path);
    const Attributes before = look(path);
    const auto xattrs = xattrs_of(path);
    CHECK(xattrs.size() >= 6);

    CopyOptions options;
    options.durable = GENERATE(false, true);
    const auto copied = place.copy("file", "copy", options);
    REQUIRE(code(copied) == 0);
    CHECK(same(look(path), before));
    check_metadata(place, "file", "copy");
    CHECK((copied->attributes.mode & 07777) == 06775);
    CHECK(bytes_of(place.work("copy")) == bytes_of(path));
    CHECK((::fcntl(copied->descriptor.get(), F_GETFL) & O_ACCMODE) == O_RDWR);

    options.xattrs.leave_out = [](std::string_view name) { return name.starts_with("trusted."); };
    REQUIRE(code(place.copy("file", "less", options)) == 0);
    CHECK(xattrs_of(place.work("less")).size() == xattrs.size() - 1);
    CHECK(xattrs_of(path) == xattrs);
}

TEST_CASE("copying up changes nothing of its source, not even the access time", "[copyup]") {
    const ScratchFileSystem system(FileSystemKind::Ext4, 64 * kMebi);
    const CopyPlace place(system.path());
    put(place.lower("file"), 0, 100000);
    set_times(place.lower("file"));  // so old that a read would move it
    const Attributes before = look(place.lower("file"));
    SECTION("through a mount that would let it be changed") {
        const int flags = GENERATE(O_PATH, O_RDONLY, O_RDWR, O_RDONLY | O_NOATIME);
        const UniqueFd source(::open(place.lower("file").c_str(), flags | O_CLOEXEC));
        const auto name = std::string("copy");
        REQUIRE(code(copyup::copy_object(source.get(), place.work_descriptor(),
                                         Name::from(name).value(), CopyPlace::quick())) == 0);
    }
    SECTION("through a read-only clone") {
        REQUIRE(code(place.copy("file")) == 0);
    }
    CHECK(same(look(place.lower("file")), before));
}

TEST_CASE("a copy without data has the size that was asked for and no blocks", "[copyup]") {
    const ScratchFileSystem system(any_kind(), 64 * kMebi);
    const CopyPlace place(system.path());
    put(place.lower("file"), 0, 100000);
    set(place.lower("file"), "trusted.mark", "m");
    set_times(place.lower("file"));
    CopyOptions options;
    options.size_without_data = GENERATE(std::uint64_t{0}, std::uint64_t{100000});
    const auto copied = place.copy("file", "copy", options);
    REQUIRE(code(copied) == 0);
    CHECK(copied->attributes.size == options.size_without_data);
    CHECK(data_map(place.work("copy")).empty());
    CHECK(copied->data.origin == copyup::DataOrigin::None);
    check_metadata(place, "file", "copy");
}

TEST_CASE("copying up keeps inode flags and reports those that protect", "[copyup]") {
    const FileSystemKind kind = any_kind();
    INFO(name_of(kind));
    const ScratchFileSystem system(kind, 64 * kMebi);
    const CopyPlace place(system.path());
    const bool directory = GENERATE(false, true);
    const std::string path = place.lower("object");
    if (directory) {
        REQUIRE(::mkdir(path.c_str(), 0755) == 0);
    } else {
        put(path, 0, 5000);
    }
    const std::uint32_t own = flags_of(path);
    // tmpfs knows no sync.
    const std::uint32_t kept = FS_NOATIME_FL | FS_NODUMP_FL |
                               (kind == FileSystemKind::Tmpfs ? 0U : std::uint32_t{FS_SYNC_FL});
    set_times(path);
    if (!set_flags(path, own | kept | FS_APPEND_FL)) SKIP("no right to set inode flags");
    const auto copied = place.copy("object");
    REQUIRE(code(copied) == 0);
    CHECK(copied->protecting_flags == FS_APPEND_FL);
    CHECK((flags_of(place.work("copy")) & (kept | FS_APPEND_FL)) == kept);
    check_metadata(place, "object", "copy");
    REQUIRE(set_flags(path, own));
}

TEST_CASE("an attribute that the target does not know is left out or fails the copy", "[copyup]") {
    const ScratchFileSystem lower(FileSystemKind::Btrfs, 128 * kMebi);
    const ScratchFileSystem upper(FileSystemKind::Ext4, 16 * kMebi);
    const CopyPlace place(lower.path(), upper.path());
    put(place.lower("file"), 0, 5000);
    // btrfs shows this property as an attribute, which ext4 refuses.
    set(place.lower("file"), "btrfs.compression", "zstd");
    set(place.lower("file"), "user.kept", "k");
    REQUIRE(code(place.copy("file")) == 0);
    CHECK(xattrs_of(place.work("copy")) == std::map<std::string, std::string>{{"user.kept", "k"}});
    // More than one block of attributes is ENOSPC on this ext4.
    set(place.lower("file"), "user.long", std::string(8000, 'l'));
    CHECK(code(place.copy("file", "other")) == ENOSPC);
    CHECK(place.left() == 1);
}

TEST_CASE("an existing name is not touched by a failed copy", "[copyup]") {
    const ScratchDirectory scratch;
    const CopyPlace place(scratch.path());
    host_write(place.lower("file"), "new");
    REQUIRE(::mkdir(place.lower("directory").c_str(), 0700) == 0);
    host_write(place.work("copy"), "old");
    CHECK(code(place.copy("file")) == EEXIST);
    CHECK(code(place.copy("directory")) == EEXIST);
    CHECK(bytes_of(place.work("copy")) == "old");
}

}  // namespace plyfs::test
