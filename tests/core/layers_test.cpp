// SPDX-License-Identifier: GPL-2.0-or-later
//
// Read-only branches below writable ones: what is copied up and when, what hides, and that nothing
// ever changes below.
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <filesystem>

#include "core/driven_union.h"
#include "sys/data.h"

namespace plyfs::test {
namespace {

bool is_whiteout(const std::string& path) {
    struct stat status{};
    return ::lstat(path.c_str(), &status) == 0 && S_ISCHR(status.st_mode) && status.st_rdev == 0;
}

bool is_opaque(const std::string& path) {
    char value = 0;
    return ::lgetxattr(path.c_str(), "trusted.overlay.opaque", &value, 1) == 1 && value == 'y';
}

// One writable branch (0) over a read-only one (1) with a few objects, whose state is checked when
// the test ends.
struct Layers {
    explicit Layers(const std::vector<BranchSpec>& branches = {kRw, kRo}) : u(branches) {
        lower = u.host(branches.size() - 1);
        std::filesystem::create_directories(lower + "/dir/inner");
        host_write(lower + "/dir/file", "lower");
        host_write(lower + "/dir/inner/deep", "deep");
        host_write(lower + "/top", "top");
        std::filesystem::create_symlink("target", lower + "/link");
        REQUIRE(::mkfifo((lower + "/fifo").c_str(), 0640) == 0);
        before = tree_state(lower);
    }
    ~Layers() { CHECK(tree_state(lower) == before); }

