// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/option_table.h"

#include <algorithm>

namespace plyfs::config {

namespace {

constexpr Flag kFlags[] = {
    {"ro", {{{"mount.read_only", true}}}},
    {"rw", {{{"mount.read_only", false}}}},
    {"nosuid", {{{"mount.nosuid", true}}}},
    {"suid", {{{"mount.nosuid", false}}}},
    {"nodev", {{{"mount.nodev", true}}}},
    {"dev", {{{"mount.nodev", false}}}},
    {"noexec", {{{"mount.noexec", true}}}},
    {"exec", {{{"mount.noexec", false}}}},
    {"noatime", {{{"mount.noatime", true}}}},
    {"atime", {{{"mount.noatime", false}}}},
    {"nodiratime", {{{"mount.nodiratime", true}}}},
    {"diratime", {{{"mount.nodiratime", false}}}},
    {"relatime", {{{"mount.relatime", true}}}},
    {"norelatime", {{{"mount.relatime", false}}}},
    {"strictatime", {{{"mount.relatime", false}, {"mount.noatime", false}}}},
    {"sync", {{{"mount.sync", true}}}},
    {"async", {{{"mount.sync", false}}}},
    {"dirsync", {{{"mount.dirsync", true}}}},
    // mount(8): who lets a user mount does not let the user bring set-user-ID programs along.
    {"user", {{{"mount.nosuid", true}, {"mount.nodev", true}, {"mount.noexec", true}}}},
    {"users", {{{"mount.nosuid", true}, {"mount.nodev", true}, {"mount.noexec", true}}}},
    {"owner", {{{"mount.nosuid", true}, {"mount.nodev", true}}}},
    {"group", {{{"mount.nosuid", true}, {"mount.nodev", true}}}},
};

constexpr Alias::Word kRedirectWords[] = {
    {"on", "true"}, {"off", "false"}, {"follow", "false"}, {"nofollow", "false"}};
constexpr Alias::Word kUserXattrWords[] = {{"on", "user"}};
constexpr Alias::Word kNoWords[] = {{"on", "false"}, {"1", "false"}, {"0", "true"}};

constexpr Alias kAliases[] = {
    {"redirect-dir", "copy_up.redirect", kRedirectWords},
    {"metacopy", "copy_up.metacopy", {}},
    {"index", "copy_up.index", {}},
    {"userxattr", "copy_up.xattrs", kUserXattrWords},
    {"fsync", "copy_up.fsync", {}},
    {"noacl", "posix_acl", kNoWords},
    {"noxattrs", "xattrs", kNoWords},
    {"timeout", "cache.entry", {}},
    {"timeout", "cache.attributes", {}},
};

constexpr std::string_view kNoRemount = "unmount it and mount it again";

constexpr ForeignOption kForeignOptions[] = {
    {"x-*", Treatment::Ignored, ""},
    {"X-*", Treatment::Ignored, ""},
    {"comment", Treatment::Ignored, ""},
    {"uhelper", Treatment::Ignored, ""},
    {"helper", Treatment::Ignored, ""},
    {"-netdev", Treatment::Ignored, ""},
    {"-rnetdev", Treatment::Ignored, ""},
    {"nofail", Treatment::Ignored, ""},
    {"auto", Treatment::Ignored, ""},
    {"noauto", Treatment::Ignored, ""},
    {"nouser", Treatment::Ignored, ""},
    {"nousers", Treatment::Ignored, ""},
    {"noowner", Treatment::Ignored, ""},
    {"nogroup", Treatment::Ignored, ""},
    {"defaults", Treatment::Ignored, ""},
    {"default-permissions", Treatment::Ignored, ""},
    {"silent", Treatment::Ignored, ""},
    {"loud", Treatment::Ignored, ""},
    {"nomand", Treatment::Ignored, ""},
    {"nolazytime", Treatment::Ignored, ""},
    {"nostrictatime", Treatment::Ignored, ""},
    {"symfollow", Treatment::Ignored, ""},

    {"async-read", Treatment::Obsolete, ""},
    {"atomic-o-trunc", Treatment::Obsolete, ""},
    {"auto-cache", Treatment::Obsolete, ""},
    {"big-writes", Treatment::Obsolete, ""},
    {"direct-io", Treatment::Obsolete, ""},
    {"hard-remove", Treatment::Obsolete, ""},
    {"kernel-cache", Treatment::Obsolete, ""},
    {"no-splice-*", Treatment::Obsolete, ""},
    {"splice-*", Treatment::Obsolete, ""},
    {"use-ino", Treatment::Obsolete, ""},

    {"allow-idmap", Treatment::Unsupported, ""},
    {"auto-unmount", Treatment::Unsupported, ""},
    {"branches-mount-timeout*", Treatment::Unsupported, ""},
    {"cache.files*", Treatment::Unsupported, ""},
    {"cache.statfs", Treatment::Unsupported, ""},
    {"cache.writeback", Treatment::Unsupported, ""},
    {"direct-io-allow-mmap", Treatment::Unsupported, ""},
    {"dropcacheonclose", Treatment::Unsupported, ""},
    {"export-support", Treatment::Unsupported, ""},
    {"flush-on-close", Treatment::Unsupported, ""},
    {"follow-symlinks", Treatment::Unsupported, ""},
    {"fuse-msg-size", Treatment::Unsupported, ""},
    {"gid-cache.*", Treatment::Unsupported, ""},
    {"handle-killpriv*", Treatment::Unsupported, ""},
    {"ignorepponrename", Treatment::Unsupported, ""},
    {"inodecalc", Treatment::Unsupported, ""},
    {"kernel-permissions-check", Treatment::Unsupported, ""},
    {"lazy-umount-mountpoint", Treatment::Unsupported, ""},
    {"link-cow", Treatment::Unsupported, ""},
    {"link-exdev", Treatment::Unsupported, ""},
    {"moveonenospc", Treatment::Unsupported, ""},
    {"never-forget-nodes", Treatment::Unsupported, ""},
    {"nfsopenhack", Treatment::Unsupported, ""},
    {"noforget", Treatment::Unsupported, ""},
    {"nullrw", Treatment::Unsupported, ""},
    {"parallel-direct-writes", Treatment::Unsupported, ""},
    {"pin-threads", Treatment::Unsupported, ""},
    {"process-thread-*", Treatment::Unsupported, ""},
    {"proxy-ioprio", Treatment::Unsupported, ""},
    {"read-thread-count", Treatment::Unsupported, ""},
    {"remember*", Treatment::Unsupported, ""},
    {"rename-exdev", Treatment::Unsupported, ""},
    {"scheduling-priority", Treatment::Unsupported, ""},
    {"security-capability", Treatment::Unsupported, ""},
    {"statfs", Treatment::Unsupported, ""},
    {"statfs-ignore", Treatment::Unsupported, ""},
    {"symlinkify*", Treatment::Unsupported, ""},

    {"static-nlink", Treatment::Ignored, ""},
    {"threaded", Treatment::Ignored, ""},
    {"uuid", Treatment::Ignored, ""},
    {"writeback", Treatment::Ignored, ""},
    {"xino", Treatment::Ignored, ""},

    {"context", Treatment::Unsupported, ""},
    {"defcontext", Treatment::Unsupported, ""},
    {"fscontext", Treatment::Unsupported, ""},
    {"gidmapping", Treatment::Unsupported, ""},
    {"nfs-export", Treatment::Unsupported, ""},
    {"rootcontext", Treatment::Unsupported, ""},
    {"squash-to-gid", Treatment::Unsupported, ""},
    {"squash-to-root", Treatment::Unsupported, ""},
    {"squash-to-uid", Treatment::Unsupported, ""},
    {"uidmapping", Treatment::Unsupported, ""},
    {"verity", Treatment::Unsupported, ""},
    {"xattr-permissions", Treatment::Unsupported, ""},

    {"remount", Treatment::Refused, kNoRemount},
    {"branches", Treatment::Refused, "the branches are the first argument, before the mountpoint"},
    {"allow-root", Treatment::Refused, "use allow_other"},
};

bool matches(std::string_view pattern, std::string_view option) {
    if (!pattern.ends_with('*')) return pattern == option;
    pattern.remove_suffix(1);
    return option.starts_with(pattern);
}

}  // namespace

std::span<const Flag> flags() {
    return kFlags;
}

const Flag* find_flag(std::string_view option) {
    const auto* found = std::ranges::find(kFlags, option, &Flag::option);
    return found == std::end(kFlags) ? nullptr : found;
}

std::span<const Alias> aliases() {
    return kAliases;
}

std::span<const ForeignOption> foreign_options() {
    return kForeignOptions;
}

const ForeignOption* find_foreign_option(std::string_view option) {
    const auto* found = std::ranges::find_if(kForeignOptions, [&](const ForeignOption& foreign) {
        return matches(foreign.option, option);
    });
    return found == std::end(kForeignOptions) ? nullptr : found;
}

}  // namespace plyfs::config
