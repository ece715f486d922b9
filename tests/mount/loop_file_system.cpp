// SPDX-License-Identifier: GPL-2.0-or-later
#include "mount/loop_file_system.h"

#include <fcntl.h>
#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>
#include <memory>

#include "mount/process.h"
#include "mount/sandbox.h"
#include "sys/unique_fd.h"

namespace plyfs::test {

namespace {

std::uint64_t smallest(FileSystem kind) {
    switch (kind) {
        case FileSystem::Xfs: return 320 * kMebi;
        case FileSystem::Btrfs: return 128 * kMebi;
        default: return 8 * kMebi;
    }
}

std::vector<std::string> format_command(FileSystem kind, const std::string& image) {
    if (kind == FileSystem::Ext4)
        return {"mkfs.ext4", "-q",    "-E", "lazy_itable_init=1,lazy_journal_init=1", "-m", "1",
                "-N",        "32768", image};
    return {std::string("mkfs.") + name_of(kind), "-q", image};
}

// The device is detached when what is mounted from it is unmounted. Others take loop devices too,
// hence the tries.
std::string attach(const std::string& image, UniqueFd& device) {
    const UniqueFd file(::open(image.c_str(), O_RDWR | O_CLOEXEC));
    const UniqueFd control(::open("/dev/loop-control", O_RDWR | O_CLOEXEC));
    REQUIRE(file);
    if (!control) SKIP("no loop devices");
    loop_config config{};
    config.fd = static_cast<__u32>(file.get());
    config.info.lo_flags = LO_FLAGS_AUTOCLEAR;
    for (int attempt = 0; attempt < 100; ++attempt) {
        const int number = ::ioctl(control.get(), LOOP_CTL_GET_FREE);
        std::string path = "/dev/loop" + std::to_string(number);
        device.reset(::open(path.c_str(), O_RDWR | O_CLOEXEC));
        if (device && ::ioctl(device.get(), LOOP_CONFIGURE, &config) == 0) return path;
    }
    FAIL("no loop device was to be had");
    return "";
}

}  // namespace

const char* name_of(FileSystem kind) {
    switch (kind) {
        case FileSystem::Ext4: return "ext4";
        case FileSystem::Xfs: return "xfs";
        case FileSystem::Btrfs: return "btrfs";
        case FileSystem::Tmpfs: return "tmpfs";
    }
    return "";
}

LoopFileSystem::LoopFileSystem(FileSystem kind, std::uint64_t bytes, const std::string& options,
                               const std::vector<std::string>& format_words)
    : kind_(kind), path_(make_scratch_directory()) {
    bytes = std::max(bytes, smallest(kind));
    std::string source = "tmpfs";
    std::string data = options;
    UniqueFd device;
    if (kind == FileSystem::Tmpfs) {
        data += (data.empty() ? "size=" : ",size=") + std::to_string(bytes);
    } else {
        const std::string image = path_ + ".image";
        const UniqueFd file(::open(image.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
        REQUIRE(::ftruncate(file.get(), static_cast<off_t>(bytes)) == 0);
        std::vector<std::string> words = format_command(kind, image);
        words.insert(words.end() - 1, format_words.begin(), format_words.end());
        const Ran formatted = run(words);
        if (formatted.status == 127) SKIP("no mkfs for " << name_of(kind));
        INFO(formatted.output);
        REQUIRE(formatted.status == 0);
        source = attach(image, device);
        // What is mounted keeps it.
        REQUIRE(::unlink(image.c_str()) == 0);
    }
    const Outcome mounted =
        outcome(::mount(source.c_str(), path_.c_str(), name_of(kind), 0, data.c_str()));
    if (mounted == ENODEV) SKIP("the kernel has no " << name_of(kind));
    if (!options.empty() && !mounted.ok()) SKIP(name_of(kind) << " takes no " << options);
    REQUIRE(mounted == kOk);
    REQUIRE(::chmod(path_.c_str(), 0777) == 0);
}

LoopFileSystem::~LoopFileSystem() {
    const Outcome unmounted = outcome(::umount2(path_.c_str(), 0));
    CHECK(unmounted == kOk);
    if (!unmounted.ok()) ::umount2(path_.c_str(), MNT_DETACH);
    ::rmdir(path_.c_str());
}

LoopFileSystem& LoopFileSystem::shared(FileSystem kind) {
    // Never destroyed: the sandbox unmounts it.
    static auto& all = *new std::map<FileSystem, std::unique_ptr<LoopFileSystem>>;
    auto& one = all[kind];
    if (!one) one = std::make_unique<LoopFileSystem>(kind, 512 * kMebi);
    return *one;
}

std::string LoopFileSystem::make_directory() {
    std::string directory = path_ + "/" + std::to_string(++directories_);
    REQUIRE(::mkdir(directory.c_str(), 0755) == 0);
    return directory;
}

}  // namespace plyfs::test
