// SPDX-License-Identifier: GPL-2.0-or-later
//
// What others do to the branches shows in the union once the kernel's memory has run out.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// Asks until it is so. False: not within ten seconds.
bool becomes(const std::function<bool()>& condition) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (!condition())
        if (std::chrono::steady_clock::now() > deadline) return false;
    return true;
}

TEST_CASE("changes on the branch show at once when nothing is remembered", "[cache]") {
    const Union united({Ext4, Ext4}, "cache.entry=0,cache.attr=0,cache.negative-entry=0");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(1, "file");
    CHECK_FALSE(exists(path));
    put(real, "content");
    CHECK(content(path) == "content");
    put(real, "longer content");
    CHECK(status(path).st_size == 14);
    CHECK(content(path) == "longer content");
    REQUIRE(::chmod(real.c_str(), 0600) == 0);
    CHECK(mode_of(path) == 0600);
    put(united.branches.path(0, "file"), "in front");
    CHECK(content(path) == "in front");
    REQUIRE(::unlink(united.branches.path(0, "file").c_str()) == 0);
    CHECK(content(path) == "longer content");
    REQUIRE(::rename(real.c_str(), united.branches.path(1, "moved").c_str()) == 0);
    CHECK_FALSE(exists(path));
    CHECK(content(united.path("moved")) == "longer content");
    make_directory(real);
    CHECK(S_ISDIR(status(path).st_mode));
}

TEST_CASE("changes on the branch show after the time to remember", "[cache]") {
    const Union united({Ext4}, "cache.entry=200ms,cache.attr=200ms,cache.negative-entry=200ms");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(0, "file");
    SECTION("a new name") {
        CHECK_FALSE(exists(path));
        put(real, "content");
        CHECK(becomes([&] { return exists(path); }));
    }
    SECTION("a name that is gone") {
        put(real, "content");
        CHECK(exists(path));
        REQUIRE(::unlink(real.c_str()) == 0);
        CHECK(becomes([&] { return !exists(path); }));
    }
    SECTION("attributes") {
        put(real, "content");
        CHECK(status(path).st_size == 7);
        REQUIRE(::chmod(real.c_str(), 0600) == 0);
        CHECK(becomes([&] { return mode_of(path) == 0600; }));
    }
    SECTION("data") {
        put(real, "content");
        CHECK(content(path) == "content");
        put(real, "CONTENT");
        CHECK(becomes([&] { return content(path) == "CONTENT"; }));
    }
    SECTION("a directory's names") {
        make_directory(real);
        CHECK(names(path).empty());
        put(real + "/new", "");
        CHECK(becomes([&] { return names(path).contains("new"); }));
    }
}

TEST_CASE("a name replaced on the branch is another file", "[cache]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    const std::string path = united.path("file");
    const std::string real = united.branches.path(0, "file");
    put(real, "old");
    const UniqueFd old = open_file(path, O_RDONLY);
    const ino_t inode = status(path).st_ino;
    put(real + "2", "new");
    REQUIRE(::rename((real + "2").c_str(), real.c_str()) == 0);
    CHECK(content(path) == "new");
    CHECK(status(path).st_ino != inode);
    CHECK(content(old.get()) == "old");
}

TEST_CASE("a directory replaced on the branch is another directory", "[cache]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    make_directory(united.path("directory"));
    put(united.path("directory/old"), "");
    CHECK(names(united.path("directory")) == std::set<std::string>{"old"});
    REQUIRE(::rename(united.branches.path(0, "directory").c_str(),
                     united.branches.path(0, "moved").c_str()) == 0);
    make_directory(united.branches.path(0, "directory"));
    put(united.branches.path(0, "directory/new"), "");
    CHECK(names(united.path("directory")) == std::set<std::string>{"new"});
    CHECK(content(united.path("directory/new")).empty());
    CHECK_FALSE(exists(united.path("directory/old")));
    CHECK(names(united.path("moved")) == std::set<std::string>{"old"});
    put(united.path("directory/made"), "");
    CHECK(exists(united.branches.path(0, "directory/made")));
}

TEST_CASE("what is remembered is not asked for", "[cache]") {
    const Union united({Ext4}, "cache.entry=60,cache.attr=60,cache.negative-entry=60",
                       Mount::Style::Logging);
    put(united.path("file"), "content");
    (void)status(united.path("file"));
    CHECK_FALSE(exists(united.path("missing")));
    const std::size_t before = united.mount.requests().count({"LOOKUP", "GETATTR", "STATX"});
    for (int i = 0; i < 100; ++i) {
        (void)status(united.path("file"));
        CHECK_FALSE(exists(united.path("missing")));
    }
    CHECK(united.mount.requests().count({"LOOKUP", "GETATTR", "STATX"}) == before);
}

// Until what was changed is old enough to be relied on.
void settle() {
    std::this_thread::sleep_for(std::chrono::milliseconds(2100));
}

// Lists the directory; returns how often the daemon was asked for names.
std::size_t reads_of(const Mount& mount, const std::string& path,
                     const std::set<std::string>& expected) {
    const std::size_t before = mount.requests().count({"READDIR", "READDIRPLUS"});
    CHECK(names(path) == expected);
    return mount.requests().count({"READDIR", "READDIRPLUS"}) - before;
}

