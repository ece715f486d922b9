// SPDX-License-Identifier: GPL-2.0-or-later
//
// Attributes and extended attributes of objects with several copies.
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"

namespace plyfs::test {

namespace fs = std::filesystem;

TEST_CASE("attributes are changed on every copy", "[setattr]") {
    DrivenUnion u({kRw, kRw, kRw});
    const bool directory = GENERATE(false, true);
    for (const std::size_t branch : {0U, 2U}) {
        if (directory) {
            fs::create_directory(u.host(branch, "x"));
        } else {
            host_write(u.host(branch, "x"), "text");
        }
    }
    AttributeChange change;
    change.mode = 0711;
    change.uid = 12;
    change.gid = 34;
    change.modification_time = timespec{2000, 222};
    REQUIRE(u.change("x", change) == 0);
    for (const std::size_t branch : {0U, 2U}) {
        const struct stat status = host_stat(u.host(branch, "x"));
        CHECK((status.st_mode & 07777) == 0711);
        CHECK(status.st_uid == 12);
        CHECK(status.st_gid == 34);
        CHECK(status.st_mtim.tv_nsec == 222);
    }
    CHECK(u.stat("x")->modification_time == Timestamp{2000, 222});
    if (!directory) {
        AttributeChange size;
        size.size = 1;
        REQUIRE(u.change("x", size) == 0);
        CHECK(host_read(u.host(2, "x")) == "t");
    }
}

TEST_CASE("an open file is changed through its handle whatever became of its name", "[setattr]") {
    DrivenUnion u({kRw, kRw});
    REQUIRE(u.write("f", "text") == 0);
    const OpenedFile file = u.open("f", O_RDWR).value();
    const NodeId node = u.look("f")->node;
    fs::remove(u.host(0, "f"));
    AttributeChange change;
    change.size = 2;
    CHECK(code(u.verbs().setattr(u.request(), node, change, file.handle)) == 0);
    CHECK(contents(file) == "te");
    CHECK(u.verbs().getattr(node, file.handle).value().size == 2);
    u.verbs().release(file.handle);
}

TEST_CASE("SUID and SGID go where the caller may not keep them", "[setattr]") {
    DrivenUnion u({kRw});
    REQUIRE(u.write("f", "text", 0755) == 0);
    host_chmod(u.host(0, "f"), 06755);
    AttributeChange change;
    change.size = 1;
    SECTION("truncate") {
        change.drop_set_id = true;
        REQUIRE(u.change("f", change) == 0);
        CHECK((u.stat("f")->mode & 06000) == 0);
    }
    SECTION("truncate by who may") {
        REQUIRE(u.change("f", change) == 0);
        CHECK((u.stat("f")->mode & 06000) == 06000);
    }
    SECTION("open with O_TRUNC") {
        const auto file =
            u.verbs().open(u.request(), u.look("f")->node, O_WRONLY | O_TRUNC, true).value();
        u.verbs().release(file.handle);
        CHECK((u.stat("f")->mode & 06000) == 0);
    }
    SECTION("chown") {
        AttributeChange owner;
        owner.uid = 7;
        REQUIRE(u.change("f", owner) == 0);
        CHECK((u.stat("f")->mode & 06000) == 0);
    }
}

TEST_CASE("extended attributes are set and removed on every copy", "[xattr]") {
    DrivenUnion u({kRw, kRw});
    const bool directory = GENERATE(false, true);
    for (const std::size_t branch : {0U, 1U}) {
        if (directory) {
            fs::create_directory(u.host(branch, "x"));
        } else {
            host_write(u.host(branch, "x"), "text");
        }
    }
    const auto on = [&](std::size_t branch) {
        char value[16];
        const ssize_t size =
            ::getxattr(u.host(branch, "x").c_str(), "trusted.a", value, sizeof value);
        return size < 0 ? std::string("(none)") : std::string(value, value + size);
    };
    REQUIRE(u.set_xattr("x", "trusted.a", "one") == 0);
    CHECK(on(0) == "one");
    CHECK(on(1) == "one");
    CHECK(u.xattr("x", "trusted.a").value() == "one");
    CHECK(u.set_xattr("x", "trusted.a", "two", XATTR_CREATE) == EEXIST);
    CHECK(on(1) == "one");

    SECTION("where only the first copy has it") {
        REQUIRE(::removexattr(u.host(1, "x").c_str(), "trusted.a") == 0);
        SECTION("replaced") {
            CHECK(u.set_xattr("x", "trusted.a", "two", XATTR_REPLACE) == 0);
            CHECK(on(1) == "two");
        }
        SECTION("removed") {
            CHECK(u.remove_xattr("x", "trusted.a") == 0);
            CHECK(on(0) == "(none)");
        }
    }
    SECTION("where only the second copy has it") {
        REQUIRE(::removexattr(u.host(0, "x").c_str(), "trusted.a") == 0);
        CHECK(u.remove_xattr("x", "trusted.a") == ENODATA);
        CHECK(u.set_xattr("x", "trusted.a", "two", XATTR_REPLACE) == ENODATA);
        CHECK(u.set_xattr("x", "trusted.a", "two", XATTR_CREATE) == 0);
        CHECK(on(0) == "two");
        CHECK(on(1) == "two");
    }
}

TEST_CASE("extended attributes that are turned off are ENOTSUP", "[xattr]") {
    DrivenUnion u({kRw});
    REQUIRE(u.write("f", "text") == 0);
    CHECK(code(u.xattr("f", "trusted.none")) == ENODATA);
    CHECK(u.remove_xattr("f", "trusted.none") == ENODATA);
    CHECK(u.xattrs("f").value().empty());
    CHECK(u.set_xattr("f", "trusted.a", "1") == 0);
    CHECK(u.set_xattr("f", "trusted.b", "") == 0);
    CHECK(u.xattrs("f").value().size() == 2);
    CHECK(u.xattr("f", "trusted.b").value().empty());
    std::byte small[1];
    REQUIRE(u.set_xattr("f", "trusted.a", "long") == 0);
    CHECK(code(u.verbs().getxattr(u.look("f")->node, "trusted.a", small)) == ERANGE);
}

TEST_CASE("only the chosen copy is changed under a policy that chooses one", "[setattr]") {
    DrivenUnion u({kRw, kRw},
                  policies(config::Policy::Ff, config::Policy::Ff, config::Policy::EpFf));
    for (const std::size_t branch : {0U, 1U}) {
        host_write(u.host(branch, "x"), "text");
        host_chmod(u.host(branch, "x"), 0644);
    }
    REQUIRE(u.chmod("x", 0600) == 0);
    CHECK((host_stat(u.host(0, "x")).st_mode & 07777) == 0600);
    CHECK((host_stat(u.host(1, "x")).st_mode & 07777) == 0644);
}

TEST_CASE("the times of a merged directory are its latest", "[getattr]") {
    DrivenUnion u({kRw, kRw});
    for (const std::size_t branch : {0U, 1U}) {
        fs::create_directory(u.host(branch, "d"));
        const timespec times[2] = {{1000, 0}, {branch == 0 ? 2000 : 3000, 0}};
        REQUIRE(::utimensat(AT_FDCWD, u.host(branch, "d").c_str(), times, 0) == 0);
    }
    CHECK(u.stat("d")->modification_time.seconds == 3000);
    CHECK(u.verbs().getattr(u.look("d")->node).value().modification_time.seconds == 3000);
    CHECK(u.stat("d")->links == 1);
}

TEST_CASE("statfs counts a file system once", "[statfs]") {
    DrivenUnion one({kRw});
    DrivenUnion three({{BranchMode::ReadWrite, one.host(0)}, kRw, kRo});
    CHECK(one.verbs().statfs().blocks == three.verbs().statfs().blocks);
}

}  // namespace plyfs::test
