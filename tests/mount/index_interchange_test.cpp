// SPDX-License-Identifier: GPL-2.0-or-later
//
// What plyfs keeps in the index, in copies without data and as numbers of copies is continued by
// the kernel's overlayfs, and the other way round.
#include <dirent.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <map>
#include <memory>

#include "mount/files.h"
#include "mount/layers.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

// The layers mounted by one of the two until this ends.
class Mounted {
public:
    Mounted(const Layers& layers, bool by_kernel, bool userxattr = false)
        : path_(make_scratch_directory()) {
        // With userxattr the kernel keeps no copies without data.
        const std::string metacopy = userxattr ? ",userxattr" : ",metacopy=on";
        if (by_kernel) {
            const std::string options =
                layers.options() + metacopy + ",index=on" + (userxattr ? "" : ",redirect_dir=on");
            REQUIRE(outcome(::mount("overlay", path_.c_str(), "overlay", 0, options.c_str())) ==
                    kOk);
            return;
        }
        const Ran ran = layers.mount(layers.options() + metacopy, path_);
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        plyfs_ = std::make_unique<Mount>(Mount::adopt(path_));
    }
    ~Mounted() {
        if (!plyfs_) CHECK(outcome(::umount2(path_.c_str(), UMOUNT_NOFOLLOW)) == kOk);
    }
    Mounted(const Mounted&) = delete;
    Mounted& operator=(const Mounted&) = delete;

    std::string path(const std::string& name = "") const { return path_ + '/' + name; }

private:
    std::string path_;
    std::unique_ptr<Mount> plyfs_;
};

void check_one_file(const Mounted& mount, const std::vector<std::string>& names,
                    const std::string& text) {
    for (const std::string& name : names) {
        INFO(name);
        CHECK(content(mount.path(name)) == text);
        CHECK(status(mount.path(name)).st_nlink == names.size());
        CHECK(status(mount.path(name)).st_ino == status(mount.path(names.front())).st_ino);
    }
}

// st_ino by path. Each d_ino must be the same.
std::map<std::string, ino_t> numbers_below(const std::string& root,
                                           const std::string& prefix = "") {
    std::map<std::string, ino_t> numbers;
    const std::string directory = root + prefix;
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::opendir(directory.c_str()), ::closedir);
    REQUIRE(stream);
    while (const dirent* const entry = ::readdir(stream.get())) {
        const std::string name = entry->d_name;
        if (name == "." || name == "..") continue;
        INFO(prefix + name);
        const struct stat found = status(directory + name);
        CHECK(entry->d_ino == found.st_ino);
        numbers.emplace(prefix + name, found.st_ino);
        if (S_ISDIR(found.st_mode)) numbers.merge(numbers_below(root, prefix + name + '/'));
    }
    return numbers;
}

