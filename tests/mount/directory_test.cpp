// SPDX-License-Identifier: GPL-2.0-or-later
//
// Reading directories.
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>
#include <map>
#include <memory>
#include <vector>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

using Stream = std::unique_ptr<DIR, int (*)(DIR*)>;

Stream open_stream(const std::string& path) {
    Stream stream(::opendir(path.c_str()), ::closedir);
    REQUIRE(stream);
    return stream;
}

std::vector<std::string> rest(DIR* stream) {
    std::vector<std::string> found;
    errno = 0;
    while (const dirent* entry = ::readdir(stream)) found.emplace_back(entry->d_name);
    REQUIRE(errno == 0);
    return found;
}

TEST_CASE("types and numbers of names agree with stat", "[directory]") {
    const Union united(any_layout());
    put(united.path("file"), "");
    make_directory(united.path("directory"));
    REQUIRE(::symlink("x", united.path("link").c_str()) == 0);
    REQUIRE(::mkfifo(united.path("fifo").c_str(), 0644) == 0);
    REQUIRE(::mknod(united.path("socket").c_str(), S_IFSOCK | 0644, 0) == 0);
    REQUIRE(::mknod(united.path("device").c_str(), S_IFCHR | 0644, 0x103) == 0);
    for (std::size_t i = 0; i < united.branches.size(); ++i)
        std::filesystem::create_directories(united.branches.path(i, "everywhere"));
    const Stream stream = open_stream(united.path());
    int entries = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "..") continue;
        INFO(name);
        const struct stat found = status(united.path(name));
        CHECK(entry->d_ino == found.st_ino);
        CHECK(entry->d_type == IFTODT(found.st_mode));
        ++entries;
    }
    CHECK(entries == 8);
}

TEST_CASE("names of all branches are listed once, those of the first shown", "[directory]") {
    const Union united{Ext4, Xfs, Btrfs, Tmpfs};
    for (std::size_t i = 0; i < 4; ++i) {
        put(united.branches.path(i, "own" + std::to_string(i)), "");
        put(united.branches.path(i, "shared"), std::to_string(i));
        std::filesystem::create_directories(united.branches.path(i, "directory"));
        put(united.branches.path(i, "directory/" + std::to_string(i)), "");
    }
    CHECK(names(united.path()) ==
          std::set<std::string>{"own0", "own1", "own2", "own3", "shared", "directory"});
    CHECK(content(united.path("shared")) == "0");
    CHECK(names(united.path("directory")) == std::set<std::string>{"0", "1", "2", "3"});
}

TEST_CASE("a directory of 20,000 names", "[directory][large]") {
    const Union united({Ext4, Ext4}, "category.create=rand");
    const std::string directory = united.path("large");
    constexpr int kNames = 20'000;
    for (std::size_t i = 0; i < 2; ++i) make_directory(united.branches.path(i, "large"));
    const UniqueFd first = open_file(united.branches.path(0, "large"), O_RDONLY | O_DIRECTORY);
    const UniqueFd second = open_file(united.branches.path(1, "large"), O_RDONLY | O_DIRECTORY);
    for (int i = 0; i < kNames; ++i) {
        const std::string name = "name" + std::to_string(i);
        const UniqueFd& at = i % 2 == 0 ? first : second;
        REQUIRE(::mknodat(at.get(), name.c_str(), S_IFIFO | 0644, 0) == 0);
    }
    const std::set<std::string> found = names(directory);
    CHECK(found.size() == kNames);
    SECTION("is walked with stat") {
        const Ran ran = run({"find", directory, "-name", "name*", "-size", "0", "-links", "1"});
        CHECK(std::ranges::count(ran.output, '\n') == kNames);
    }
    SECTION("is emptied while it is read") {
        const Stream stream = open_stream(directory);
        int removed = 0;
        while (const dirent* entry = ::readdir(stream.get())) {
            if (*entry->d_name == '.') continue;
            REQUIRE(::unlinkat(::dirfd(stream.get()), entry->d_name, 0) == 0);
            ++removed;
        }
        CHECK(removed == kNames);
        CHECK(outcome(::rmdir(directory.c_str())) == kOk);
    }
}

