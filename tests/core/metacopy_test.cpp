// SPDX-License-Identifier: GPL-2.0-or-later
//
// Copies without data: made by changes of attributes, read from below, completed when written.
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <filesystem>

#include "core/driven_union.h"
#include "sys/data.h"
#include "sys/fault.h"

namespace plyfs::test {
namespace {

constexpr char kMetacopyMark[] = "trusted.overlay.metacopy";

bool has_xattr(const std::string& path, const char* name) {
    return ::lgetxattr(path.c_str(), name, nullptr, 0) >= 0;
}

// A lower file of some size, in a union that copies without data.
struct Metacopies {
    Metacopies() {
        std::filesystem::create_directories(u.host(1, "d"));
        for (int i = 0; i < 20'000; ++i) data += std::to_string(i) + ' ';
        host_write(u.host(1, "d/f"), data);
        before = tree_state(u.host(1));
        u.remount([](UnionOptions& options) { options.metacopy = true; });
    }
    ~Metacopies() { CHECK(tree_state(u.host(1)) == before); }

    bool bare(const std::string& path) const { return has_xattr(u.host(0, path), kMetacopyMark); }

    DrivenUnion u{{kRw, kRo}};
    std::string data;
    std::string before;
};

std::string read_some(DrivenUnion& u, const OpenedFile& file, std::size_t size) {
    std::string text(size, '\0');
    const auto data = u.verbs().data_of(file.file);
    REQUIRE(data.has_value());
    const auto got = sys::read_at((*data)->get(), std::as_writable_bytes(std::span(text)), 0);
    text.resize(got.value_or(0));
    return text;
}

}  // namespace

TEST_CASE("a change of attributes copies no data up", "[layers][metacopy]") {
    Metacopies files;
    DrivenUnion& u = files.u;
    const auto blocks = u.stat("d/f")->blocks;
    REQUIRE(u.chmod("d/f", 0640) == 0);
    CHECK(files.bare("d/f"));
    CHECK(host_stat(u.host(0, "d/f")).st_blocks == 0);
    CHECK(u.stat("d/f")->blocks == blocks);
    CHECK(u.stat("d/f")->size == files.data.size());
    CHECK((*u.read("d/f") == files.data));
    u.remount();
    CHECK((u.stat("d/f")->mode & 07777) == 0640);
    CHECK(u.stat("d/f")->blocks == blocks);
    CHECK((*u.read("d/f") == files.data));
    SECTION("until they are written") {
        const auto file = u.open("d/f", O_WRONLY);
        REQUIRE(file.has_value());
        u.verbs().release(file->handle);
        CHECK_FALSE(files.bare("d/f"));
        CHECK((host_read(u.host(0, "d/f")) == files.data));
        CHECK((u.stat("d/f")->mode & 07777) == 0640);
    }
    SECTION("or cut off") {
        AttributeChange change;
        change.size = GENERATE(0, 10);
        REQUIRE(u.change("d/f", change) == 0);
        CHECK_FALSE(files.bare("d/f"));
        u.remount();
        CHECK(*u.read("d/f") == files.data.substr(0, static_cast<std::size_t>(*change.size)));
    }
}

TEST_CASE("data are found after the file was renamed", "[layers][metacopy]") {
    Metacopies files;
    DrivenUnion& u = files.u;
    REQUIRE(u.link("d/f", "g") == 0);
    REQUIRE(u.rename("d/f", "e") == 0);
    CHECK(files.bare("e"));
    for (const std::string name : {"e", "g"}) CHECK((*u.read(name) == files.data));
    u.remount();
    for (const std::string name : {"e", "g"}) CHECK((*u.read(name) == files.data));
    CHECK(u.stat("e")->inode == u.stat("g")->inode);
    REQUIRE(u.rename("d", "moved") == 0);
    CHECK((*u.read("g") == files.data));
    REQUIRE(u.write("g", "new") == 0);
    CHECK(*u.read("e") == "new");
}

TEST_CASE("open files read what is written after their data came up", "[layers][metacopy]") {
    Metacopies files;
    DrivenUnion& u = files.u;
    const bool before_the_copy = GENERATE(true, false);
    if (!before_the_copy) REQUIRE(u.chmod("d/f", 0600) == 0);
    const auto reader = u.open("d/f", O_RDONLY);
    REQUIRE(reader.has_value());
    if (before_the_copy) REQUIRE(u.chmod("d/f", 0600) == 0);
    CHECK(read_some(u, *reader, 5) == files.data.substr(0, 5));
    CHECK((u.verbs().getattr(reader->file->node->id, reader->handle)->mode & 07777) == 0600);
    const auto writer = u.open("d/f", O_WRONLY);
    REQUIRE(writer.has_value());
    const std::string text = "12345";
    REQUIRE(sys::write_at(writer->file->descriptor.get(), std::as_bytes(std::span(text)), 0));
    CHECK(read_some(u, *reader, 5) == "12345");
    u.verbs().release(reader->handle);
    u.verbs().release(writer->handle);
}

TEST_CASE("bringing data up keeps what writing takes away", "[layers][metacopy]") {
    Metacopies files;
    DrivenUnion& u = files.u;
    struct vfs_cap_data capability{};
    capability.magic_etc = VFS_CAP_REVISION_2;
    capability.data[0].permitted = 1;
    REQUIRE(u.set_xattr("d/f", "security.capability",
                        std::string(reinterpret_cast<const char*>(&capability), XATTR_CAPS_SZ_2)) ==
            0);
    REQUIRE(u.chmod("d/f", 04755) == 0);
    AttributeChange times;
    times.modification_time = timespec{1000, 7};
    REQUIRE(u.change("d/f", times) == 0);
    REQUIRE(files.bare("d/f"));
    const auto file = u.open("d/f", O_RDWR);
    REQUIRE(file.has_value());
    u.verbs().release(file->handle);
    const Attributes after = *u.stat("d/f");
    CHECK((after.mode & 07777) == 04755);
    CHECK(host_stat(u.host(0, "d/f")).st_mtim.tv_nsec == 7);
    CHECK(has_xattr(u.host(0, "d/f"), "security.capability"));
    CHECK((*u.read("d/f") == files.data));
}

TEST_CASE("a file that lacks its data on a lower branch is copied up with them",
          "[layers][metacopy]") {
    DrivenUnion u({kRw, kRo, kRo});
    host_write(u.host(2, "f"), "text");
    host_write(u.host(1, "f"), "");
    REQUIRE(::truncate(u.host(1, "f").c_str(), 4) == 0);
    REQUIRE(::setxattr(u.host(1, "f").c_str(), kMetacopyMark, "", 0, 0) == 0);
    CHECK(*u.read("f") == "text");
    REQUIRE(u.chmod("f", 0600) == 0);
    CHECK(host_read(u.host(0, "f")) == "text");
    SECTION("and is an error where they are nowhere") {
        host_write(u.host(1, "g"), "");
        REQUIRE(::truncate(u.host(1, "g").c_str(), 4) == 0);
        REQUIRE(::setxattr(u.host(1, "g").c_str(), kMetacopyMark, "", 0, 0) == 0);
        CHECK(code(u.read("g")) == EIO);
    }
}

TEST_CASE("what was just made is not asked for its data", "[metacopy][layers]") {
    DrivenUnion u({kRw, kRo});
    const auto calls = [&](NodeId node) {
        fault::arm(fault::Action::None, 0, 0);
        const auto file = u.verbs().open(u.request(), node, O_RDONLY, false);
        const std::uint64_t made = fault::disarm();
        REQUIRE(file);
        u.verbs().release(file->handle);
        return made;
    };
    host_write(u.host(0, "found"), "x");
    const auto created = u.create("made");
    REQUIRE(created);
    u.verbs().release(created->opened.handle);
    const NodeId made = created->entry.node;
    const NodeId found = u.look("found").value().node;
    CHECK(calls(made) < calls(found));
    CHECK(calls(made) == calls(found));
}

}  // namespace plyfs::test
