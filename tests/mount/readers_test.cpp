// SPDX-License-Identifier: GPL-2.0-or-later
//
// What readers of a read-only branch's file read once it is copied up and changed: the change
// (follow), or what they opened (snapshot). Whatever they do, the branch's file stays as it is.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <catch2/generators/catch_generators_range.hpp>
#include <cstdint>
#include <functional>
#include <vector>

#include "mount/files.h"
#include "mount/layered.h"
#include "mount/mapping.h"
#include "mount/resources.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

constexpr std::size_t kReadSize = 20'001;

std::string lower_text() {
    std::string text(kReadSize, 'l');
    text.back() = '!';
    return text;
}

// A file with two names, one with one.
void make_files(const std::string& lower) {
    put(lower + "/file", lower_text());
    REQUIRE(outcome(::link((lower + "/file").c_str(), (lower + "/linked").c_str())) == kOk);
    put(lower + "/single", lower_text());
    REQUIRE(set_xattr(lower + "/file", "user.name", "value") == kOk);
}

Stacking any_stacking(bool snapshot) {
    std::vector<Stacking> fitting;
    for (const Stacking& stacking : stackings())
        if (stacking.snapshot == snapshot) fitting.push_back(stacking);
    Stacking stacking = GENERATE_COPY(from_range(fitting));
    UNSCOPED_INFO(stacking.name);
    return stacking;
}

// Names lead to the file as it is now.
void check_names(const Layered& layered, const std::vector<const char*>& found,
                 const std::string& text) {
    for (const char* const name : found) {
        CAPTURE(name);
        CHECK(eventually([&] { return (content(layered.path(name)) == text); }));
        CHECK(eventually(
            [&] { return std::cmp_equal(status(layered.path(name)).st_size, text.size()); }));
    }
}

TEST_CASE("readers that follow read what is written to the copy", "[readers][passthrough]") {
    const bool small = GENERATE(false, true);
    const Layered layered(any_stacking(false), make_files,
                          small ? "passthrough.small-files=1M" : "");
    const std::string path = layered.path("file");
    const bool mapping_stays = !small && layered.moves_open_files();
    CAPTURE(small, mapping_stays);
    const UniqueFd reader = open_file(path, O_RDONLY);
    const Mapping mapping(reader.get(), kReadSize, PROT_READ);
    REQUIRE(mapping.valid());
    REQUIRE((mapping.text() == lower_text()));
    std::string expected = lower_text();
    {
        const UniqueFd writer = open_file(path, O_RDWR);
        REQUIRE(outcome(writer.get()) == kOk);
        REQUIRE(::pwrite(writer.get(), "written", 7, 5000) == 7);
        expected.replace(5000, 7, "written");
        CHECK((content(reader.get()) == expected));
        CHECK((mapping.text() == (mapping_stays ? lower_text() : expected)));
        // One that is made now has the copy, also by the old descriptor.
        const Mapping later(reader.get(), kReadSize, PROT_READ);
        REQUIRE(later.valid());
        CHECK((later.text() == expected));
        const Mapping written(writer.get(), kReadSize, PROT_READ | PROT_WRITE);
        REQUIRE(written.valid());
        written.bytes()[100] = 'm';
        expected[100] = 'm';
        CHECK((content(reader.get()) == expected));
        CHECK((mapping.text() == (mapping_stays ? lower_text() : expected)));
        CHECK((later.text() == expected));
        REQUIRE(::pwrite(writer.get(), "more", 4, kReadSize) == 4);
        expected += "more";
    }
    CHECK((content(reader.get()) == expected));
    CHECK(std::cmp_equal(status(reader.get()).st_size, expected.size()));
    check_names(layered, {"file", "linked"}, expected);
    REQUIRE(outcome(::truncate(path.c_str(), 10)) == kOk);
    CHECK(content(reader.get()) == expected.substr(0, 10));
    CHECK(status(reader.get()).st_size == 10);
    CHECK(layered.lower_changes() == "");
}

// A change of `file`, and what its names have after it.
struct Change {
    const char* what;
    Outcome (*make)(const Layered& layered);
    std::string after;
    std::vector<const char*> names;
};