TEST_CASE("hard links and copies without data go to overlayfs and back",
          "[overlay_form][interchange]") {
    require_sandbox();
    const Layers layers;
    put(layers.path("lower/a"), "lower");
    for (const char* const name : {"lower/b", "lower/directory/c"}) {
        REQUIRE(outcome(::link(layers.path("lower/a").c_str(), layers.path(name).c_str())) == kOk);
    }
    const std::string big(300'000, 'x');
    put(layers.path("lower/big"), big);
    const bool kernel_first = GENERATE(false, true);
    {
        const Mounted mount(layers, kernel_first);
        put(mount.path("b"), "new");
        check_one_file(mount, {"a", "b", "directory/c"}, "new");
        REQUIRE(outcome(::unlink(mount.path("a").c_str())) == kOk);
        REQUIRE(outcome(::chmod(mount.path("big").c_str(), 0600)) == kOk);
        REQUIRE(outcome(::rename(mount.path("big").c_str(), mount.path("moved").c_str())) == kOk);
    }
    CHECK(status(layers.path("upper/moved")).st_blocks <= 8);  // of its attributes
    {
        const Mounted mount(layers, !kernel_first);
        check_one_file(mount, {"b", "directory/c"}, "new");
        REQUIRE(outcome(::link(mount.path("directory/c").c_str(), mount.path("d").c_str())) == kOk);
        check_one_file(mount, {"b", "directory/c", "d"}, "new");
        CHECK((content(mount.path("moved")) == big));
        CHECK(status(mount.path("moved")).st_blocks == status(layers.path("lower/big")).st_blocks);
        REQUIRE(outcome(::chmod(mount.path("moved").c_str(), 0640)) == kOk);
    }
    CHECK(status(layers.path("upper/moved")).st_blocks <= 8);  // of its attributes
    {
        const Mounted mount(layers, kernel_first);
        check_one_file(mount, {"b", "directory/c", "d"}, "new");
        CHECK((content(mount.path("moved")) == big));
        CHECK(mode_of(mount.path("moved")) == 0640);
        REQUIRE(outcome(::truncate(mount.path("moved").c_str(), 3)) == kOk);
        CHECK(content(mount.path("moved")) == "xxx");
    }
    CHECK(content(layers.path("upper/moved")) == "xxx");
    CHECK(content(layers.path("lower/a")) == "lower");
    CHECK((content(layers.path("lower/big")) == big));
}

TEST_CASE("copies keep the numbers that are listed, in plyfs and overlayfs",
          "[overlay_form][interchange]") {
    require_sandbox();
    const bool kernel_first = GENERATE(false, true);
    const bool userxattr = GENERATE(false, true);
    CAPTURE(kernel_first, userxattr);
    const Layers layers;
    for (const char* const name : {"from", "to"})
        make_directory(layers.path("lower/" + std::string(name)));
    for (const char* const name : {"linked", "moved", "over", "one", "exchanged"})
        put(layers.path("lower/from/" + std::string(name)), "lower");
    REQUIRE(outcome(::link(layers.path("lower/from/one").c_str(),
                           layers.path("lower/from/other").c_str())) == kOk);
    put(layers.path("lower/to/hidden"), "lower");
    std::map<std::string, ino_t> numbers;
    {
        const Mounted mount(layers, kernel_first, userxattr);
        const auto path = [&](const std::string& name) { return mount.path(name); };
        const ino_t linked = status(path("from/linked")).st_ino;
        for (const char* const name : {"new", "names", "exchange"}) make_directory(path(name));
        REQUIRE(outcome(::link(path("from/linked").c_str(), path("new/linked").c_str())) == kOk);
        REQUIRE(outcome(::rename(path("from/moved").c_str(), path("to/moved").c_str())) == kOk);
        REQUIRE(outcome(::unlink(path("to/hidden").c_str())) == kOk);
        REQUIRE(outcome(::rename(path("from/over").c_str(), path("to/hidden").c_str())) == kOk);
        REQUIRE(outcome(::link(path("from/one").c_str(), path("names/one").c_str())) == kOk);
        put(path("exchange/own"), "own");
        REQUIRE(outcome(::renameat2(AT_FDCWD, path("exchange/own").c_str(), AT_FDCWD,
                                    path("from/exchanged").c_str(), RENAME_EXCHANGE)) == kOk);
        numbers = numbers_below(mount.path());
        CHECK(numbers.at("new/linked") == linked);
    }
    for (const bool by_kernel : {kernel_first, !kernel_first}) {
        CAPTURE(by_kernel);
        const Mounted mount(layers, by_kernel, userxattr);
        const auto now = numbers_below(mount.path());
        // plyfs and overlayfs make numbers of their own.
        if (by_kernel == kernel_first) CHECK((now == numbers));
        CHECK(now.at("new/linked") == now.at("from/linked"));
    }
}

TEST_CASE("a copy that lost its last name in a crash is swept at a mount",
          "[overlay_form][interchange]") {
    require_sandbox();
    const Layers layers;
    const std::string index = layers.path("work/index");
    put(layers.path("lower/a"), "lower");
    REQUIRE(outcome(::link(layers.path("lower/a").c_str(), layers.path("lower/b").c_str())) == kOk);
    {
        const Mounted mount(layers, false);
        put(mount.path("b"), "new");
    }
    // With one more link the last unlink does not see that it is the last one.
    REQUIRE(names(index).size() == 1);
    const std::string entry = index + '/' + *names(index).begin();
    const std::string hidden = layers.path("upper/hidden");
    REQUIRE(outcome(::link(entry.c_str(), hidden.c_str())) == kOk);
    {
        const Mounted mount(layers, false);
        for (const char* const name : {"a", "b"}) {
            REQUIRE(outcome(::unlink(mount.path(name).c_str())) == kOk);
        }
    }
    REQUIRE(outcome(::unlink(hidden.c_str())) == kOk);
    REQUIRE(names(index).size() == 1);
    const bool by_kernel = GENERATE(false, true);
    {
        const Mounted mount(layers, by_kernel);
        CHECK(names(index).empty());
    }
}

}  // namespace
}  // namespace plyfs::test
