// SPDX-License-Identifier: GPL-2.0-or-later
//
// Append-only and immutable objects (chattr +a, +i) of either layer: overlayfs and plyfs answer
// every operation the same, show the same flags afterwards, and each holds to what the other wrote.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <memory>
#include <utility>

#include "mount/files.h"
#include "mount/layers.h"
#include "mount/sandbox.h"

namespace plyfs::test {
namespace {

constexpr int kProtection = FS_APPEND_FL | FS_IMMUTABLE_FL;

// The layers mounted by one of the two until this ends.
class ProtectedMount {
public:
    ProtectedMount(const Layers& layers, bool by_kernel) : path_(make_scratch_directory()) {
        if (by_kernel) {
            const std::string options = layers.options() + ",index=on,redirect_dir=on";
            REQUIRE(outcome(::mount("overlay", path_.c_str(), "overlay", 0, options.c_str())) ==
                    kOk);
            return;
        }
        const Ran ran = layers.mount(layers.options(), path_);
        INFO(ran.output);
        REQUIRE(ran.status == 0);
        plyfs_ = std::make_unique<Mount>(Mount::adopt(path_));
    }
    ~ProtectedMount() {
        if (!plyfs_) CHECK(outcome(::umount2(path_.c_str(), UMOUNT_NOFOLLOW)) == kOk);
    }
    ProtectedMount(const ProtectedMount&) = delete;
    ProtectedMount& operator=(const ProtectedMount&) = delete;

