// SPDX-License-Identifier: GPL-2.0-or-later
//
// With which names attributes come, by what the caller did with those of other listings
// (session/listers.h).
#include <dirent.h>
#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "mount/files.h"
#include "mount/mounted.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// A pool of which the kernel keeps attributes throughout the test, with directories of files.
struct Pool {
    void fill(const std::string& directory, int files) const {
        const std::string real = united.branches.path(1, directory);
        make_directory(real);
        for (int file = 0; file < files; ++file) put(real + "/file" + std::to_string(file), "");
        make_directory(real + "/inner");
    }
    std::size_t lookups() const { return united.mount.requests().count({"LOOKUP"}); }
    // What the kernel may ask for by number: each was looked up for it.
    std::uint64_t nodes() const {
        const std::string report = get_xattr(united.path(), "user.plyfs.stats");
        return nlohmann::json::parse(report).at("nodes").at("remembered");
    }

    Union united{{Ext4, Ext4}, "cache.entry=60,cache.attr=60", Mount::Style::Logging};
};

std::set<std::string> expected(int files) {
    std::set<std::string> names{"inner"};
    for (int file = 0; file < files; ++file) names.insert("file" + std::to_string(file));
    return names;
}

// As `ls -l` does it; `find` asks at the end.
enum class When : std::uint8_t { AtOnce, AtTheEnd };
std::size_t list_and_stat(const std::string& directory, When when) {
    std::multiset<std::string> seen;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
    REQUIRE(stream);
    while (const dirent* const entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        seen.insert(name);
        if (when == When::AtOnce) CHECK(status(directory + "/" + name).st_ino == entry->d_ino);
    }
    if (when == When::AtTheEnd) {
        for (const std::string& name : seen) (void)status(directory + "/" + name);
    }
    CHECK(std::set(seen.begin(), seen.end()).size() == seen.size());
    return seen.size();
}

constexpr int kMany = 3000;
constexpr int kSome = 50;  // all of it fits into one answer
constexpr int kDirectories = 10;

TEST_CASE("a large directory is listed without looking at its files", "[directory][listers]") {
    const Pool pool;
    pool.fill("large", kMany);
    const std::uint64_t before = pool.nodes();
    CHECK(names(pool.united.path("large")) == expected(kMany));
    CHECK(pool.nodes() - before < 20);
    CHECK(pool.lookups() == 1);
}

TEST_CASE("a large directory is listed and looked at in turn", "[directory][listers]") {
    const Pool pool;
    pool.fill("large", kMany);
    CHECK(list_and_stat(pool.united.path("large"), When::AtOnce) == kMany + 1);
    // The directory itself.
    CHECK(pool.lookups() == 1);
}

TEST_CASE("who does not look at files is told names only", "[directory][listers]") {
    const Pool pool;
    for (int number = 0; number < kDirectories; ++number) {
        const std::string name = "directory" + std::to_string(number);
        pool.fill(name, kSome);
        CHECK(names(pool.united.path(name)) == expected(kSome));
    }
    // Of the first three all, of the others what leads on.
    CHECK(pool.nodes() < 1 + 2 * kDirectories + 3 * kSome);
    SECTION("until it does") {
        for (const char* const name : {"first", "second"}) pool.fill(name, kSome);
        CHECK(list_and_stat(pool.united.path("first"), When::AtTheEnd) == kSome + 1);
        const std::size_t before = pool.lookups();
        CHECK(list_and_stat(pool.united.path("second"), When::AtTheEnd) == kSome + 1);
        CHECK(pool.lookups() - before == 1);
    }
    SECTION("which is right for him alone") {
        pool.fill("other", kSome);
        const std::size_t before = pool.lookups();
        std::thread([&] { list_and_stat(pool.united.path("other"), When::AtOnce); }).join();
        CHECK(pool.lookups() - before <= 2);
    }
}