const std::vector<Change>& changes() {
    static const auto overwrite = [](const std::string& path, int flags) {
        const UniqueFd file = open_file(path, flags);
        return file ? write_all(file.get(), "new") : Outcome(errno);
    };
    static const std::string written = "new" + lower_text().substr(3);
    static const std::vector<Change> all{
        {"written",
         [](auto& in) { return overwrite(in.path("file"), O_RDWR); },
         written,
         {"file", "linked"}},
        {"written by its other name",
         [](auto& in) { return overwrite(in.path("linked"), O_WRONLY); },
         written,
         {"file", "linked"}},
        {"appended to",
         [](auto& in) { return overwrite(in.path("file"), O_WRONLY | O_APPEND); },
         lower_text() + "new",
         {"file", "linked"}},
        {"emptied",
         [](auto& in) { return overwrite(in.path("file"), O_WRONLY | O_TRUNC); },
         "new",
         {"file", "linked"}},
        {"truncated",
         [](auto& in) { return outcome(::truncate(in.path("file").c_str(), 5)); },
         "lllll",
         {"file", "linked"}},
        {"mapped and written",
         [](auto& in) {
             const UniqueFd file = open_file(in.path("file"), O_RDWR);
             const Mapping mapping(file.get(), kReadSize, PROT_READ | PROT_WRITE);
             if (!mapping.valid()) return Outcome(errno);
             written.copy(mapping.bytes(), 3);
             return kOk;
         },
         written,
         {"file", "linked"}},
        {"renamed and written",
         [](auto& in) {
             return then(outcome(::rename(in.path("file").c_str(), in.path("new").c_str())),
                         [&] { return overwrite(in.path("new"), O_WRONLY); });
         },
         written,
         {"new", "linked"}},
        {"given another mode, then written",
         [](auto& in) {
             return then(outcome(::chmod(in.path("file").c_str(), 0600)),
                         [&] { return overwrite(in.path("file"), O_RDWR); });
         },
         written,
         {"file", "linked"}},
        {"removed, its other name written",
         [](auto& in) {
             return then(outcome(::unlink(in.path("file").c_str())),
                         [&] { return overwrite(in.path("linked"), O_RDWR); });
         },
         written,
         {"linked"}},
        {"removed and made again",
         [](auto& in) {
             return then(outcome(::unlink(in.path("file").c_str())),
                         [&] { return overwrite(in.path("file"), O_RDWR | O_CREAT | O_EXCL); });
         },
         "new",
         {"file"}},
        {"replaced",
         [](auto& in) {
             return then(overwrite(in.path("other"), O_WRONLY | O_CREAT), [&] {
                 return outcome(::rename(in.path("other").c_str(), in.path("file").c_str()));
             });
         },
         "new",
         {"file"}},
    };
    return all;
}

TEST_CASE("readers that keep what they opened keep it", "[readers][passthrough]") {
    const Stacking stacking = any_stacking(true);
    for (const Change& change : changes()) {
        CAPTURE(change.what);
        // What names lead to is told by notifications: nothing here becomes right by waiting.
        const Layered layered(stacking, make_files, "cache.entry=100,cache.attr=100");
        (void)status(layered.path("linked"));
        const UniqueFd early = open_file(layered.path("file"), O_RDONLY);
        const UniqueFd late = open_file(layered.path("linked"), O_RDONLY);
        const Mapping mapping(late.get(), kReadSize, PROT_READ);
        REQUIRE(mapping.valid());
        CHECK(change.make(layered) == kOk);
        for (const int reader : {early.get(), late.get()}) {
            CHECK((content(reader) == lower_text()));
            CHECK(std::cmp_equal(status(reader).st_size, kReadSize));
            CHECK(std::cmp_equal(::lseek(reader, 0, SEEK_END), kReadSize));
        }
        CHECK((mapping.text() == lower_text()));
        check_names(layered, change.names, change.after);
        CHECK(layered.lower_changes() == "");
    }
}

