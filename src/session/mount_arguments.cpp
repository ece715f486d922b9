// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/mount_arguments.h"

#include <string>
#include <string_view>

namespace plyfs::session {
namespace {

// mount(2) takes one page of options: a longer name is cut.
constexpr std::size_t kLongestName = 1024;

std::string escaped(std::string_view text) {
    std::string result;
    for (const char character : text.substr(0, kLongestName)) {
        if (character == ',' || character == '\\') result += '\\';
        result += character;
    }
    return result;
}

std::string default_name(const config::Options& options) {
    std::string name;
    for (const config::BranchOptions& branch : options.branches) {
        if (!name.empty()) name += ':';
        name += branch.path;
    }
    return name;
}

}  // namespace

MountArguments::MountArguments(const config::Options& options) {
    const auto add = [&](const std::string& option) {
        fuse_opt_add_arg(&arguments_, ("-o" + option).c_str());
    };
    fuse_opt_add_arg(&arguments_, "plyfs");
    add("fsname=" + escaped(options.fsname.empty() ? default_name(options) : options.fsname));
    add("subtype=" + escaped(options.subtype));
    // Permissions are checked by the kernel on the union's attributes, always.
    add("default_permissions");
    if (options.allow_other) add("allow_other");
    if (options.read_only) add("ro");
    add(options.no_suid ? "nosuid" : "suid");
    add(options.no_dev ? "nodev" : "dev");
    if (options.no_exec) add("noexec");
    if (options.no_atime) add("noatime");
    if (options.no_dir_atime) add("nodiratime");
    if (options.synchronous) add("sync");
    if (options.dir_sync) add("dirsync");
}

}  // namespace plyfs::session
