// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/metadata.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "sys/call.h"
#include "sys/fault.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

template <typename Call>
Result<std::size_t> size_of(Call call) {
    if (const int error = fault::check()) return fail(error);
    const ssize_t size = call();
    if (size < 0) return fail(Errno::last());
    return static_cast<std::size_t>(size);
}

// Asks for the size, then for the bytes, again where they grew in between.
template <typename Read>
Result<std::vector<std::byte>> read_whole(Read read) {
    for (;;) {
        std::vector<std::byte> bytes(TRY(read(std::span<std::byte>{})));
        if (bytes.empty()) return bytes;
        const Result<std::size_t> size = read(std::span(bytes));
        if (!size && size.error() == ERANGE) continue;
        bytes.resize(TRY(size));
        return bytes;
    }
}

}  // namespace

Result<void> change_mode(int descriptor, mode_t mode) {
    const ProcPath path(descriptor);
    return status_of([&] { return ::chmod(path.c_str(), mode); });
}

Result<void> change_owner(int descriptor, uid_t uid, gid_t gid) {
    return status_of(
        [&] { return ::fchownat(descriptor, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW); });
}

Result<void> change_times(int descriptor, const timespec& access, const timespec& modification) {
    const timespec times[2] = {access, modification};
    return status_of([&] { return ::utimensat(descriptor, "", times, AT_EMPTY_PATH); });
}

Result<void> truncate(int descriptor, off_t size) {
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags >= 0 && (flags & O_PATH) == 0 && (flags & O_ACCMODE) != O_RDONLY) {
        return status_of([&] { return ::ftruncate(descriptor, size); });
    }
    const ProcPath path(descriptor);
    return status_of([&] { return ::truncate(path.c_str(), size); });
}

Result<void> set_xattr(int descriptor, const char* name, std::span<const std::byte> value,
                       int flags) {
    const ProcPath path(descriptor);
    return status_of(
        [&] { return ::setxattr(path.c_str(), name, value.data(), value.size(), flags); });
}

Result<std::size_t> get_xattr(int descriptor, const char* name, std::span<std::byte> value) {
    const ProcPath path(descriptor);
    return size_of([&] { return ::getxattr(path.c_str(), name, value.data(), value.size()); });
}

Result<std::size_t> list_xattrs(int descriptor, std::span<std::byte> names) {
    const ProcPath path(descriptor);
    return size_of([&] {
        return ::listxattr(path.c_str(), reinterpret_cast<char*>(names.data()), names.size());
    });
}

Result<void> remove_xattr(int descriptor, const char* name) {
    const ProcPath path(descriptor);
    return status_of([&] { return ::removexattr(path.c_str(), name); });
}

Result<std::vector<std::string>> xattr_names(int descriptor) {
    const std::vector<std::byte> bytes =
        TRY(read_whole([&](std::span<std::byte> out) { return list_xattrs(descriptor, out); }));
    std::vector<std::string> names;
    const char* next = reinterpret_cast<const char*>(bytes.data());
    const char* const end = next + bytes.size();
    while (next < end) {
        names.emplace_back(next);
        next += names.back().size() + 1;
    }
    return names;
}

Result<std::vector<std::byte>> xattr_value(int descriptor, const char* name) {
    return read_whole([&](std::span<std::byte> out) { return get_xattr(descriptor, name, out); });
}

}  // namespace plyfs::sys
