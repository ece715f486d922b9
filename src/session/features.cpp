// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/features.h"

#include <fmt/format.h>
#include <sys/utsname.h>

#include <algorithm>
#include <array>

#include "session/context.h"
#include "session/init_flags.h"
#include "session/kernel_probe.h"
#include "sys/file_system_identity.h"

namespace plyfs::session {
namespace {

// FUSE_CREATE_SUPP_GROUP of <linux/fuse.h>: creations in setgid directories say which
// supplementary group they may be made with.
constexpr std::uint64_t kCreateSupplementaryGroup = std::uint64_t{1} << 34;

// Of kernel/patches (kernel/README.md).
constexpr std::uint64_t kPassthroughSameInode = std::uint64_t{1} << 50;
constexpr std::uint64_t kPassthroughParallelWrites = std::uint64_t{1} << 51;
constexpr std::uint64_t kPassthroughReuse = std::uint64_t{1} << 52;
constexpr std::uint64_t kPassthroughRebind = std::uint64_t{1} << 53;
constexpr std::uint64_t kPassthroughAttach = std::uint64_t{1} << 54;
constexpr std::uint64_t kPassthroughFlags = kPassthroughSameInode | kPassthroughParallelWrites |
                                            kPassthroughReuse | kPassthroughRebind |
                                            kPassthroughAttach;
static_assert((kPassthroughFlags & ~kProvisionalInitFlags) == 0);

// A file system that takes branches on overlayfs (itself a stack) can't be an overlay's layer:
// the kernel allows two levels (FILESYSTEM_MAX_STACK_DEPTH). One keeps plyfs usable as a layer.
std::uint32_t stack_depth(const Context& context) {
    if (const auto asked = context.options.passthrough.max_stack_depth; asked != 0) return asked;
    const bool stacked = std::ranges::any_of(context.united.branches(), [](const auto& branch) {
        return sys::may_be_stacked(branch->root());
    });
    return stacked ? 2 : 1;
}

struct Capability {
    const char* name;
    std::uint64_t flag;
};
constexpr std::array kCapabilities{
    Capability{"passthrough", FUSE_CAP_PASSTHROUGH},
    Capability{"parallel-dirops", FUSE_CAP_PARALLEL_DIROPS},
    Capability{"readdirplus", FUSE_CAP_READDIRPLUS},
    Capability{"atomic-o-trunc", FUSE_CAP_ATOMIC_O_TRUNC},
    Capability{"handle-killpriv-v2", FUSE_CAP_HANDLE_KILLPRIV_V2},
    Capability{"posix-acl", FUSE_CAP_POSIX_ACL},
    Capability{"cache-symlinks", FUSE_CAP_CACHE_SYMLINKS},
    Capability{"expire-only", FUSE_CAP_EXPIRE_ONLY},
};

// Not asked for by default, or not in stock kernels: said only where they are.
constexpr std::array kFurther{
    Capability{"over-io-uring", kOverIoUring},
    Capability{"passthrough-same-inode", kPassthroughSameInode},
    Capability{"passthrough-parallel-writes", kPassthroughParallelWrites},
    Capability{"passthrough-reuse", kPassthroughReuse},
    Capability{"passthrough-rebind", kPassthroughRebind},
    Capability{"passthrough-attach", kPassthroughAttach},
};

}  // namespace

void negotiate(void* user_data, fuse_conn_info* connection) {
    Context& context = *static_cast<Context*>(user_data);
    const config::Options& options = context.options;
    const auto want = [&](std::uint64_t flag, bool wanted = true) {
        if (!wanted) {
            fuse_unset_feature_flag(connection, flag);
            return false;
        }
        return fuse_set_feature_flag(connection, flag);
    };
    want(FUSE_CAP_PARALLEL_DIROPS);
    want(FUSE_CAP_ATOMIC_O_TRUNC);
    want(FUSE_CAP_HANDLE_KILLPRIV_V2);
    want(FUSE_CAP_CACHE_SYMLINKS, options.cache.symlinks);
    want(FUSE_CAP_READDIRPLUS);
    want(FUSE_CAP_READDIRPLUS_AUTO);
    want(FUSE_CAP_EXPIRE_ONLY);
    // The umask counts only where the parent has no default ACL: the branch's file system knows.
    want(FUSE_CAP_DONT_MASK);
    want(FUSE_CAP_POSIX_ACL, options.posix_acl && options.xattrs);
    // What is opened past the page cache is so because its pages must not be changed, or are
    // another inode's: append-only files, files that are also mapped on the branch.
    want(FUSE_CAP_DIRECT_IO_ALLOW_MMAP, false);
    // Passing through and delaying writes exclude each other in the kernel.
    want(FUSE_CAP_WRITEBACK_CACHE, false);
    if (options.passthrough.mode == config::PassthroughMode::On) {
        context.passthrough = want(FUSE_CAP_PASSTHROUGH);
        // libfuse counts the levels below the mount, the kernel the mount too.
        connection->max_backing_stack_depth = stack_depth(context) - 1;
    } else {
        want(FUSE_CAP_PASSTHROUGH, false);
    }
    if (options.limits.max_background != 0) {
        connection->max_background = options.limits.max_background;
        connection->congestion_threshold = options.limits.max_background / 4 * 3;
    }
    if (options.limits.readahead != 0) {
        connection->max_readahead = static_cast<unsigned>(options.limits.readahead);
    }
    connection->time_gran = 1;  // nanoseconds
    context.kernel = {connection->proto_major, connection->proto_minor, connection->want_ext, 0};
}

void further_agreed(void* user_data, std::uint64_t flags) {
    Context& context = *static_cast<Context*>(user_data);
    if (!context.passthrough) flags &= ~kPassthroughFlags;
    context.kernel.further = flags;
    context.rebinds = (flags & kPassthroughRebind) != 0;
    constexpr std::uint64_t kForReusing = kPassthroughReuse | kPassthroughSameInode;
    context.reuses = (flags & kForReusing) == kForReusing;
    context.parallel_writes = (flags & kPassthroughParallelWrites) != 0;
    // What is attached moves like what is open, and rebinding tells if it is still attached.
    constexpr std::uint64_t kForAttaching = kPassthroughAttach | kPassthroughRebind;
    context.attaches = (flags & kForAttaching) == kForAttaching;
}

std::vector<NegotiatedFeature> negotiated_features(const NegotiatedKernel& kernel) {
    std::vector<NegotiatedFeature> features;
    features.reserve(kCapabilities.size() + kFurther.size());
    for (const Capability& capability : kCapabilities) {
        features.push_back({capability.name, (kernel.capabilities & capability.flag) != 0});
    }
    for (const Capability& further : kFurther) {
        if ((kernel.further & further.flag) != 0) features.push_back({further.name, true});
    }
    return features;
}

std::uint64_t further_init_flags() noexcept {
    return kCreateSupplementaryGroup | kPassthroughFlags;
}

std::string describe_features() {
    utsname kernel{};
    ::uname(&kernel);
    std::string text = fmt::format("libfuse {}\nkernel {}", fuse_pkgversion(), kernel.release);
    const auto offer = probe_kernel();
    if (!offer) {
        return text + fmt::format(", FUSE not asked ({}; it takes root)", offer.error().message());
    }
    return text + fmt::format(", FUSE {}.{}: {}", offer->major, offer->minor,
                              fmt::join(feature_names(*offer), ", "));
}

}  // namespace plyfs::session