TEST_CASE("who looks at files is told their attributes", "[directory][listers]") {
    const Pool pool;
    const std::size_t before = pool.lookups();
    for (int number = 0; number < kDirectories; ++number) {
        const std::string name = "directory" + std::to_string(number);
        pool.fill(name, kSome);
        CHECK(list_and_stat(pool.united.path(name), When::AtTheEnd) == kSome + 1);
    }
    // The directories themselves, and one file of some.
    CHECK(pool.lookups() - before <= kDirectories + 2);
}

TEST_CASE("a listing that is kept gives way to attributes", "[directory][listers][listings]") {
    const Union united({Ext4}, "cache.entry=100ms,cache.attr=100ms", Mount::Style::Logging);
    const std::string path = united.path("directory");
    make_directory(united.branches.path(0, "directory"));
    for (int file = 0; file < kSome; ++file)
        put(united.branches.path(0, "directory/file" + std::to_string(file)), "");
    // Until it may be kept.
    std::this_thread::sleep_for(std::chrono::milliseconds(2100));
    const auto readdirplus = [&] { return united.mount.requests().count({"READDIRPLUS"}); };
    for (std::uint32_t listing = 0; listing < 4; ++listing) CHECK(names(path).size() == kSome);
    const std::size_t kept = readdirplus();
    CHECK(names(path).size() == kSome);
    CHECK(readdirplus() == kept);
    // By name, in the kernel's listing; from the daemon, once the attributes have run out.
    CHECK(list_and_stat(path, When::AtTheEnd) == kSome);
    CHECK(readdirplus() == kept);
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    CHECK(list_and_stat(path, When::AtTheEnd) == kSome);
    CHECK(readdirplus() > kept);
}

TEST_CASE("attributes that have run out come with the listings again",
          "[directory][listers][listings]") {
    const Union united({Ext4}, "cache.entry=500ms,cache.attr=500ms", Mount::Style::Logging);
    std::vector<std::string> directories;
    for (int number = 0; number < kDirectories; ++number) {
        const std::string name = "directory" + std::to_string(number);
        make_directory(united.branches.path(0, name));
        for (int file = 0; file < kSome; ++file)
            put(united.branches.path(0, name + "/file" + std::to_string(file)), "");
        directories.push_back(united.path(name));
    }
    // Until listings may be kept.
    std::this_thread::sleep_for(std::chrono::milliseconds(2100));
    for (const std::string& directory : directories) CHECK(names(directory).size() == kSome);
    std::this_thread::sleep_for(std::chrono::milliseconds(600));
    const RequestLog requests = united.mount.requests();
    const std::size_t before = requests.count({"LOOKUP"});
    std::thread([&] {
        for (const std::string& directory : directories)
            CHECK(list_and_stat(directory, When::AtTheEnd) == kSome);
    }).join();
    // All of the first directory, and of the one by which the caller is tried again; one for each
    // of the others; more where attributes run out before they are looked at.
    CHECK(requests.count({"LOOKUP"}) - before < kSome * kDirectories / 2);
}

TEST_CASE("names that are told without attributes count as no lookup", "[directory][listers]") {
    const Pool pool;
    const std::uint64_t before = pool.nodes();
    for (const char* const name : {"a", "b", "c", "d", "e"}) pool.fill(name, kSome);
    pool.fill("large", kMany);
    for (const char* const name : {"a", "b", "c", "d", "e", "large"}) {
        (void)names(pool.united.path(name));
    }
    CHECK(list_and_stat(pool.united.path("e"), When::AtOnce) == kSome + 1);
    CHECK(list_and_stat(pool.united.path("large"), When::AtTheEnd) == kMany + 1);
    CHECK(pool.nodes() > before);
    // Each is given back as often as it was counted.
    put("/proc/sys/vm/drop_caches", "2");
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (pool.nodes() > before && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::yield();
    }
    CHECK(pool.nodes() == before);
}

}  // namespace
}  // namespace plyfs::test