TEST_CASE("a reader who comes after the change reads it", "[readers][passthrough]") {
    const Layered layered(any_stacking(true), make_files);
    const UniqueFd old = open_file(layered.path("file"), O_RDONLY);
    put(layered.path("file"), "new");
    const UniqueFd current = open_file(layered.path("file"), O_RDONLY);
    const Mapping mapping(current.get(), 3, PROT_READ);
    REQUIRE(mapping.valid());
    CHECK(content(current.get()) == "new");
    put(layered.path("file"), "NEW");
    CHECK(content(current.get()) == "NEW");
    CHECK((content(old.get()) == lower_text()));
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("readers are chosen for each branch", "[readers][config]") {
    const Branches branches{Ext4, Ext4, Tmpfs};
    put(branches.path(1, "one"), "lower");
    put(branches.path(2, "two"), "lower");
    const bool first = GENERATE(true, false);
    const std::string readers[] = {first ? "snapshot" : "follow", first ? "follow" : "snapshot"};
    const std::string file = make_scratch_directory() + "/plyfs.yaml";
    put(file, "version: 1\nreaders: " + readers[0] +
                  "\nbranches:\n"
                  "  - " +
                  branches[0] +
                  "\n"
                  "  - path: " +
                  branches[1] +
                  "\n    mode: ro\n"
                  "  - path: " +
                  branches[2] + "\n    mode: ro\n    readers: " + readers[1] + "\n");
    const Mount mount(file);
    for (const char* const name : {"one", "two"}) {
        CAPTURE(name, first);
        const UniqueFd reader = open_file(mount.path(name), O_RDONLY);
        put(mount.path(name), "upper");
        const bool keeps = (name == std::string("one")) == first;
        CHECK(content(reader.get()) == (keeps ? "lower" : "upper"));
        CHECK(content(mount.path(name)) == "upper");
    }
}

// A way to a file that takes no walk of its name, and keeps it while this lives.
class Way {
public:
    enum class Kind : std::uint8_t { Descriptor, Bind, Handle };

    Way(Kind kind, const Layered& layered, const std::string& path)
        : kind_(kind), object_(open_file(path, O_PATH)) {
        if (kind == Kind::Bind) {
            target_ = make_scratch_directory() + "/mountpoint";
            put(target_, "");
            REQUIRE(outcome(::mount(path.c_str(), target_.c_str(), nullptr, MS_BIND, nullptr)) ==
                    kOk);
        } else if (kind == Kind::Handle) {
            root_ = open_file(layered.mount().path(), O_RDONLY | O_DIRECTORY);
            int mount_id = 0;
            handle()->handle_bytes = MAX_HANDLE_SZ;
            REQUIRE(outcome(::name_to_handle_at(AT_FDCWD, path.c_str(), handle(), &mount_id, 0)) ==
                    kOk);
        }
    }
    Way(const Way&) = delete;
    Way& operator=(const Way&) = delete;
    ~Way() {
        if (!target_.empty()) ::umount2(target_.c_str(), MNT_DETACH);
    }

    UniqueFd open(int flags) {
        if (kind_ == Kind::Handle)
            return UniqueFd(::open_by_handle_at(root_.get(), handle(), flags | O_CLOEXEC));
        if (kind_ == Kind::Bind) return open_file(target_, flags);
        return open_file("/proc/self/fd/" + std::to_string(object_.get()), flags);
    }

private:
    file_handle* handle() { return reinterpret_cast<file_handle*>(handle_.data()); }

    Kind kind_;
    UniqueFd object_;
    UniqueFd root_;
    std::string target_;
    alignas(file_handle) std::array<char, sizeof(file_handle) + MAX_HANDLE_SZ> handle_{};
};

Way::Kind any_way() {
    return GENERATE(Way::Kind::Descriptor, Way::Kind::Bind, Way::Kind::Handle);
}

TEST_CASE("a file that has readers who keep it is not written where no path leads",
          "[readers][passthrough]") {
    const Layered layered(any_stacking(true), make_files);
    Way way(any_way(), layered, layered.path("single"));
    UniqueFd reader = open_file(layered.path("single"), O_RDONLY);
    const auto flags = GENERATE(O_RDWR, O_WRONLY | O_TRUNC);
    REQUIRE(outcome(reader.get()) == kOk);
    for (const int other : {flags, O_WRONLY | O_APPEND, O_WRONLY})
        CHECK(outcome(way.open(other).get()) == ETXTBSY);
    // Nor is it open for anything else in the meantime.
    CHECK((content(way.open(O_RDONLY).get()) == lower_text()));
    CHECK((content(reader.get()) == lower_text()));
    if ((flags & O_TRUNC) != 0) put(layered.path("single"), "new");
    CHECK(outcome(way.open(flags).get()) == ETXTBSY);
    reader.reset();
    UniqueFd writer;
    REQUIRE(eventually([&] {
        writer = way.open(flags);
        return static_cast<bool>(writer);
    }));
    CHECK(write_all(writer.get(), "by no path") == kOk);
    CHECK(content(layered.path("single")).contains("by no path"));
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("a file that has readers who follow is written where no path leads",
          "[readers][passthrough]") {
    const Layered layered(any_stacking(false), make_files);
    Way way(any_way(), layered, layered.path("single"));
    const UniqueFd reader = open_file(layered.path("single"), O_RDONLY);
    const UniqueFd writer = way.open(O_RDWR);
    REQUIRE(outcome(writer.get()) == kOk);
    CHECK(write_all(writer.get(), "by no path") == kOk);
    CHECK(content(reader.get()).starts_with("by no path"));
    CHECK(content(layered.path("single")).starts_with("by no path"));
    CHECK(layered.lower_changes() == "");
}

// The names that were not opened lead to the old node until the kernel is told.
TEST_CASE("a file is written by many of its names in turn", "[readers][passthrough]") {
    constexpr int kNameCount = 60;
    const auto name = [](int i) { return "name" + std::to_string(i); };
    const Stacking stacking = any_stacking(GENERATE(true, false));
    const Layered layered(
        stacking,
        [&](const std::string& lower) {
            put(lower + "/name0", lower_text());
            for (int i = 1; i < kNameCount; ++i)
                REQUIRE(::link((lower + "/name0").c_str(), (lower + "/" + name(i)).c_str()) == 0);
        },
        "cache.entry=100,cache.attr=100");
    for (int i = 0; i < kNameCount; ++i) (void)status(layered.path(name(i)));
    const UniqueFd reader = open_file(layered.path("name0"), O_RDONLY);
    const bool truncates = GENERATE(false, true);
    for (int i = 0; i < kNameCount; ++i) {
        CAPTURE(i);
        const std::string path = layered.path(name(i));
        if (truncates) {
            REQUIRE(outcome(::truncate(path.c_str(), i)) == kOk);
        } else {
            REQUIRE(try_open(path, i % 2 == 0 ? O_WRONLY : O_RDWR | O_APPEND) == kOk);
        }
    }
    if (stacking.snapshot) {
        CHECK((content(reader.get()) == lower_text()));
        CHECK(std::cmp_equal(status(reader.get()).st_size, kReadSize));
    }
    CHECK(layered.lower_changes() == "");
}

TEST_CASE("reading changes no access time of a read-only branch", "[readers][passthrough]") {
    const auto* const options =
        GENERATE("readers=follow", "readers=snapshot", "readers=follow,passthrough.small-files=1M",
                 "readers=snapshot,passthrough.io=off");
    CAPTURE(options);
    require_sandbox();
    const LoopFileSystem upper(Ext4, 16 << 20);
    const LoopFileSystem lower(Ext4, 16 << 20);
    REQUIRE(outcome(::mount(nullptr, lower.path().c_str(), nullptr, MS_REMOUNT | MS_STRICTATIME,
                            nullptr)) == kOk);
    make_files(lower.path());
    const Tree before = tree_of(lower.path(), Detail::Everything);
    {
        const Mount mount(upper.path() + "=RW:" + lower.path() + "=RO", options);
        const UniqueFd reader = open_file(mount.path("file"), O_RDONLY);
        const Mapping mapping(reader.get(), kReadSize, PROT_READ);
        REQUIRE(mapping.valid());
        for (int i = 0; i < 3; ++i) {
            CHECK((content(mount.path("single")) == lower_text()));
            CHECK((content(reader.get()) == lower_text()));
            CHECK((mapping.text() == lower_text()));
            REQUIRE(::chmod(mount.path("file").c_str(), 0600) == 0);
        }
        put(mount.path("file"), "new");
    }
    CHECK(difference(before, tree_of(lower.path(), Detail::Everything)) == "");
}

}  // namespace
}  // namespace plyfs::test
