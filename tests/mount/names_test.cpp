// SPDX-License-Identifier: GPL-2.0-or-later
//
// Making, linking and removing names.
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <climits>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

std::string link_target(const std::string& path) {
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlink(path.c_str(), target.data(), target.size());
    REQUIRE(outcome(size) == kOk);
    target.resize(static_cast<std::size_t>(size));
    return target;
}

TEST_CASE("objects of every type are made, seen and removed", "[names]") {
    const Union united(any_layout());
    const std::string path = united.path("object");
    mode_t type = 0;
    dev_t device = 0;
    SECTION("file by create") {
        REQUIRE(try_open(path, O_WRONLY | O_CREAT | O_EXCL, 0640) == kOk);
        type = S_IFREG;
    }
    SECTION("file by mknod") {
        REQUIRE(outcome(::mknod(path.c_str(), S_IFREG | 0640, 0)) == kOk);
        type = S_IFREG;
    }
    SECTION("fifo") {
        REQUIRE(outcome(::mkfifo(path.c_str(), 0640)) == kOk);
        type = S_IFIFO;
    }
    SECTION("socket") {
        REQUIRE(outcome(::mknod(path.c_str(), S_IFSOCK | 0640, 0)) == kOk);
        type = S_IFSOCK;
    }
    SECTION("character device") {
        device = makedev(1, 3);
        REQUIRE(outcome(::mknod(path.c_str(), S_IFCHR | 0640, device)) == kOk);
        type = S_IFCHR;
    }
    SECTION("block device") {
        device = makedev(259, 70'000);
        REQUIRE(outcome(::mknod(path.c_str(), S_IFBLK | 0640, device)) == kOk);
        type = S_IFBLK;
    }
    struct stat made = status(path);
    CHECK((made.st_mode & S_IFMT) == type);
    CHECK((made.st_mode & 07777) == 0640);
    CHECK(made.st_rdev == device);
    CHECK(made.st_nlink == 1);
    CHECK(united.branches.count("object") == 1);
    CHECK(names(united.path()) == std::set<std::string>{"object"});
    CHECK(outcome(::mknod(path.c_str(), S_IFREG | 0644, 0)) == EEXIST);
    CHECK(outcome(::mkdir(path.c_str(), 0755)) == EEXIST);
    CHECK(outcome(::symlink("x", path.c_str())) == EEXIST);
    CHECK(try_open(path, O_RDONLY | O_CREAT | O_EXCL) == EEXIST);
    REQUIRE(outcome(::unlink(path.c_str())) == kOk);
    CHECK_FALSE(exists(path));
    CHECK(united.branches.count("object") == 0);
    CHECK(outcome(::unlink(path.c_str())) == ENOENT);
}

TEST_CASE("directories are made and removed", "[names]") {
    const Union united(any_layout());
    const std::string path = united.path("directory");
    make_directory(path, 0750);
    CHECK(mode_of(path) == 0750);
    CHECK(status(path).st_nlink >= 1);
    CHECK(outcome(::mkdir(path.c_str(), 0750)) == EEXIST);
    put(path + "/file", "");
    CHECK(outcome(::rmdir(path.c_str())) == ENOTEMPTY);
    CHECK(outcome(::unlink(path.c_str())) == EISDIR);
    CHECK(outcome(::rmdir((path + "/file").c_str())) == ENOTDIR);
    REQUIRE(outcome(::unlink((path + "/file").c_str())) == kOk);
    REQUIRE(outcome(::rmdir(path.c_str())) == kOk);
    CHECK(united.branches.count("directory") == 0);
    CHECK(outcome(::rmdir(path.c_str())) == ENOENT);
}

TEST_CASE("deep trees are made and removed", "[names]") {
    const Union united(any_layout());
    std::string path = united.path();
    for (int depth = 0; depth < 40; ++depth) {
        path += "/d";
        make_directory(path);
    }
    put(path + "/file", "deep");
    CHECK(content(path + "/file") == "deep");
    REQUIRE(run({"rm", "-rf", united.path("d")}).status == 0);
    CHECK(names(united.path()).empty());
}

TEST_CASE("symlinks are kept as they are", "[names]") {
    const Union united(any_layout());
    const auto target = GENERATE(std::string("a"), std::string("/absolute/../path"),
                                 std::string("../../.."), std::string(1000, 'x'));
    const std::string path = united.path("link");
    REQUIRE(outcome(::symlink(target.c_str(), path.c_str())) == kOk);
    CHECK(link_target(path) == target);
    CHECK(status(path).st_size == static_cast<off_t>(target.size()));
    CHECK(S_ISLNK(status(path).st_mode));
    CHECK(status(path).st_uid == 0);
    REQUIRE(outcome(::unlink(path.c_str())) == kOk);
}

TEST_CASE("symlinks are as long as the branch takes", "[names][limits]") {
    const Union united{Ext4};
    const std::string longest(PATH_MAX - 1, 'x');
    REQUIRE(outcome(::symlink(longest.c_str(), united.path("link").c_str())) == kOk);
    CHECK(link_target(united.path("link")) == longest);
}

TEST_CASE("a symlink is followed in the union, not in its branch", "[names]") {
    const Union united(any_layout());
    put(united.path("target"), "of the union");
    make_directory(united.path("directory"));
    REQUIRE(::symlink("../target", united.path("directory/link").c_str()) == 0);
    CHECK(content(united.path("directory/link")) == "of the union");
    CHECK(try_open(united.path("directory/link"), O_RDONLY | O_NOFOLLOW) == ELOOP);
}

TEST_CASE("hard links are one file", "[names][link]") {
    const Union united(any_layout());
    const std::string first = united.path("first");
    make_directory(united.path("directory"));
    const std::string second = united.path("directory/second");
    put(first, "one");
    REQUIRE(outcome(::link(first.c_str(), second.c_str())) == kOk);
    CHECK(status(first).st_ino == status(second).st_ino);
    CHECK(status(first).st_nlink == 2);
    put(second, "two");
    CHECK(content(first) == "two");
    REQUIRE(outcome(::chmod(first.c_str(), 0600)) == kOk);
    CHECK(mode_of(second) == 0600);
    CHECK(outcome(::link(first.c_str(), second.c_str())) == EEXIST);
    CHECK(outcome(::link(united.path("directory").c_str(), united.path("no").c_str())) == EPERM);
    CHECK(outcome(::link(united.path("missing").c_str(), united.path("no").c_str())) == ENOENT);
    REQUIRE(outcome(::unlink(first.c_str())) == kOk);
    CHECK(status(second).st_nlink == 1);
    CHECK(content(second) == "two");
    REQUIRE(outcome(::link(second.c_str(), first.c_str())) == kOk);
    CHECK(status(first).st_nlink == 2);
}

TEST_CASE("symlinks, fifos and devices have hard links", "[names][link]") {
    const Union united(any_layout());
    REQUIRE(::symlink("target", united.path("link").c_str()) == 0);
    REQUIRE(::mkfifo(united.path("fifo").c_str(), 0644) == 0);
    for (const char* name : {"link", "fifo"}) {
        const std::string path = united.path(name);
        CHECK(outcome(::link(path.c_str(), (path + "2").c_str())) == kOk);
        CHECK(status(path).st_nlink == 2);
        CHECK(status(path).st_ino == status(path + "2").st_ino);
    }
}

TEST_CASE("linkat follows a symlink only when told", "[names][link]") {
    const Union united{Ext4};
    put(united.path("file"), "content");
    REQUIRE(::symlink("file", united.path("link").c_str()) == 0);
    REQUIRE(outcome(::linkat(AT_FDCWD, united.path("link").c_str(), AT_FDCWD,
                             united.path("a").c_str(), 0)) == kOk);
    CHECK(S_ISLNK(status(united.path("a")).st_mode));
    REQUIRE(outcome(::linkat(AT_FDCWD, united.path("link").c_str(), AT_FDCWD,
                             united.path("b").c_str(), AT_SYMLINK_FOLLOW)) == kOk);
    CHECK(S_ISREG(status(united.path("b")).st_mode));
}

TEST_CASE("an open file without a name gets one", "[names][tmpfile]") {
    const Union united(any_layout());
    make_directory(united.path("directory"));
    const UniqueFd file = open_file(united.path("directory"), O_TMPFILE | O_RDWR, 0640);
    REQUIRE(outcome(file.get()) == kOk);
    CHECK(names(united.path("directory")).empty());
    CHECK(status(file.get()).st_nlink == 0);
    CHECK(write_all(file.get(), "temporary") == kOk);
    CHECK(content(file.get()) == "temporary");
    const std::string descriptor = "/proc/self/fd/" + std::to_string(file.get());
    const std::string path = united.path("directory/named");
    REQUIRE(outcome(::linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, path.c_str(),
                             AT_SYMLINK_FOLLOW)) == kOk);
    CHECK(content(path) == "temporary");
    CHECK(mode_of(path) == 0640);
    CHECK(status(path).st_nlink == 1);
    CHECK(status(path).st_ino == status(file.get()).st_ino);
    CHECK(write_all(file.get(), " and more") == kOk);
    CHECK(content(path) == "temporary and more");
}