    DrivenUnion u;
    std::string lower;
    std::string before;
};

using Change = int (*)(DrivenUnion& u, const std::string& path);

// What changes an object copies it up.
constexpr std::array<Change, 5> kChanges = {
    [](DrivenUnion& u, const std::string& path) { return u.chmod(path, 0600); },
    [](DrivenUnion& u, const std::string& path) {
        AttributeChange owner;
        owner.uid = 77;
        return u.change(path, owner);
    },
    [](DrivenUnion& u, const std::string& path) {
        AttributeChange times;
        times.modification_time = timespec{1, 2};
        return u.change(path, times);
    },
    [](DrivenUnion& u, const std::string& path) { return u.set_xattr(path, "user.x", "1"); },
    [](DrivenUnion& u, const std::string& path) { return u.write(path, "new"); },
};

}  // namespace

TEST_CASE("what changes a lower file copies it up", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    const Change change = GENERATE(from_range(kChanges));
    const auto inode = u.stat("dir/file")->inode;
    REQUIRE(change(u, "dir/file") == 0);
    CHECK(exists(u.host(0, "dir/file")));
    CHECK(u.stat("dir/file")->inode == inode);
    const std::string content = *u.read("dir/file");
    CHECK(content == (change == kChanges.back() ? "new" : "lower"));
    u.remount();
    CHECK(u.stat("dir/file")->inode == inode);
    CHECK(*u.read("dir/file") == content);
}

TEST_CASE("every type of object is copied up", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    AttributeChange owner;
    owner.uid = 77;
    for (const std::string path : {"dir", "link", "fifo", "top", "dir/inner/deep"}) {
        INFO(path);
        const Attributes before = *u.stat(path);
        REQUIRE(u.change(path, owner) == 0);
        const Attributes after = *u.stat(path);
        CHECK(after.uid == 77);
        CHECK(after.mode == before.mode);
        CHECK(after.modification_time == before.modification_time);
        CHECK(after.inode == before.inode);
        CHECK(host_stat(u.host(0, path)).st_uid == 77);
    }
    CHECK(*u.read_link("link") == "target");
}

TEST_CASE("ancestors are copied up with what they are", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    const struct stat lower = host_stat(layers.lower + "/dir/inner");
    REQUIRE(u.write("dir/inner/deep", "new") == 0);
    const struct stat upper = host_stat(u.host(0, "dir/inner"));
    CHECK(upper.st_mode == lower.st_mode);
    CHECK(upper.st_mtim.tv_nsec == lower.st_mtim.tv_nsec);
    CHECK(upper.st_mtim.tv_sec == lower.st_mtim.tv_sec);
    CHECK(u.names("dir") == std::vector<std::string>{"file", "inner"});
}

TEST_CASE("path preserving policies make what only layers have", "[layers][policy]") {
    using config::Policy;
    const Policy policy = GENERATE(Policy::EpFf, Policy::EpMfs, Policy::EpAll, Policy::Newest);
    DrivenUnion u({kRw, kRw, kRo}, policies(policy));
    std::filesystem::create_directories(u.host(2, "a"));
    std::filesystem::create_directories(u.host(1, "b"));
    host_write(u.host(2, "a/f"), "text");
    REQUIRE(u.chmod("a/f", 0600) == 0);
    CHECK((exists(u.host(0, "a/f")) || exists(u.host(1, "a/f"))));
    REQUIRE(u.write("a/new", "text") == 0);
    REQUIRE(u.write("b/new", "text") == 0);
    CHECK(exists(u.host(1, "b/new")));
}

TEST_CASE("removing a lower object leaves a whiteout", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    SECTION("a file") {
        REQUIRE(u.unlink("dir/file") == 0);
        CHECK(is_whiteout(u.host(0, "dir/file")));
        CHECK(code(u.look("dir/file")) == ENOENT);
        CHECK(u.names("dir") == std::vector<std::string>{"inner"});
        CHECK(u.unlink("dir/file") == ENOENT);
    }
    SECTION("a file that was copied up") {
        REQUIRE(u.chmod("dir/file", 0600) == 0);
        REQUIRE(u.unlink("dir/file") == 0);
        CHECK(is_whiteout(u.host(0, "dir/file")));
    }
    SECTION("a directory") {
        CHECK(u.rmdir("dir") == ENOTEMPTY);
        REQUIRE(u.unlink("dir/file") == 0);
        REQUIRE(u.unlink("dir/inner/deep") == 0);
        REQUIRE(u.rmdir("dir/inner") == 0);
        REQUIRE(u.rmdir("dir") == 0);
        CHECK(is_whiteout(u.host(0, "dir")));
        CHECK(code(u.look("dir")) == ENOENT);
    }
    u.remount();
    CHECK(code(u.look("dir/file")) == ENOENT);
}

TEST_CASE("a file of the writable branch alone leaves no whiteout", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.write("dir/new", "new") == 0);
    REQUIRE(u.unlink("dir/new") == 0);
    CHECK_FALSE(exists(u.host(0, "dir/new")));
}

TEST_CASE("a name that was removed can be made again", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.unlink("top") == 0);
    SECTION("as a file") {
        REQUIRE(u.write("top", "again") == 0);
        CHECK(*u.read("top") == "again");
    }
    SECTION("as a symlink") {
        REQUIRE(u.symlink("elsewhere", "top") == 0);
        CHECK(*u.read_link("top") == "elsewhere");
    }
    SECTION("as a link") {
        REQUIRE(u.link("dir/file", "top") == 0);
        CHECK(*u.read("top") == "lower");
        CHECK(u.stat("top")->links == 2);
    }
    SECTION("as a directory, which is opaque") {
        REQUIRE(u.mkdir("top") == 0);
        CHECK(is_opaque(u.host(0, "top")));
    }
    SECTION("by a rename") {
        REQUIRE(u.rename("dir/file", "top") == 0);
        CHECK(*u.read("top") == "lower");
        CHECK(is_whiteout(u.host(0, "dir/file")));
    }
    CHECK(u.names("") == std::vector<std::string>{"dir", "fifo", "link", "top"});
    REQUIRE((u.look("top")->attributes.is_directory() ? u.rmdir("top") : u.unlink("top")) == 0);
    CHECK(is_whiteout(u.host(0, "top")));
    u.remount();
    CHECK(code(u.look("top")) == ENOENT);
}

