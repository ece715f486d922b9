// SPDX-License-Identifier: GPL-2.0-or-later
//
// The kernel's overlayfs and plyfs over the same layers: random operations must be answered the
// same and leave the same tree. Then the upper directory that one of them wrote is mounted by the
// other, must show the same, and the operations go on. No layer below ever changes.
//
// Left out, because they differ on purpose:
//   directories' st_ino and st_nlink     a merged directory has no one number or count; overlayfs
//                                        shows those of a layer, plyfs those that survive a copy
//                                        on a further branch, and 1
//   attributes user.overlay.*            those of applications are escaped as trusted.overlay.*
//   are,
//                                        since plyfs believes marks in both namespaces; overlayfs
//                                        escapes the one that it is mounted for
//   SUID and SGID of written files       data runs through passthrough with no right to keep them,
//                                        also for root
//   the root's modification time         the work directory comes and goes in it
//   lower hard links                     without an index each copy is a file of its own, and of
//                                        those left below each file system counts its own way
//
// PLYFS_TEST_SEED: the first seed; PLYFS_TEST_SEEDS: how many; PLYFS_TEST_STEPS: operations in each
// of the three rounds of a seed.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <memory>
#include <random>

#include "mount/files.h"
#include "mount/mounted.h"
#include "mount/random_operation.h"
#include "mount/sandbox.h"
#include "mount/tree.h"

