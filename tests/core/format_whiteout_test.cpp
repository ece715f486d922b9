// SPDX-License-Identifier: GPL-2.0-or-later
//
// Whiteouts and opaque directories: what the kernel's overlayfs writes is recognised, and what is
// written here makes it show the right tree.
#include "format/whiteout.h"

#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "core/host_files.h"
#include "core/overlay_mount.h"
#include "format/sweep.h"
#include "format/temporary_name.h"
#include "format/whiteout_maker.h"
#include "sys/fault.h"
#include "sys/statx.h"

namespace plyfs::test {
namespace {

using format::DirectoryMarks;
using format::MarkFormat;
using format::MarkRules;
using format::Namespace;
using format::Sighting;
using format::WhiteoutKind;
using format::WhiteoutMaker;
using Names = std::vector<std::string>;

Sighting::Kind look(const OverlayMount& layers, const std::string& directory,
                    const std::string& name, const MarkRules& rules = {}) {
    const UniqueFd parent = layers.open(directory);
    const DirectoryMarks marks = format::directory_marks(parent.get(), rules).value();
    return format::look(parent.get(), *Name::from(name), marks, rules).value().kind;
}

DirectoryMarks marks_of(const OverlayMount& layers, const std::string& directory,
                        const MarkRules& rules = {}) {
    return format::directory_marks(layers.open(directory).get(), rules).value();
}

void set(const OverlayMount& layers, const std::string& object, const char* name,
         std::string_view value) {
    REQUIRE(::setxattr(layers.path(object).c_str(), name, value.data(), value.size(), 0) == 0);
}

MarkFormat written_as(WhiteoutKind kind, Namespace names = Namespace::Trusted) {
    return {.names = names, .whiteout = kind};
}

}  // namespace

TEST_CASE("what the kernel deletes is a whiteout", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/gone");
    layers.make_file("lower/kept");
    layers.mount();
    REQUIRE(::unlink(layers.path("merged/gone").c_str()) == 0);
    layers.unmount();
    CHECK(look(layers, "upper", "gone") == Sighting::Kind::Whiteout);
    CHECK(look(layers, "upper", "kept") == Sighting::Kind::Absent);
    CHECK(look(layers, "lower", "kept") == Sighting::Kind::Object);
}

TEST_CASE("a directory that the kernel made over a deleted one is opaque", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    layers.make_file("lower/d/old");
    const bool user = GENERATE(false, true);
    layers.mount(user ? "userxattr" : "");
    REQUIRE(::unlink(layers.path("merged/d/old").c_str()) == 0);
    REQUIRE(::rmdir(layers.path("merged/d").c_str()) == 0);
    REQUIRE(::mkdir(layers.path("merged/d").c_str(), 0755) == 0);
    layers.unmount();
    CHECK(marks_of(layers, "upper/d").opaque);
    CHECK(marks_of(layers, "upper/d", format::kernel_rules(Namespace::User)).opaque == user);
    CHECK(marks_of(layers, "upper/d", format::kernel_rules(Namespace::Trusted)).opaque == !user);
    CHECK_FALSE(marks_of(layers, "upper").opaque);
}

TEST_CASE("every form of an opaque mark is read", "[format]") {
    const OverlayMount layers;
    layers.make_directory("upper/d");
    SECTION("user.fuseoverlayfs.opaque") {
        set(layers, "upper/d", "user.fuseoverlayfs.opaque", "y");
    }
    SECTION("user.overlay.opaque") {
        set(layers, "upper/d", "user.overlay.opaque", "y");
    }
    SECTION("trusted.overlay.opaque") {
        set(layers, "upper/d", "trusted.overlay.opaque", "y");
    }
    SECTION(".wh..wh..opq") {
        layers.make_file("upper/d/.wh..wh..opq", "");
    }
    CHECK(marks_of(layers, "upper/d") == DirectoryMarks{.opaque = true});
    constexpr MarkRules kNone{false, false, false, false};
    CHECK(marks_of(layers, "upper/d", kNone) == DirectoryMarks{});
}

TEST_CASE("other values of an opaque mark mean nothing", "[format]") {
    const OverlayMount layers;
    layers.make_directory("upper/d");
    const std::string value = GENERATE(as<std::string>{}, "", "n", "yy", "Y", std::string("y\0", 2),
                                       std::string(300, 'y'));
    set(layers, "upper/d", "trusted.overlay.opaque", value);
    CHECK(marks_of(layers, "upper/d") == DirectoryMarks{});
    set(layers, "upper/d", "user.overlay.opaque", "y");
    CHECK(marks_of(layers, "upper/d").opaque);
}

TEST_CASE("an opaque mark makes the kernel hide the lower directory", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    layers.make_file("lower/d/hidden");
    layers.make_directory("upper/d");
    layers.make_file("upper/d/shown");
    const Namespace names = GENERATE(Namespace::Trusted, Namespace::User);
    REQUIRE(format::set_opaque(layers.open("upper/d").get(), {.names = names}));
    layers.mount(names == Namespace::User ? "userxattr" : "");
    CHECK(layers.names("merged/d") == Names{"shown"});
}

TEST_CASE("a whiteout makes the kernel hide the lower object", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_file("lower/absent");
    layers.make_file("lower/replaced");
    layers.make_directory("lower/directory");
    layers.make_file("lower/shown");
    layers.make_file("upper/replaced");
    layers.make_directory("upper/directory");
    layers.make_directory("work/work");
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work/work");

    WhiteoutMaker maker(work.get(), written_as(WhiteoutKind::Device));
    CHECK(maker.place(upper.get(), *Name::from("absent")));
    CHECK(maker.replace(upper.get(), *Name::from("replaced")));
    const std::string victim = maker.exchange(upper.get(), *Name::from("directory")).value();
    CHECK(::rmdir((std::filesystem::path(layers.path("work")) / "work" / victim).c_str()) == 0);
    CHECK(host_stat(layers.path("upper/absent")).st_ino ==
          host_stat(layers.path("upper/directory")).st_ino);
    CHECK(host_stat(layers.path("upper/absent")).st_nlink == 4);
    CHECK(maker.release());
    CHECK(layers.names("work/work").empty());
    CHECK(look(layers, "upper", "replaced") == Sighting::Kind::Whiteout);

    layers.mount();
    CHECK(layers.names("merged") == Names{"shown"});
}

TEST_CASE("the kernel believes a whiteout as a file in a lower layer", "[format][overlayfs]") {
    OverlayMount layers;
    layers.make_directory("lower/d");
    layers.make_file("lower/d/gone");
    layers.make_file("lower/d/kept");
    layers.make_directory("upper/d");
    const Namespace names = GENERATE(Namespace::Trusted, Namespace::User);
    const UniqueFd directory = layers.open("upper/d");
    const UniqueFd work = layers.open("work");
    WhiteoutMaker maker(work.get(), written_as(WhiteoutKind::XattrFile, names));
    REQUIRE(maker.place(directory.get(), *Name::from("gone")));
    CHECK(marks_of(layers, "upper/d") == DirectoryMarks{.whiteout_files = true});
    CHECK(look(layers, "upper/d", "gone") == Sighting::Kind::Whiteout);
    layers.mount_layers("upper:lower", names == Namespace::User ? "userxattr" : "");
    CHECK(layers.names("merged/d") == Names{"kept"});
    CHECK_FALSE(exists(layers.path("merged/d/gone")));
}

TEST_CASE("an empty file with the attribute is a whiteout only where its directory says so",
          "[format]") {
    const OverlayMount layers;
    layers.make_file("lower/f", "");
    layers.make_file("lower/full");
    set(layers, "lower/f", "trusted.overlay.whiteout", "");
    set(layers, "lower/full", "trusted.overlay.whiteout", "");
    CHECK(look(layers, "lower", "f") == Sighting::Kind::Object);
    set(layers, "lower", "trusted.overlay.opaque", "x");
    CHECK(look(layers, "lower", "f") == Sighting::Kind::Whiteout);
    CHECK(look(layers, "lower", "full") == Sighting::Kind::Object);
    CHECK(look(layers, "lower", "f", format::kernel_rules(Namespace::User)) ==
          Sighting::Kind::Object);
}

TEST_CASE("a whiteout as a file that was replaced meanwhile is stale", "[format]") {
    const OverlayMount layers;
    layers.make_file("upper/f", "");
    const UniqueFd upper = layers.open("upper");
    const Name name = *Name::from("f");
    const Attributes before = sys::stat_at(upper.get(), name).value();
    layers.make_file("upper/g", "");
    REQUIRE(::rename(layers.path("upper/g").c_str(), layers.path("upper/f").c_str()) == 0);
    CHECK(format::is_whiteout(upper.get(), name, before, {.whiteout_files = true}, {}).error() ==
          ESTALE);
}

TEST_CASE("a file `.wh.NAME` is a whiteout, and no name of the union", "[format]") {
    const OverlayMount layers;
    layers.make_file("upper/.wh.gone", "");
    layers.make_file("upper/.wh.both", "");
    layers.make_file("upper/both");
    CHECK(look(layers, "upper", "gone") == Sighting::Kind::Whiteout);
    CHECK(look(layers, "upper", "both") == Sighting::Kind::Object);
    CHECK(look(layers, "upper", ".wh.gone") == Sighting::Kind::Absent);
    const MarkRules plain = format::kernel_rules(Namespace::Trusted);
    CHECK(look(layers, "upper", "gone", plain) == Sighting::Kind::Absent);
    CHECK(look(layers, "upper", ".wh.gone", plain) == Sighting::Kind::Object);
}

TEST_CASE("a directory beside its own `.wh.NAME` is opaque", "[format]") {
    const OverlayMount layers;
    layers.make_directory("upper/d");
    const UniqueFd upper = layers.open("upper");
    const UniqueFd directory = layers.open("upper/d");
    const auto marks = [&](const MarkRules& rules) {
        return format::marks_of_child(upper.get(), *Name::from("d"), directory.get(), rules)
            .value();
    };
    CHECK_FALSE(marks({}).opaque);
    layers.make_file("upper/.wh.d", "");
    CHECK(marks({}).opaque);
    CHECK_FALSE(marks(format::kernel_rules(Namespace::Trusted)).opaque);
}

TEST_CASE("whiteouts as `.wh.NAME` are placed, replace and exchange", "[format]") {
    const OverlayMount layers;
    layers.make_file("upper/file");
    layers.make_directory("upper/directory");
    layers.make_file("upper/directory/inside");
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    WhiteoutMaker maker(work.get(), {.names = {}, .whiteout = WhiteoutKind::DotFile});
    CHECK(maker.place(upper.get(), *Name::from("absent")));
    CHECK(maker.place(upper.get(), *Name::from("absent")));  // is what was asked for
    CHECK(maker.replace(upper.get(), *Name::from("directory")).error() == EISDIR);
    CHECK(look(layers, "upper", "directory") == Sighting::Kind::Object);
    CHECK_FALSE(exists(layers.path("upper/.wh.directory")));
    CHECK(maker.replace(upper.get(), *Name::from("file")));
    const std::string victim = maker.exchange(upper.get(), *Name::from("directory")).value();
    CHECK(exists(layers.path("work/" + victim + "/inside")));
    CHECK(layers.names("upper") == Names{".wh.absent", ".wh.directory", ".wh.file"});
    CHECK(host_stat(layers.path("upper/.wh.file")).st_nlink == 4);

    CHECK(format::remove_dot_whiteout(upper.get(), *Name::from("absent")));
    CHECK(format::remove_dot_whiteout(upper.get(), *Name::from("absent")));
    CHECK(look(layers, "upper", "absent") == Sighting::Kind::Absent);
}

TEST_CASE("a directory without attributes is made opaque by a file in it", "[format]") {
    const OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    CHECK(format::set_opaque(upper.get(), {.names = {}}));
    CHECK(format::set_opaque(upper.get(), {.names = {}}));
    CHECK(layers.names("upper") == Names{".wh..wh..opq"});
    CHECK(marks_of(layers, "upper").opaque);
}

TEST_CASE("placing a whiteout where an object is fails and changes nothing", "[format]") {
    const OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    const WhiteoutKind kind = GENERATE(WhiteoutKind::Device, WhiteoutKind::XattrFile);
    layers.make_file("upper/there", "contents");
    WhiteoutMaker maker(work.get(), written_as(kind));
    CHECK(maker.place(upper.get(), *Name::from("there")).error() == EEXIST);
    CHECK(host_read(layers.path("upper/there")) == "contents");
    layers.make_directory("upper/directory");
    CHECK(maker.replace(upper.get(), *Name::from("directory")).error() == EISDIR);
    CHECK(layers.names("work").size() == 1);  // the shared inode; no temporary is left
}

TEST_CASE("a full file system can still delete", "[format]") {
    const OverlayMount layers(FileSystemKind::Ext4);
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    const WhiteoutKind kind =
        GENERATE(WhiteoutKind::Device, WhiteoutKind::XattrFile, WhiteoutKind::DotFile);
    layers.make_file("upper/victim");
    WhiteoutMaker maker(work.get(), written_as(kind));
    REQUIRE(maker.prepare());
    // Every inode is taken.
    int made = 0;
    for (;; ++made) {
        const std::string name = layers.path("merged/" + std::to_string(made));
        if (::mknod(name.c_str(), S_IFREG | 0600, 0) != 0) break;
    }
    REQUIRE(errno == ENOSPC);
    CHECK(maker.place(upper.get(), *Name::from("absent")));
    CHECK(maker.replace(upper.get(), *Name::from("victim")));
    CHECK(look(layers, "upper", "victim") == Sighting::Kind::Whiteout);
}

TEST_CASE("an inode that can have no more links gives way to another one", "[format]") {
    const OverlayMount layers(FileSystemKind::Ext4);
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    WhiteoutMaker maker(work.get(), written_as(WhiteoutKind::Device));
    // overlayfs and ext4: EXT4_LINK_MAX is 65,000, the name in the work directory included.
    constexpr int kLinks = 65000;
    for (int number = 0; number < kLinks + 5; ++number) {
        const std::string name = std::to_string(number);
        if (!maker.place(upper.get(), *Name::from(name))) FAIL(name);
    }
    CHECK(host_stat(layers.path("upper/0")).st_nlink == kLinks - 1);
    CHECK(host_stat(layers.path("upper/" + std::to_string(kLinks))).st_nlink == 7);
}

TEST_CASE("a deletion that is cut short at any call shows the name old or hidden",
          "[format][fault]") {
    const OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    const WhiteoutKind kind =
        GENERATE(WhiteoutKind::Device, WhiteoutKind::XattrFile, WhiteoutKind::DotFile);
    const auto action = GENERATE(fault::Action::Error, fault::Action::Dead);
    const bool by_exchange = GENERATE(false, true);
    bool done = false;
    for (std::uint64_t nth = 1; !done; ++nth) {
        layers.make_file("upper/victim");
        {
            WhiteoutMaker maker(work.get(), written_as(kind));
            fault::arm(action, nth, EIO);
            done = by_exchange ? maker.exchange(upper.get(), *Name::from("victim")).has_value()
                               : maker.replace(upper.get(), *Name::from("victim")).has_value();
            fault::disarm();
        }
        INFO(nth);
        const Sighting::Kind seen = look(layers, "upper", "victim");
        CHECK(seen == (done ? Sighting::Kind::Whiteout : Sighting::Kind::Object));
        REQUIRE(format::sweep(work.get(), format::is_temporary_name));
        CHECK(layers.names("work").empty());
        for (const char* const name : {"upper/victim", "upper/.wh.victim"})
            (void)::unlink(layers.path(name).c_str());
    }
}

TEST_CASE("threads share one whiteout", "[format]") {
    const OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    WhiteoutMaker maker(work.get(), written_as(WhiteoutKind::Device));
    constexpr int kEach = 200;
    std::atomic<int> placed = 0;
    std::vector<std::thread> threads;
    threads.reserve(4);
    for (int thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&, thread] {
            for (int number = 0; number < kEach; ++number) {
                const std::string name = std::to_string(thread * kEach + number);
                if (maker.place(upper.get(), *Name::from(name))) ++placed;
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    CHECK(placed == 4 * kEach);
    CHECK(host_stat(layers.path("upper/0")).st_nlink == 4 * kEach + 1);
}

TEST_CASE("a swept work directory does not stop deletions", "[format]") {
    const OverlayMount layers;
    const UniqueFd upper = layers.open("upper");
    const UniqueFd work = layers.open("work");
    WhiteoutMaker maker(work.get(), written_as(WhiteoutKind::Device));
    REQUIRE(maker.prepare());
    REQUIRE(::unlink(layers.path("work/" + layers.names("work").front()).c_str()) == 0);
    CHECK(maker.place(upper.get(), *Name::from("name")));
}

}  // namespace plyfs::test