TEST_CASE("an open directory is a stable snapshot", "[directory]") {
    const Union united(any_layout());
    const std::string directory = united.path("directory");
    make_directory(directory);
    for (int i = 0; i < 2000; ++i) put(directory + "/name" + std::to_string(i), "");
    const Stream stream = open_stream(directory);
    std::set<std::string> seen;
    for (int i = 0; i < 50; ++i) seen.insert(::readdir(stream.get())->d_name);
    for (int i = 0; i < 2000; i += 2)
        REQUIRE(::rename((directory + "/name" + std::to_string(i)).c_str(),
                         (directory + "/moved" + std::to_string(i)).c_str()) == 0);
    for (const std::string& name : rest(stream.get())) {
        INFO(name);
        CHECK(seen.insert(name).second);
    }
    for (int i = 1; i < 2000; i += 2) CHECK(seen.contains("name" + std::to_string(i)));
    ::rewinddir(stream.get());
    const auto again = rest(stream.get());
    CHECK(again.size() == 2002);
    CHECK(std::ranges::count(again, "moved0") == 1);
    CHECK(std::ranges::count(again, "name0") == 0);
}

TEST_CASE("positions of an open directory are gone back to", "[directory]") {
    const Union united(any_layout());
    for (int i = 0; i < 1500; ++i) put(united.path("name" + std::to_string(i)), "");
    const Stream stream = open_stream(united.path());
    std::vector<long> positions;
    std::vector<std::string> order;
    for (positions.push_back(::telldir(stream.get()));
         const dirent* entry = ::readdir(stream.get());
         positions.push_back(::telldir(stream.get())))
        order.emplace_back(entry->d_name);
    REQUIRE(order.size() == 1502);
    for (const std::size_t at :
         {std::size_t{1501}, std::size_t{0}, std::size_t{700}, std::size_t{1}, std::size_t{1400}}) {
        ::seekdir(stream.get(), positions[at]);
        const dirent* entry = ::readdir(stream.get());
        REQUIRE(entry != nullptr);
        CHECK(order[at] == entry->d_name);
    }
    ::seekdir(stream.get(), positions.back());
    CHECK(::readdir(stream.get()) == nullptr);
}

TEST_CASE("the parent of a directory is listed as such", "[directory]") {
    const Union united(any_layout());
    std::filesystem::create_directories(united.path("a/b"));
    const Stream stream = open_stream(united.path("a/b"));
    std::map<std::string, ino_t> found;
    while (const dirent* entry = ::readdir(stream.get())) found[entry->d_name] = entry->d_ino;
    CHECK(found.size() == 2);
    CHECK(found["."] == status(united.path("a/b")).st_ino);
    CHECK(found[".."] == status(united.path("a")).st_ino);
    CHECK(status(united.path("a/b/..")).st_ino == status(united.path("a")).st_ino);
}

TEST_CASE("trees are copied, compared and removed by programs", "[directory][programs]") {
    const Union united(any_layout());
    REQUIRE(run({"cp", "-a", "/usr/include/linux", united.path("copy")}).status == 0);
    const Ran compared = run({"diff", "-r", "/usr/include/linux", united.path("copy")});
    INFO(compared.output);
    CHECK(compared.status == 0);
    CHECK(run({"tar", "-C", united.path(), "-cf", united.path("archive.tar"), "copy"}).status == 0);
    CHECK(run({"tar", "-C", united.path(), "-df", united.path("archive.tar")}).output.empty());
    CHECK(run({"rm", "-r", united.path("copy"), united.path("archive.tar")}).status == 0);
    CHECK(names(united.path()).empty());
    for (std::size_t i = 0; i < united.branches.size(); ++i)
        CHECK_FALSE(exists(united.branches.path(i, "copy")));
}

}  // namespace
}  // namespace plyfs::test