namespace plyfs::test {
namespace {

using enum FileSystem;

// Directories of one mount: an upper one with what overlayfs works in, and layers, the first on
// top.
struct LayerNames {
    std::string upper;
    std::string work;
    std::vector<std::string> lower;
};

class OverlayfsMount {
public:
    explicit OverlayfsMount(const LayerNames& layers) : path_(make_scratch_directory()) {
        std::string options =
            "redirect_dir=on,index=off,metacopy=off,xino=auto,upperdir=" + layers.upper +
            ",workdir=" + layers.work + ",lowerdir=";
        for (std::size_t i = 0; i < layers.lower.size(); ++i)
            options.append(i == 0 ? "" : ":").append(layers.lower[i]);
        const Outcome mounted =
            outcome(::mount("overlay", path_.c_str(), "overlay", 0, options.c_str()));
        if (mounted == ENODEV) SKIP("the kernel has no overlayfs");
        REQUIRE(mounted == kOk);
    }
    OverlayfsMount(const OverlayfsMount&) = delete;
    OverlayfsMount& operator=(const OverlayfsMount&) = delete;
    ~OverlayfsMount() {
        CHECK(outcome(::umount2(path_.c_str(), 0)) == kOk);
        CHECK(outcome(::rmdir(path_.c_str())) == kOk);
    }
    const std::string& path() const noexcept { return path_; }

private:
    std::string path_;
};

std::string plyfs_source(const LayerNames& layers) {
    std::string source = layers.upper + "=RW";
    for (const std::string& lower : layers.lower) source += ":" + lower + "=RO";
    return source;
}

// Times that no operation of a test has.
void set_old_times(const std::string& root) {
    time_t second = 1'200'000'000;
    for (const auto& [path, text] : tree_of(root, Detail::Shown)) {
        const std::array<timespec, 2> times{timespec{++second, 5}, timespec{second, second % 1000}};
        REQUIRE(outcome(::utimensat(AT_FDCWD, (root + "/" + path).c_str(), times.data(),
                                    AT_SYMLINK_NOFOLLOW)) == kOk);
    }
}

// A layer with an object of each type. `layer` 0 is the lowest; those above it shadow, hide and
// redirect, as uppers of earlier mounts do.
void fill(const std::string& root, unsigned layer, std::uint64_t seed) {
    const std::string text = "layer " + std::to_string(layer) + "\n";
    for (const char* const directory : {"/a", "/a/b", "/a/b/c"}) make_directory(root + directory);
    put(root + "/a/b/a", text);
    put(root + "/c", text);
    REQUIRE(set_xattr(root + "/c", "user.one", text) == kOk);
    REQUIRE(set_xattr(root + "/a", "user.two", text) == kOk);
    REQUIRE(outcome(::chown((root + "/a/b").c_str(), 1000, 1000)) == kOk);
    REQUIRE(outcome(::chmod((root + "/a/b").c_str(), 02775)) == kOk);
    if (layer == 0) {
        make_directory(root + "/b");
        make_directory(root + "/b/b");
        put(root + "/b/b/c", std::string(70'000, 'x'));
        REQUIRE(outcome(::symlink("c", (root + "/b/c").c_str())) == kOk);
        REQUIRE(outcome(::mkfifo((root + "/a/b/b").c_str(), 0620)) == kOk);
        REQUIRE(outcome(::mknod((root + "/b/a").c_str(), S_IFCHR | 0600, makedev(1, 3))) == kOk);
        put(root + "/a/c", text);
        return;
    }
    if (seed % 2 == 0) REQUIRE(outcome(::mknod((root + "/a/c").c_str(), S_IFCHR, 0)) == kOk);
    if (seed % 3 == 0) REQUIRE(set_xattr(root + "/a/b/c", "trusted.overlay.opaque", "y") == kOk);
    if (seed % 5 < 2) {  // it was moved
        make_directory(root + "/a/a");
        REQUIRE(set_xattr(root + "/a/a", "trusted.overlay.redirect", "/b") == kOk);
        REQUIRE(outcome(::mknod((root + "/b").c_str(), S_IFCHR, 0)) == kOk);
    } else {
        make_directory(root + "/b");
        if (seed % 5 == 2) REQUIRE(set_xattr(root + "/b", "trusted.overlay.opaque", "y") == kOk);
    }
}

// One of the two sets of layers.
class Stack {
public:
    Stack(FileSystem upper, FileSystem lower, unsigned depth, std::uint64_t seed)
        : upper_{upper, upper}, lower_(std::vector<FileSystem>(depth, lower)) {
        layers_.upper = upper_[0];
        layers_.work = upper_[1];
        for (unsigned i = 0; i < depth; ++i) {
            layers_.lower.push_back(lower_[i]);
            fill(lower_[i], depth - 1 - i, seed);
            set_old_times(lower_[i]);
        }
        // The roots are seen as one.
        REQUIRE(outcome(::chmod(layers_.upper.c_str(), 0755)) == kOk);
        for (const std::string& path : layers_.lower)
            states_.push_back(tree_of(path, Detail::Everything));
    }

    const LayerNames& layers() const noexcept { return layers_; }

    void check_lower() const {
        for (std::size_t i = 0; i < states_.size(); ++i)
            CHECK(difference(states_[i], tree_of(layers_.lower[i], Detail::Everything)) == "");
    }

private:
    Branches upper_;
    Branches lower_;
    LayerNames layers_;
    std::vector<Tree> states_;
};

std::string tail(const std::string& log) {
    constexpr std::size_t kEnough = 6000;
    return log.size() > kEnough ? log.substr(log.size() - kEnough) : log;
}

class Comparison {
public:
    Comparison(const std::string& overlayfs, const std::string& plyfs, std::string& log)
        : overlayfs_(overlayfs), plyfs_(plyfs), log_(log) {}

    void run(std::mt19937_64& random, unsigned steps) {
        for (unsigned step = 0; step < steps; ++step) {
            const Operation operation = draw_operation(random);
            log_ += describe(operation);
            const std::string expected = overlayfs_.carry_out(operation);
            log_ += " = " + expected.substr(0, 80) + '\n';
            const std::string found = plyfs_.carry_out(operation);
            INFO(tail(log_));
            REQUIRE(found == expected);
            if (step % 10 == 9) compare();
        }
        overlayfs_.release_all();
        plyfs_.release_all();
        compare();
    }

    Tree compare() {
        Tree expected = tree_of(overlayfs_.root(), Detail::Shown);
        INFO(tail(log_));
        REQUIRE(difference(expected, tree_of(plyfs_.root(), Detail::Shown)) == "");
        return expected;
    }

private:
    OperatedTree overlayfs_;
    OperatedTree plyfs_;
    std::string& log_;
};

// Swaps who mounts which layers, after each round.
void run_seed(FileSystem upper, FileSystem lower, unsigned depth, std::uint64_t seed) {
    constexpr unsigned kSwaps = 3;
    const auto steps = static_cast<unsigned>(from_environment("PLYFS_TEST_STEPS", 60));
    std::mt19937_64 random(seed);
    const Stack one(upper, lower, depth, seed);
    const Stack other(upper, lower, depth, seed);
    std::string log;
    Tree before;
    for (unsigned round = 0; round < kSwaps; ++round) {
        CAPTURE(seed, round);
        const bool swapped = round % 2 == 1;
        const Stack& overlayfs_stack = swapped ? other : one;
        const Stack& plyfs_stack = swapped ? one : other;
        {
            const OverlayfsMount overlayfs(overlayfs_stack.layers());
            const Mount plyfs(plyfs_source(plyfs_stack.layers()), "category.create=ff");
            Comparison comparison(overlayfs.path(), plyfs.path(), log);
            log += "round " + std::to_string(round) + '\n';
            const Tree now = comparison.compare();
            if (round > 0) {
                INFO(tail(log));
                REQUIRE(difference(before, now) == "");
            }
            comparison.run(random, steps);
            before = comparison.compare();
        }
        CHECK_FALSE(exists(plyfs_stack.layers().upper + "/.plyfs"));
        one.check_lower();
        other.check_lower();
    }
}

void run_seeds(FileSystem upper, FileSystem lower, unsigned depth) {
    const std::uint64_t first = from_environment("PLYFS_TEST_SEED", 1);
    const std::uint64_t count = from_environment("PLYFS_TEST_SEEDS", 2);
    for (std::uint64_t seed = first; seed < first + count; ++seed)
        run_seed(upper, lower, depth, seed);
}

}  // namespace

TEST_CASE("overlayfs and plyfs exchange an upper over one layer", "[interchange]") {
    run_seeds(Ext4, Ext4, 1);
}

TEST_CASE("overlayfs and plyfs exchange an upper over two layers", "[interchange]") {
    run_seeds(Ext4, Ext4, 2);
}

TEST_CASE("overlayfs and plyfs exchange an upper over another file system", "[interchange]") {
    run_seeds(Ext4, Xfs, 2);
}

}  // namespace plyfs::test