TEST_CASE("a directory made where one was removed shows nothing of it", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.unlink("dir/inner/deep") == 0);
    REQUIRE(u.rmdir("dir/inner") == 0);
    REQUIRE(u.mkdir("dir/inner") == 0);
    CHECK(u.names("dir/inner").empty());
    REQUIRE(u.write("dir/inner/new", "new") == 0);
    u.remount();
    CHECK(u.names("dir/inner") == std::vector<std::string>{"new"});
}

TEST_CASE("a lower directory is renamed without copying what is in it", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    const auto inode = u.stat("dir")->inode;
    REQUIRE(u.rename("dir", "moved") == 0);
    CHECK_FALSE(exists(u.host(0, "moved/file")));
    CHECK(is_whiteout(u.host(0, "dir")));
    const auto check = [&] {
        CHECK(code(u.look("dir")) == ENOENT);
        CHECK(*u.read("moved/file") == "lower");
        CHECK(*u.read("moved/inner/deep") == "deep");
        CHECK(u.stat("moved")->inode == inode);
        CHECK(u.names("moved") == std::vector<std::string>{"file", "inner"});
        CHECK(u.names("") == std::vector<std::string>{"fifo", "link", "moved", "top"});
    };
    check();
    u.remount();
    check();
    REQUIRE(u.write("moved/inner/deep", "changed") == 0);
    REQUIRE(u.rename("moved/inner", "inner") == 0);
    REQUIRE(u.mkdir("dir") == 0);
    u.remount();
    CHECK(*u.read("inner/deep") == "changed");
    CHECK(u.names("moved") == std::vector<std::string>{"file"});
    CHECK(u.names("dir").empty());
}

// The upper layer below has a directory that was moved: what it is merged with is elsewhere.
TEST_CASE("redirects go through redirects of layers", "[layers]") {
    DrivenUnion u({kRw, kRo, kRo});
    std::filesystem::create_directories(u.host(2, "old/inner"));
    std::filesystem::create_directories(u.host(2, "top"));
    host_write(u.host(2, "old/inner/file"), "below");
    std::filesystem::create_directories(u.host(1, "top/moved"));
    REQUIRE(::lsetxattr(u.host(1, "top/moved").c_str(), "trusted.overlay.redirect", "/old", 4, 0) ==
            0);
    REQUIRE(::mknod(u.host(1, "old").c_str(), S_IFCHR, 0) == 0);
    REQUIRE(*u.read("top/moved/inner/file") == "below");
    SECTION("as overlayfs writes them") {
        std::filesystem::create_directories(u.host(0, "top/again"));
        constexpr std::string_view kSeen = "/top/moved/inner";
        REQUIRE(::lsetxattr(u.host(0, "top/again").c_str(), "trusted.overlay.redirect",
                            kSeen.data(), kSeen.size(), 0) == 0);
    }
    SECTION("and are written so") {
        REQUIRE(u.rename("top/moved/inner", "top/again") == 0);
        char value[64] = {};
        REQUIRE(::lgetxattr(u.host(0, "top/again").c_str(), "trusted.overlay.redirect", value,
                            sizeof value) > 0);
        CHECK(std::string(value) == "/top/moved/inner");
    }
    u.remount();
    CHECK(*u.read("top/again/file") == "below");
    REQUIRE(u.rename("top/again", "top/third") == 0);
    u.remount();
    CHECK(*u.read("top/third/file") == "below");
}

TEST_CASE("who read a file before it was copied up reads on in the copy", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    const auto reader = u.open("dir/file", O_RDONLY);
    REQUIRE(reader);
    REQUIRE(u.write("dir/file", "changed") == 0);
    const auto data = u.verbs().data_of(reader->file);
    REQUIRE(data);
    std::array<std::byte, 16> bytes{};
    const auto got = sys::read_at((*data)->get(), bytes, 0);
    REQUIRE(got);
    CHECK(std::string(reinterpret_cast<const char*>(bytes.data()), *got) == "changed");
    CHECK(u.verbs().getattr(reader->file->node->id, reader->handle)->size == 7);
    u.verbs().release(reader->handle);
}