TEST_CASE("a file without a name that may not get one", "[names][tmpfile]") {
    const Union united(any_layout());
    const UniqueFd file = open_file(united.path(), O_TMPFILE | O_RDWR | O_EXCL, 0640);
    REQUIRE(outcome(file.get()) == kOk);
    CHECK(write_all(file.get(), "temporary") == kOk);
    const std::string descriptor = "/proc/self/fd/" + std::to_string(file.get());
    CHECK(outcome(::linkat(AT_FDCWD, descriptor.c_str(), AT_FDCWD, united.path("no").c_str(),
                           AT_SYMLINK_FOLLOW)) == ENOENT);
}

TEST_CASE("the umask applies to what is made", "[names]") {
    const Union united(any_layout());
    const mode_t old = ::umask(027);
    make_directory(united.path("directory"), 0777);
    const Outcome made = try_open(united.path("file"), O_CREAT | O_WRONLY, 0666);
    const Outcome node = outcome(::mkfifo(united.path("fifo").c_str(), 0666));
    ::umask(old);
    REQUIRE(made == kOk);
    REQUIRE(node == kOk);
    CHECK(mode_of(united.path("directory")) == 0750);
    CHECK(mode_of(united.path("file")) == 0640);
    CHECK(mode_of(united.path("fifo")) == 0640);
}