    std::string path(const std::string& name) const { return path_ + '/' + name; }

private:
    std::string path_;
    std::unique_ptr<Mount> plyfs_;
};

void make_objects(const std::string& root, int protection) {
    put(root + "/file", "content");
    REQUIRE(set_xattr(root + "/file", "user.y", "1") == kOk);
    for (const char* const name : {"/dir", "/dir/sub", "/empty", "/spare"}) {
        make_directory(root + name);
    }
    for (const char* const name : {"/dir/child", "/one", "/two"}) put(root + name, "content");
    for (const char* const name : {"/file", "/dir", "/empty"}) {
        REQUIRE(protect(root + name, protection) == kOk);
    }
}

// What is done at the root of a union, and what it answers.
struct GuardedOperation {
    const char* name;
    Outcome (*run)(const std::string& root);
};

// Those that are refused, for at least one of the two flags, first.
constexpr std::array kOperations = {
    GuardedOperation{"chmod",
                     [](auto& root) { return outcome(::chmod((root + "/file").c_str(), 0600)); }},
    GuardedOperation{"chown",
                     [](auto& root) { return outcome(::chown((root + "/file").c_str(), 1, 1)); }},
    GuardedOperation{"explicit times",
                     [](auto& root) { return set_times(root + "/file", {1, 0}, {2, 0}); }},
    GuardedOperation{
        "one time now",
        [](auto& root) { return set_times(root + "/file", {0, UTIME_NOW}, {0, UTIME_OMIT}); }},
    GuardedOperation{"truncate",
                     [](auto& root) { return outcome(::truncate((root + "/file").c_str(), 1)); }},
    GuardedOperation{"open to write",
                     [](auto& root) { return try_open(root + "/file", O_WRONLY); }},
    GuardedOperation{"open to read and write",
                     [](auto& root) { return try_open(root + "/file", O_RDWR); }},
    GuardedOperation{"open and empty",
                     [](auto& root) { return try_open(root + "/file", O_RDONLY | O_TRUNC); }},
    GuardedOperation{
        "append and empty",
        [](auto& root) { return try_open(root + "/file", O_WRONLY | O_APPEND | O_TRUNC); }},
    GuardedOperation{"unlink",
                     [](auto& root) { return outcome(::unlink((root + "/file").c_str())); }},
    GuardedOperation{"rename", [](auto& root) { return rename_to(root + "/file", root + "/new"); }},
    GuardedOperation{"rename over",
                     [](auto& root) { return rename_to(root + "/one", root + "/file"); }},
    GuardedOperation{
        "exchange",
        [](auto& root) { return rename_to(root + "/one", root + "/file", RENAME_EXCHANGE); }},
    GuardedOperation{"link",
                     [](auto& root) {
                         return outcome(::link((root + "/file").c_str(), (root + "/new").c_str()));
                     }},
    GuardedOperation{"setxattr",
                     [](auto& root) { return set_xattr(root + "/file", "user.x", "1"); }},
    GuardedOperation{
        "removexattr",
        [](auto& root) { return outcome(::removexattr((root + "/file").c_str(), "user.y")); }},
    GuardedOperation{"chmod a directory",
                     [](auto& root) { return outcome(::chmod((root + "/dir").c_str(), 0700)); }},
    GuardedOperation{"setxattr of a directory",
                     [](auto& root) { return set_xattr(root + "/dir", "user.x", "1"); }},
    GuardedOperation{"rmdir",
                     [](auto& root) { return outcome(::rmdir((root + "/empty").c_str())); }},
    GuardedOperation{"rename a directory",
                     [](auto& root) { return rename_to(root + "/dir", root + "/new"); }},
    GuardedOperation{"rename over a directory",
                     [](auto& root) { return rename_to(root + "/spare", root + "/empty"); }},
    GuardedOperation{"unlink in it",
                     [](auto& root) { return outcome(::unlink((root + "/dir/child").c_str())); }},
    GuardedOperation{"rmdir in it",
                     [](auto& root) { return outcome(::rmdir((root + "/dir/sub").c_str())); }},
    GuardedOperation{"rename out of it",
                     [](auto& root) { return rename_to(root + "/dir/child", root + "/new"); }},
    GuardedOperation{"rename in it",
                     [](auto& root) { return rename_to(root + "/dir/child", root + "/dir/new"); }},
    GuardedOperation{"rename over in it",
                     [](auto& root) { return rename_to(root + "/one", root + "/dir/child"); }},
    GuardedOperation{
        "touch",
        [](auto& root) { return set_times(root + "/file", {0, UTIME_NOW}, {0, UTIME_NOW}); }},
    GuardedOperation{"append",
                     [](auto& root) { return try_open(root + "/file", O_WRONLY | O_APPEND); }},
    GuardedOperation{"read and append",
                     [](auto& root) { return try_open(root + "/file", O_RDWR | O_APPEND); }},
    GuardedOperation{"create in it",
                     [](auto& root) { return try_open(root + "/dir/new", O_WRONLY | O_CREAT); }},
    GuardedOperation{"unnamed in it",
                     [](auto& root) { return try_open(root + "/dir", O_WRONLY | O_TMPFILE); }},
    GuardedOperation{
        "mkdir in it",
        [](auto& root) { return outcome(::mkdir((root + "/dir/new-dir").c_str(), 0755)); }},
    GuardedOperation{
        "symlink in it",
        [](auto& root) { return outcome(::symlink("x", (root + "/dir/symlink").c_str())); }},
    GuardedOperation{"link in it",
                     [](auto& root) {
                         return outcome(
                             ::link((root + "/two").c_str(), (root + "/dir/link").c_str()));
                     }},
    GuardedOperation{"rename into it",
                     [](auto& root) { return rename_to(root + "/two", root + "/dir/two"); }},
    GuardedOperation{"write in it",
                     [](auto& root) { return try_open(root + "/dir/child", O_WRONLY); }},
    GuardedOperation{"set another flag",
                     [](auto& root) {
                         return set_inode_flags(root + "/file",
                                                inode_flags(root + "/file") | FS_NODUMP_FL);
                     }},
    GuardedOperation{"set another flag of a directory",
                     [](auto& root) {
                         return set_inode_flags(root + "/dir",
                                                inode_flags(root + "/dir") | FS_NODUMP_FL);
                     }},
};

// By name; what is left of the objects shows in their flags.
using Answers = std::vector<std::pair<std::string, Outcome>>;

Answers answers_of(const ProtectedMount& mount) {
    Answers answers;
    for (const GuardedOperation& operation : kOperations) {
        answers.emplace_back(operation.name, operation.run(mount.path("")));
    }
    return answers;
}

std::vector<int> flags_shown(const ProtectedMount& mount) {
    std::vector<int> flags;
    for (const char* const name : {"file", "dir", "empty"}) {
        flags.push_back(inode_flags(mount.path(name)) & (kProtection | FS_NODUMP_FL));
    }
    return flags;
}

void release(const std::string& root) {
    for (const char* const name : {"/file", "/dir", "/empty"}) {
        if (exists(root + name)) CHECK(protect(root + name, 0) == kOk);
    }
}

TEST_CASE("protected objects are what they are on overlayfs", "[overlay_form][interchange]") {
    require_sandbox();
    const int protection = GENERATE(FS_IMMUTABLE_FL, FS_APPEND_FL);
    const bool below = GENERATE(false, true);
    std::array<Answers, 2> answers;
    std::array<std::vector<int>, 2> shown;
    std::array<Layers, 2> layers;
    for (const std::size_t by_kernel : {0U, 1U}) {
        const Layers& one = layers[by_kernel];
        if (below) make_objects(one.path("lower"), protection);
        const ProtectedMount mount(one, by_kernel == 1);
        if (!below) make_objects(mount.path(""), protection);
        answers[by_kernel] = answers_of(mount);
        shown[by_kernel] = flags_shown(mount);
    }
    CHECK(answers[0] == answers[1]);
    CHECK(shown[0] == shown[1]);
    // Each goes on with what the other has left.
    for (const std::size_t by_kernel : {0U, 1U}) {
        const ProtectedMount mount(layers[1 - by_kernel], by_kernel == 1);
        answers[by_kernel] = answers_of(mount);
        CHECK(flags_shown(mount) == shown[by_kernel]);
    }
    CHECK(answers[0] == answers[1]);
    for (const std::size_t by_kernel : {0U, 1U}) {
        const ProtectedMount mount(layers[by_kernel], by_kernel == 1);
        release(mount.path(""));
        CHECK(outcome(::chmod(mount.path("file").c_str(), 0600)) == kOk);
        CHECK(rename_to(mount.path("dir"), mount.path("moved")) == kOk);
        CHECK(outcome(::rmdir(mount.path("empty").c_str())) == kOk);
        if (below) release(layers[by_kernel].path("lower"));
    }
}

}  // namespace
}  // namespace plyfs::test
