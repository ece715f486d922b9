// SPDX-License-Identifier: GPL-2.0-or-later
//
// What was copied up keeps the number of its origin, wherever it goes: a listing shows the one that
// stat shows, now, once the kernel has forgotten it, and after a remount.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>

#include "core/driven_union.h"
#include "sys/fault.h"

namespace plyfs::test {
namespace {

namespace fs = std::filesystem;

void check_listed(DrivenUnion& u, const std::string& directory) {
    const std::vector<Listed> listed = u.list(directory).value();
    for (const Listed& one : listed) {
        const std::string path = directory.empty() ? one.name : directory + '/' + one.name;
        INFO(path);
        const Attributes attributes = u.stat(path).value();
        CHECK(one.inode == attributes.inode);
        if (attributes.is_directory()) check_listed(u, path);
    }
}

bool is_impure(const std::string& path) {
    char value = 0;
    return ::lgetxattr(path.c_str(), "trusted.overlay.impure", &value, 1) == 1 && value == 'y';
}

// Of `there` when the way was taken.
struct Way {
    const char* name;
    int (*take)(DrivenUnion& u, const std::string& from, const std::string& to);
    enum class There : std::uint8_t { Nothing, File, Whiteout } there;
};

int link(DrivenUnion& u, const std::string& from, const std::string& to) {
    return u.link(from, to);
}
int rename(DrivenUnion& u, const std::string& from, const std::string& to) {
    return u.rename(from, to);
}
int exchange(DrivenUnion& u, const std::string& from, const std::string& to) {
    return u.rename(from, to, RENAME_EXCHANGE);
}
int exchange_back(DrivenUnion& u, const std::string& from, const std::string& to) {
    return u.rename(to, from, RENAME_EXCHANGE);
}

constexpr std::array<Way, 7> kWays{{
    {"link", link, Way::There::Nothing},
    {"link over a whiteout", link, Way::There::Whiteout},
    {"rename", rename, Way::There::Nothing},
    {"rename over a file", rename, Way::There::File},
    {"rename over a whiteout", rename, Way::There::Whiteout},
    {"exchange", exchange, Way::There::File},
    {"exchange, named the other way round", exchange_back, Way::There::File},
}};

// `from/x` is copied up from a read-only branch, `to` has nothing from there but names that are
// hidden.
void prepare(DrivenUnion& u, std::size_t lower, mode_t type, Way::There there) {
    for (const char* const directory : {"from", "to"})
        fs::create_directory(u.host(lower, directory));
    const std::string x = u.host(lower, "from/x");
    if (type == S_IFREG) host_write(x, "lower");
    if (type == S_IFLNK) fs::create_symlink("target", x);
    if (type == S_IFIFO) REQUIRE(::mkfifo(x.c_str(), 0640) == 0);
    if (there == Way::There::Whiteout) {
        host_write(u.host(lower, "to/y"), "lower");
        REQUIRE(u.unlink("to/y") == 0);
    }
    if (there == Way::There::File) REQUIRE(u.write("to/y", "own") == 0);
}

}  // namespace

TEST_CASE("what was copied up is listed with its number in another directory", "[layers][origin]") {
    const auto way = GENERATE(from_range(kWays));
    const mode_t type = GENERATE(S_IFREG, S_IFLNK, S_IFIFO);
    // On the second of two writable branches `to` is made for what comes there.
    const bool second = GENERATE(false, true);
    INFO(way.name << " of type " << type << ", second branch: " << second);
    DrivenUnion u(second ? std::vector{kNc, kRw, kRo} : std::vector{kRw, kRo});
    const std::size_t upper = second ? 1 : 0;
    prepare(u, upper + 1, type, way.there);
    const std::uint64_t inode = u.stat("from/x")->inode;
    REQUIRE(way.take(u, "from/x", "to/y") == 0);
    CHECK(u.stat("to/y")->inode == inode);
    CHECK(is_impure(u.host(upper, "to")));
    check_listed(u, "");
    u.forget_all();
    check_listed(u, "");
    u.remount();
    check_listed(u, "");
    CHECK(u.stat("to/y")->inode == inode);
}

TEST_CASE("each name of an indexed file is listed with one number", "[layers][links][origin]") {
    DrivenUnion u({kRw, kRo});
    fs::create_directory(u.host(1, "from"));
    host_write(u.host(1, "from/a"), "lower");
    fs::create_hard_link(u.host(1, "from/a"), u.host(1, "from/b"));
    const std::uint64_t inode = u.stat("from/a")->inode;
    for (const char* const directory : {"linked", "moved"}) REQUIRE(u.mkdir(directory) == 0);
    REQUIRE(u.link("from/a", "linked/a") == 0);
    REQUIRE(u.rename("from/b", "moved/b") == 0);
    for (const bool again : {false, true}) {
        if (again) u.remount();
        check_listed(u, "");
        for (const char* const name : {"from/a", "linked/a", "moved/b"}) {
            CHECK(u.stat(name)->inode == inode);
            CHECK(u.stat(name)->links == 3);
        }
    }
}

TEST_CASE("an origin is looked for only where it may be", "[layers][origin]") {
    DrivenUnion u({kRw, kRo});
    for (const char* const directory : {"copies", "own"})
        fs::create_directory(u.host(1, directory));
    host_write(u.host(1, "copies/copy"), "lower");
    REQUIRE(u.chmod("copies/copy", 0600) == 0);
    for (const char* const file : {"copies/x", "own/x"}) REQUIRE(u.write(file, "own") == 0);
    REQUIRE(is_impure(u.host(0, "copies")));
    REQUIRE_FALSE(is_impure(u.host(0, "own")));
    u.remount();
    const auto calls = [&](const std::string& directory) {
        const NodeId parent = u.look(directory)->node;
        fault::arm(fault::Action::None, 0, 0);
        const auto entry = u.verbs().lookup(parent, *Name::from("x"));
        const std::uint64_t made = fault::disarm();
        u.remember(entry.value().node);
        return made;
    };
    CHECK(calls("own") == 1);
    CHECK(calls("copies") > 1);
    check_listed(u, "");
}

// Nobody leaves such a thing since overlayfs makes the mark (Linux 4.12).
TEST_CASE("a copy in a directory without the mark has a number of its own", "[layers][origin]") {
    DrivenUnion u({kRw, kRo});
    host_write(u.host(1, "x"), "lower");
    const std::uint64_t inode = u.stat("x")->inode;
    REQUIRE(u.chmod("x", 0600) == 0);
    REQUIRE(::lremovexattr(u.host(0).c_str(), "trusted.overlay.impure") == 0);
    u.remount();
    CHECK(u.stat("x")->inode != inode);
    check_listed(u, "");
    CHECK(u.read("x").value() == "lower");
    SECTION("which it takes along") {
        const std::uint64_t own = u.stat("x")->inode;
        REQUIRE(u.mkdir("d") == 0);
        REQUIRE(u.rename("x", "d/x") == 0);
        CHECK(u.stat("d/x")->inode == own);
        check_listed(u, "");
    }
}

TEST_CASE("a directory without anything from below gets no mark", "[layers][origin]") {
    DrivenUnion u({kRw, kRo});
    for (const char* const directory : {"a", "b"}) REQUIRE(u.mkdir(directory) == 0);
    REQUIRE(u.write("a/linked", "own") == 0);
    REQUIRE(u.link("a/linked", "b/linked") == 0);
    REQUIRE(u.write("a/moved", "own") == 0);
    REQUIRE(u.rename("a/moved", "b/moved") == 0);
    REQUIRE(u.write("b/exchanged", "own") == 0);
    REQUIRE(u.rename("b/exchanged", "a/linked", RENAME_EXCHANGE) == 0);
    for (const char* const directory : {"a", "b"}) CHECK_FALSE(is_impure(u.host(0, directory)));
    check_listed(u, "");
}

}  // namespace plyfs::test
