// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/entry.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "sys/call.h"
#include "sys/fault.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

Result<std::string> read_link_call(int directory, const char* path) {
    if (const int error = fault::check()) return fail(error);
    std::string target(PATH_MAX, '\0');
    const ssize_t size = ::readlinkat(directory, path, target.data(), target.size());
    if (size < 0) return fail(Errno::last());
    target.resize(static_cast<std::size_t>(size));
    return target;
}

}  // namespace

Result<void> make_directory(int directory, Name name, mode_t mode) {
    return status_of([&] { return ::mkdirat(directory, name.c_str(), mode); });
}

Result<void> make_node(int directory, Name name, mode_t mode, dev_t device) {
    return status_of([&] { return ::mknodat(directory, name.c_str(), mode, device); });
}

Result<void> make_symlink(int directory, Name name, const char* target) {
    return status_of([&] { return ::symlinkat(target, directory, name.c_str()); });
}

Result<void> link(int old_directory, Name old_name, int new_directory, Name new_name) {
    return status_of([&] {
        return ::linkat(old_directory, old_name.c_str(), new_directory, new_name.c_str(), 0);
    });
}

Result<void> link_descriptor(int descriptor, int new_directory, Name new_name) {
    const ProcPath path(descriptor);
    return status_of([&] {
        return ::linkat(AT_FDCWD, path.c_str(), new_directory, new_name.c_str(), AT_SYMLINK_FOLLOW);
    });
}

Result<void> remove_name(int directory, Name name) {
    return status_of([&] { return ::unlinkat(directory, name.c_str(), 0); });
}

Result<void> remove_directory(int directory, Name name) {
    return status_of([&] { return ::unlinkat(directory, name.c_str(), AT_REMOVEDIR); });
}

Result<void> rename(int old_directory, Name old_name, int new_directory, Name new_name,
                    unsigned flags) {
    return status_of([&] {
        return ::renameat2(old_directory, old_name.c_str(), new_directory, new_name.c_str(), flags);
    });
}

Result<std::string> read_link(int directory, Name name) {
    return read_link_call(directory, name.c_str());
}

Result<std::string> read_link(int descriptor) {
    return read_link_call(descriptor, "");
}

}  // namespace plyfs::sys