TEST_CASE("an unchanged directory is listed from the kernel's memory", "[cache][listings]") {
    const Union united({Ext4, Ext4}, "cache.entry=60,cache.attr=60", Mount::Style::Logging);
    const std::string path = united.path("directory");
    const std::string first = united.branches.path(0, "directory");
    const std::string second = united.branches.path(1, "directory");
    make_directory(first);
    make_directory(second);
    put(first + "/a", "");
    put(second + "/b", "");
    settle();
    CHECK(reads_of(united.mount, path, {"a", "b"}) > 0);
    CHECK(reads_of(united.mount, path, {"a", "b"}) == 0);
    SECTION("a change behind the mount shows at once, though times are put back") {
        const struct stat before = status(second);
        put(second + "/c", "");
        const timespec times[] = {before.st_atim, before.st_mtim};
        REQUIRE(::utimensat(AT_FDCWD, second.c_str(), times, 0) == 0);
        CHECK(names(path) == std::set<std::string>{"a", "b", "c"});
    }
    SECTION("a change through the mount shows at once") {
        put(united.path("directory/c"), "");
        CHECK(names(path) == std::set<std::string>{"a", "b", "c"});
        REQUIRE(::unlink(united.path("directory/b").c_str()) == 0);
        CHECK(names(path) == std::set<std::string>{"a", "c"});
        settle();
        CHECK(names(path) == std::set<std::string>{"a", "c"});
        CHECK(reads_of(united.mount, path, {"a", "c"}) == 0);
    }
}

TEST_CASE("listings are not kept where that is turned off", "[cache][listings]") {
    const Union united({Ext4}, "cache.readdir=false", Mount::Style::Logging);
    put(united.path("a"), "");
    settle();
    CHECK(reads_of(united.mount, united.path(), {"a"}) > 0);
    CHECK(reads_of(united.mount, united.path(), {"a"}) > 0);
}

// Streams of all ages, changes by both sides: what lists anew sees what is there, and what was
// there all the time is seen once by every stream.
TEST_CASE("listings are right whatever happens meanwhile", "[cache][listings]") {
    const Union united({Ext4, Ext4});
    const std::string path = united.path("directory");
    std::set<std::string> expected;
    for (const std::size_t branch : {0, 1})
        make_directory(united.branches.path(branch, "directory"));
    for (int number = 0; number < 3000; ++number) {
        const std::string name = "stays" + std::to_string(number);
        put(united.branches.path(static_cast<std::size_t>(number % 2), "directory/" + name), "");
        expected.insert(name);
    }
    settle();
    using Stream = std::unique_ptr<DIR, int (*)(DIR*)>;
    struct Reader {
        Stream stream;
        std::multiset<std::string> seen{};
    };
    std::vector<Reader> readers;
    const auto read_some = [](Reader& reader, int count) {
        while (count-- > 0) {
            const dirent* const entry = ::readdir(reader.stream.get());
            if (entry == nullptr) return false;
            if (std::string_view(entry->d_name).starts_with("stays"))
                reader.seen.insert(entry->d_name);
        }
        return true;
    };
    for (int round = 0; round < 60; ++round) {
        if (round % 20 == 10) settle();
        const std::string name = "comes" + std::to_string(round);
        switch (round % 4) {
            case 0: put(path + "/" + name, ""), expected.insert(name); break;
            case 1:
                put(united.branches.path(1, "directory/" + name), ""), expected.insert(name);
                break;
            case 2: {
                const std::string gone = "comes" + std::to_string(round - 2);
                REQUIRE(::unlink((path + "/" + gone).c_str()) == 0);
                expected.erase(gone);
                break;
            }
            default: break;
        }
        readers.push_back({Stream(::opendir(path.c_str()), ::closedir)});
        REQUIRE(readers.back().stream);
        for (Reader& reader : readers) read_some(reader, 37 * (round % 5 + 1));
        if (round % 7 == 0) put("/proc/sys/vm/drop_caches", "1");
        if (round % 3 == 0) CHECK(names(path) == expected);
        if (readers.size() < 8) continue;
        Reader last = std::move(readers.front());
        readers.erase(readers.begin());
        while (read_some(last, 100)) continue;
        CHECK(last.seen.size() == 3000);
        CHECK(std::set(last.seen.begin(), last.seen.end()).size() == 3000);
    }
}

TEST_CASE("a symlink to outside does not lead the daemon out of a branch", "[cache][security]") {
    const Union united({Ext4}, "cache.entry=0,cache.attr=0");
    const Branches outside{Ext4};
    put(outside.path(0, "secret"), "secret");
    make_directory(united.path("directory"));
    put(united.path("directory/secret"), "own");
    CHECK(content(united.path("directory/secret")) == "own");
    const UniqueFd directory = open_file(united.path("directory"), O_RDONLY | O_DIRECTORY);
    // Somebody replaces the directory that the daemon knows by a symlink.
    REQUIRE(::rename(united.branches.path(0, "directory").c_str(),
                     united.branches.path(0, "moved").c_str()) == 0);
    REQUIRE(::symlink(outside[0].c_str(), united.branches.path(0, "directory").c_str()) == 0);
    const UniqueFd file(::openat(directory.get(), "secret", O_RDWR | O_CLOEXEC));
    if (file) CHECK(content(file.get()) != "secret");
    (void)::unlinkat(directory.get(), "secret", 0);
    (void)::mkdirat(directory.get(), "made", 0755);
    CHECK(content(outside.path(0, "secret")) == "secret");
    CHECK(names(outside[0]) == std::set<std::string>{"secret"});
}

}  // namespace
}  // namespace plyfs::test