TEST_CASE("open flags mean what they mean on ext4", "[names][open]") {
    const Union united(any_layout());
    const Branches plain{Ext4};
    for (const std::string& root : {united.path(), plain[0]}) {
        put(root + "/file", "content");
        make_directory(root + "/directory");
        REQUIRE(::symlink("file", (root + "/link").c_str()) == 0);
        REQUIRE(::symlink("missing", (root + "/dangling").c_str()) == 0);
    }
    const int flags =
        GENERATE(O_RDONLY, O_WRONLY, O_RDWR, O_RDONLY | O_CREAT, O_WRONLY | O_CREAT | O_EXCL,
                 O_RDONLY | O_DIRECTORY, O_RDONLY | O_NOFOLLOW, O_PATH, O_PATH | O_NOFOLLOW,
                 O_WRONLY | O_APPEND, O_RDWR | O_SYNC, O_RDWR | O_DSYNC, O_RDONLY | O_NOATIME,
                 O_RDONLY | O_DIRECTORY | O_CREAT);
    CAPTURE(flags);
    for (const char* name : {"/file", "/directory", "/link", "/dangling", "/missing", "/file/below",
                             "/missing/below", "/file/", "/directory/"}) {
        INFO(name);
        CHECK(try_open(united.path() + name, flags) == try_open(plain[0] + name, flags));
    }
    CHECK(names(united.path()) == names(plain[0]));
}

TEST_CASE("O_TRUNC empties a file", "[names][open]") {
    const Union united(any_layout());
    put(united.path("file"), "content");
    REQUIRE(try_open(united.path("file"), O_WRONLY | O_TRUNC) == kOk);
    CHECK(status(united.path("file")).st_size == 0);
    put(united.path("file"), "more");
    REQUIRE(try_open(united.path("file"), O_RDWR | O_CREAT | O_TRUNC) == kOk);
    CHECK(content(united.path("file")).empty());
}