TEST_CASE("a removed lower file that is open can still be changed", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    const auto entry = u.look("dir/file");
    const auto reader = u.open("dir/file", O_RDONLY);
    REQUIRE(u.unlink("dir/file") == 0);
    AttributeChange mode;
    mode.mode = 0600;
    const auto changed = u.verbs().setattr(u.request(), entry->node, mode, reader->handle);
    REQUIRE(changed);
    CHECK((changed->mode & 07777) == 0600);
    u.verbs().release(reader->handle);
}

TEST_CASE("applications neither see nor forge marks", "[layers]") {
    Layers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.rename("dir", "moved") == 0);
    CHECK(u.xattrs("moved")->empty());
    CHECK(code(u.xattr("moved", "trusted.overlay.redirect")) == ENODATA);
    REQUIRE(u.set_xattr("top", "trusted.overlay.opaque", "y") == 0);
    CHECK(*u.xattr("top", "trusted.overlay.opaque") == "y");
    CHECK(*u.xattrs("top") == std::vector<std::string>{"trusted.overlay.opaque"});
    CHECK(u.mknod("device", S_IFCHR | 0600, makedev(0, 0)) == EPERM);
    CHECK(u.mkdir(".wh.top") == EPERM);
    CHECK(*u.read("top") == "top");
}

TEST_CASE("marks of one writable branch hide nothing on another", "[layers]") {
    Layers layers({kRw, kRw, kRo});
    DrivenUnion& u = layers.u;
    REQUIRE(u.unlink("top") == 0);
    CHECK(is_whiteout(u.host(1, "top")));  // the last one takes it
    host_write(u.host(0, "top"), "on the first");
    u.remount();
    CHECK(*u.read("top") == "on the first");
    REQUIRE(u.unlink("top") == 0);
    CHECK(code(u.look("top")) == ENOENT);
    CHECK_FALSE(exists(u.host(0, "top")));
    CHECK(is_whiteout(u.host(1, "top")));
}

TEST_CASE("copies on several writable branches go together, and what is below is hidden",
          "[layers]") {
    Layers layers({kRw, kRw, kRo});
    DrivenUnion& u = layers.u;
    for (const std::size_t branch : {0U, 1U}) host_write(u.host(branch, "top"), "copy");
    for (const std::size_t branch : {0U, 1U}) {
        std::filesystem::create_directories(u.host(branch, "link-dir"));
    }
    REQUIRE(u.unlink("top") == 0);
    CHECK_FALSE(exists(u.host(0, "top")));
    CHECK(is_whiteout(u.host(1, "top")));
    CHECK(code(u.look("top")) == ENOENT);
    CHECK(u.rmdir("link-dir") == 0);
    CHECK_FALSE(exists(u.host(1, "link-dir")));
}

TEST_CASE("without a branch that takes whiteouts lower objects stay", "[layers]") {
    Layers layers({kNc, kRo});
    DrivenUnion& u = layers.u;
    CHECK(u.unlink("top") == EROFS);
    CHECK(u.chmod("top", 0600) == EROFS);
    CHECK(*u.read("top") == "top");
}

namespace {

// A lower file with three names, over which there is `writable`.
struct LinkedLayers {
    explicit LinkedLayers(const std::vector<BranchSpec>& branches = {kRw, kRo}) : u(branches) {
        lower = u.host(branches.size() - 1);
        std::filesystem::create_directories(lower + "/dir");
        host_write(lower + "/a", "lower");
        REQUIRE(::link((lower + "/a").c_str(), (lower + "/b").c_str()) == 0);
        REQUIRE(::link((lower + "/a").c_str(), (lower + "/dir/c").c_str()) == 0);
        before = tree_state(lower);
    }
    ~LinkedLayers() { CHECK(tree_state(lower) == before); }

