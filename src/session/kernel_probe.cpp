// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/kernel_probe.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fuse.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "session/init_flags.h"
#include "sys/unique_fd.h"

namespace plyfs::session {
namespace {

struct Feature {
    const char* name;
    unsigned bit;  // of FUSE_INIT's flags, <linux/fuse.h>
};

constexpr std::array kFeatures{
    Feature{"atomic-o-trunc", 3},
    Feature{"readdirplus", 13},
    Feature{"parallel-dirops", 18},
    Feature{"posix-acl", 20},
    Feature{"handle-killpriv-v2", 28},
    Feature{"create-supp-group", 34},
    Feature{"expire-only", 35},
    Feature{"passthrough", 37},
    Feature{"resend", 39},
    Feature{"allow-idmap", 40},
    Feature{"over-io-uring", 41},
};
// Of kernel/patches: named only where they are.
constexpr std::array kPatchedFeatures{
    Feature{"passthrough-same-inode", 50}, Feature{"passthrough-parallel-writes", 51},
    Feature{"passthrough-reuse", 52},      Feature{"passthrough-rebind", 53},
    Feature{"passthrough-attach", 54},
};

// What the child finds out, sent through a pipe.
struct Report {
    int error;
    KernelOffer offer;
};

Report probe_in_private_namespace() {
    Report report{};
    const UniqueFd device(::open("/dev/fuse", O_RDWR | O_CLOEXEC));
    if (!device || ::unshare(CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
        report.error = errno;
        return report;
    }
    const std::string options =
        fmt::format("fd={},rootmode=40000,user_id=0,group_id=0", device.get());
    if (::mount("plyfs-probe", "/", "fuse", MS_RDONLY, options.c_str()) != 0) {
        report.error = errno;
        return report;
    }
    std::array<char, std::size_t{64} << 10> buffer{};
    const ssize_t size = ::read(device.get(), buffer.data(), buffer.size());
    fuse_init_in init{};
    if (size < static_cast<ssize_t>(sizeof(fuse_in_header) + sizeof init)) {
        report.error = size < 0 ? errno : EPROTO;
        return report;
    }
    std::memcpy(&init, buffer.data() + sizeof(fuse_in_header), sizeof init);
    report.offer = {init.major, init.minor, offered_init_flags(init)};
    return report;
}

}  // namespace

Result<KernelOffer> probe_kernel() {
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return fail(Errno::last());
    const UniqueFd near(pipe[0]);
    UniqueFd far(pipe[1]);
    const pid_t child = ::fork();
    if (child < 0) return fail(Errno::last());
    if (child == 0) {
        const Report report = probe_in_private_namespace();
        const ssize_t written = ::write(far.get(), &report, sizeof report);
        ::_exit(written == sizeof report ? 0 : 1);
    }
    far.reset();
    Report report{};
    const ssize_t size = ::read(near.get(), &report, sizeof report);
    ::waitpid(child, nullptr, 0);
    if (size != sizeof report) return fail(EPROTO);
    if (report.error != 0) return fail(report.error);
    return report.offer;
}

std::vector<std::string> feature_names(const KernelOffer& offer) {
    std::vector<std::string> names;
    for (const Feature& feature : kFeatures) {
        const bool offered = ((offer.flags >> feature.bit) & 1) != 0;
        names.push_back(fmt::format("{}{}", offered ? "" : "no ", feature.name));
    }
    for (const Feature& feature : kPatchedFeatures) {
        if (((offer.flags >> feature.bit) & 1) != 0) names.emplace_back(feature.name);
    }
    return names;
}

}  // namespace plyfs::session