TEST_CASE("names of NAME_MAX bytes work, longer ones do not", "[names][limits]") {
    const Union united(any_layout());
    const std::string longest(NAME_MAX, 'n');
    const std::string longer(NAME_MAX + 1, 'n');
    put(united.path(longest), "content");
    CHECK(content(united.path(longest)) == "content");
    CHECK(names(united.path()) == std::set<std::string>{longest});
    const std::string other(NAME_MAX, 'm');
    CHECK(outcome(::rename(united.path(longest).c_str(), united.path(other).c_str())) == kOk);
    CHECK(outcome(::rename(united.path(other).c_str(), united.path(longer).c_str())) ==
          ENAMETOOLONG);
    CHECK(outcome(::mkdir(united.path(longer).c_str(), 0755)) == ENAMETOOLONG);
    CHECK(outcome(::mkfifo(united.path(longer).c_str(), 0644)) == ENAMETOOLONG);
    CHECK(outcome(::symlink("x", united.path(longer).c_str())) == ENAMETOOLONG);
    CHECK(outcome(::link(united.path(other).c_str(), united.path(longer).c_str())) == ENAMETOOLONG);
    CHECK(outcome(::unlink(united.path(longer).c_str())) == ENAMETOOLONG);
    CHECK(outcome(::rmdir(united.path(longer).c_str())) == ENAMETOOLONG);
    CHECK(try_open(united.path(longer), O_RDONLY) == ENAMETOOLONG);
    CHECK(try_open(united.path(longer), O_WRONLY | O_CREAT) == ENAMETOOLONG);
    CHECK(outcome(::truncate(united.path(longer).c_str(), 0)) == ENAMETOOLONG);
    CHECK(outcome(::symlink(std::string(PATH_MAX, 'x').c_str(), united.path("l").c_str())) ==
          ENAMETOOLONG);
}

TEST_CASE("a path of PATH_MAX bytes below the mountpoint works", "[names][limits]") {
    const Union united(any_layout());
    // From the mountpoint as the working directory: the whole path is below it.
    const UniqueFd root = open_file(united.path(), O_RDONLY | O_DIRECTORY);
    REQUIRE(root);
    const std::string component(250, 'c');
    std::string path;
    while (path.size() + component.size() + 1 < PATH_MAX - 1) {
        path += component;
        REQUIRE(outcome(::mkdirat(root.get(), path.c_str(), 0755)) == kOk);
        path += '/';
    }
    path.append(PATH_MAX - 1 - path.size(), 'f');
    REQUIRE(path.size() == PATH_MAX - 1);
    {
        const UniqueFd file(::openat(root.get(), path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
        REQUIRE(outcome(file.get()) == kOk);
        CHECK(write_all(file.get(), "deep") == kOk);
        CHECK(content(file.get()) == "deep");
    }
    struct stat found{};
    CHECK(outcome(::fstatat(root.get(), path.c_str(), &found, 0)) == kOk);
    CHECK(outcome(::openat(root.get(), (path + "f").c_str(), O_RDONLY)) == ENAMETOOLONG);
    CHECK(outcome(::renameat(root.get(), path.c_str(), root.get(), "moved")) == kOk);
    CHECK(content(united.path("moved")) == "deep");
    CHECK(outcome(::renameat(root.get(), "moved", root.get(), path.c_str())) == kOk);
    CHECK(outcome(::unlinkat(root.get(), path.c_str(), 0)) == kOk);
}

TEST_CASE("names of any bytes are kept", "[names]") {
    const Union united(any_layout());
    std::set<std::string> given{" ", "\n",  "\\", "\xff\xfe", "a:b=c,d",
                                "-", "...", "ä",  "*",        ".wh.name"};
    for (const std::string& name : given) put(united.path(name), name);
    CHECK(names(united.path()) == given);
    for (const std::string& name : given) CHECK(content(united.path(name)) == name);
}

TEST_CASE("the work directory of branches is hidden", "[names][hidden]") {
    const Union united{Ext4, Ext4};
    make_directory(united.branches.path(0, ".plyfs"), 0700);
    const std::string hidden = united.path(".plyfs");
    CHECK(names(united.path()).empty());
    CHECK_FALSE(exists(hidden));
    CHECK(outcome(::mkdir(hidden.c_str(), 0755)) == EPERM);
    CHECK(try_open(hidden, O_WRONLY | O_CREAT) == EPERM);
    CHECK(outcome(::symlink("x", hidden.c_str())) == EPERM);
    put(united.path("file"), "");
    CHECK(outcome(::rename(united.path("file").c_str(), hidden.c_str())) == EPERM);
    CHECK(outcome(::link(united.path("file").c_str(), hidden.c_str())) == EPERM);
    // Only at the root of a branch.
    make_directory(united.path("directory"));
    put(united.path("directory/.plyfs"), "");
    CHECK(exists(united.path("directory/.plyfs")));
}

}  // namespace
}  // namespace plyfs::test