    // All names of `names` are one file with so many names and this content.
    void check_one_file(const std::vector<std::string>& names, const std::string& content,
                        std::uint32_t links) {
        const Attributes first = *u.stat(names.front());
        for (const std::string& name : names) {
            INFO(name);
            const Attributes attributes = *u.stat(name);
            CHECK(attributes.inode == first.inode);
            CHECK(attributes.links == links);
            CHECK(*u.read(name) == content);
        }
    }

    DrivenUnion u;
    std::string lower;
    std::string before;
};

}  // namespace

TEST_CASE("a lower file with several names is copied up once", "[layers][links]") {
    LinkedLayers layers(
        GENERATE(std::vector<BranchSpec>{kRw, kRo}, std::vector<BranchSpec>{kRw, kRw, kRo}));
    DrivenUnion& u = layers.u;
    const auto inode = u.stat("a")->inode;
    const bool looked_up = GENERATE(false, true);
    if (looked_up) layers.check_one_file({"a", "b", "dir/c"}, "lower", 3);
    REQUIRE(u.write("b", "new") == 0);
    layers.check_one_file({"b", "a", "dir/c"}, "new", 3);
    CHECK(u.stat("dir/c")->inode == inode);
    u.remount();
    layers.check_one_file({"dir/c", "a", "b"}, "new", 3);
    CHECK(u.stat("a")->inode == inode);
    REQUIRE(u.write("dir/c", "newer") == 0);
    REQUIRE(u.chmod("a", 0600) == 0);
    u.remount();
    layers.check_one_file({"a", "b", "dir/c"}, "newer", 3);
    CHECK((u.stat("b")->mode & 07777) == 0600);
}

TEST_CASE("without an index each name of a lower file becomes a file of its own",
          "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    u.remount([](UnionOptions& options) { options.index = false; });
    layers.check_one_file({"a", "b", "dir/c"}, "lower", 3);
    REQUIRE(u.write("b", "new") == 0);
    CHECK(u.read("b") == "new");
    CHECK(u.read("a") == "lower");
    CHECK(u.read("dir/c") == "lower");
    CHECK(u.stat("b")->inode != u.stat("a")->inode);
    REQUIRE(u.chmod("dir/c", 0600) == 0);
    CHECK((u.stat("a")->mode & 07777) != 0600);
    REQUIRE(u.rename("a", "moved") == 0);
    CHECK(u.read("moved") == "lower");
    CHECK(code(u.look("a")) == ENOENT);
    REQUIRE(u.unlink("dir/c") == 0);
    u.forget_all();
    CHECK(u.read("b") == "new");
    CHECK(u.read("moved") == "lower");
    CHECK(code(u.look("dir/c")) == ENOENT);
    u.remount();
    CHECK(u.read("b") == "new");
    CHECK(u.read("moved") == "lower");
}

TEST_CASE("names of a lower file come and go", "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.unlink("b") == 0);
    layers.check_one_file({"a", "dir/c"}, "lower", 2);
    u.remount();
    layers.check_one_file({"a", "dir/c"}, "lower", 2);
    REQUIRE(u.link("dir/c", "d") == 0);
    layers.check_one_file({"a", "dir/c", "d"}, "lower", 3);
    REQUIRE(u.rename("a", "dir/e") == 0);
    layers.check_one_file({"dir/e", "dir/c", "d"}, "lower", 3);
    CHECK(code(u.look("a")) == ENOENT);
    CHECK(u.rename("d", "dir/c") == 0);  // two names of one file: nothing is done
    layers.check_one_file({"dir/e", "dir/c", "d"}, "lower", 3);
    u.remount();
    REQUIRE(u.write("new", "new") == 0);
    REQUIRE(u.rename("new", "dir/c") == 0);
    layers.check_one_file({"dir/e", "d"}, "lower", 2);
    REQUIRE(u.unlink("dir/e") == 0);
    layers.check_one_file({"d"}, "lower", 1);
    REQUIRE(u.unlink("d") == 0);
    CHECK(u.names("") == std::vector<std::string>{"dir"});
    CHECK(std::filesystem::is_empty(u.host(0, ".plyfs/index")));
}

TEST_CASE("a file with several lower names lives on without one", "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    const auto file = u.open("a", O_RDWR);
    REQUIRE(file.has_value());
    for (const std::string name : {"a", "b", "dir/c"}) REQUIRE(u.unlink(name) == 0);
    CHECK(u.verbs().getattr(file->file->node->id)->links == 0);
    u.verbs().release(file->handle);
}

namespace {

std::vector<std::string> index_entries(const DrivenUnion& u) {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(u.host(0, ".plyfs/index"))) {
        paths.push_back(entry.path());
    }
    return paths;
}

void set_count(const std::string& path, const std::string& count) {
    REQUIRE(::lsetxattr(path.c_str(), "trusted.overlay.nlink", count.data(), count.size(), 0) == 0);
}

}  // namespace

TEST_CASE("a copy without names that a crash left is swept", "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.write("b", "new") == 0);
    const std::string entry = index_entries(u).at(0);
    // With one more link the last unlink does not see that it is the last one.
    REQUIRE(::link(entry.c_str(), u.host(0, "hidden").c_str()) == 0);
    for (const std::string name : {"a", "b", "dir/c"}) REQUIRE(u.unlink(name) == 0);
    u.remount();
    CHECK(u.verbs().sweep_indexes().removed == 0);
    REQUIRE(u.unlink("hidden") == 0);
    REQUIRE(index_entries(u).size() == 1);
    u.remount();
    CHECK(u.verbs().sweep_indexes().removed == 1);
    CHECK(index_entries(u).empty());
}

TEST_CASE("a copy that only lower names lead to is not swept", "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.write("b", "new") == 0);
    REQUIRE(u.unlink("b") == 0);
    const std::string entry = index_entries(u).at(0);
    CHECK(host_stat(entry).st_nlink == 1);
    SECTION("counted by itself") {}
    SECTION("counted by the lower file") {
        set_count(entry, "L-1");
    }
    SECTION("counted in a way that nobody knows") {
        set_count(entry, "X-1");
    }
    SECTION("or of another file, as it seems") {
        set_count(entry, "L-3");
        REQUIRE(::lremovexattr(entry.c_str(), "trusted.overlay.origin") == 0);
    }
    u.remount();
    CHECK(u.verbs().sweep_indexes().removed == 0);
    CHECK(*u.read("a") == "new");
}

TEST_CASE("a copy is swept by the count of the lower file", "[layers][links]") {
    LinkedLayers layers;
    DrivenUnion& u = layers.u;
    REQUIRE(u.write("b", "new") == 0);
    REQUIRE(u.unlink("b") == 0);
    set_count(index_entries(u).at(0), "L-3");
    u.remount();
    CHECK(u.verbs().sweep_indexes().removed == 1);
}

TEST_CASE("a copy of a lower file that is gone stays, and is told of", "[layers][links]") {
    DrivenUnion u({kRw, kRo});
    host_write(u.host(1, "a"), "lower");
    std::filesystem::create_hard_link(u.host(1, "a"), u.host(1, "b"));
    REQUIRE(u.write("b", "new") == 0);
    REQUIRE(u.unlink("b") == 0);
    for (const char* const name : {"a", "b"}) std::filesystem::remove(u.host(1, name));
    u.remount();
    const IndexSweep swept = u.verbs().sweep_indexes();
    CHECK(swept.removed == 0);
    CHECK(swept.stale == 1);
    CHECK(u.warnings.size() == 1);
    CHECK(host_read(index_entries(u).at(0)) == "new");
}

}  // namespace plyfs::test
