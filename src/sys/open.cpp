// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/open.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>

#include "sys/fault.h"
#include "sys/proc_path.h"

namespace plyfs::sys {
namespace {

template <typename Call>
Result<UniqueFd> descriptor_of(Call call) {
    if (const int error = fault::check()) return fail(error);
    int descriptor = -1;
    do {
        descriptor = call();
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) return fail(Errno::last());
    return UniqueFd(descriptor);
}

}  // namespace

Result<UniqueFd> open_at(int directory, Name name, int flags, mode_t mode) {
    return descriptor_of(
        [&] { return ::openat(directory, name.c_str(), flags | O_CLOEXEC | O_NOFOLLOW, mode); });
}

Result<UniqueFd> open_directory_at(int directory, Name name) {
    return open_at(directory, name, O_PATH | O_DIRECTORY);
}

Result<UniqueFd> open_directory_beneath(int directory, const std::string& path) {
    open_how how{};
    how.flags = O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW;
    how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    return descriptor_of([&] {
        int descriptor = -1;
        // EAGAIN: a rename elsewhere made the kernel unsure that the walk stayed beneath
        // (openat2(2)); it asks to try again.
        do {
            descriptor =
                static_cast<int>(::syscall(SYS_openat2, directory, path.c_str(), &how, sizeof how));
        } while (descriptor < 0 && errno == EAGAIN);
        return descriptor;
    });
}

Result<UniqueFd> open_temporary(int directory, int flags, mode_t mode) {
    return descriptor_of(
        [&] { return ::openat(directory, ".", flags | O_TMPFILE | O_CLOEXEC, mode); });
}

Result<UniqueFd> reopen(int descriptor, int flags) {
    const ProcPath path(descriptor);
    return descriptor_of([&] { return ::open(path.c_str(), (flags & ~O_NOFOLLOW) | O_CLOEXEC); });
}

Result<UniqueFd> open_host_path(const std::string& path, int flags) {
    return descriptor_of([&] { return ::open(path.c_str(), flags | O_CLOEXEC); });
}

Result<int> open_flags(int descriptor) {
    if (const int error = fault::check()) return fail(error);
    const int flags = ::fcntl(descriptor, F_GETFL);
    if (flags < 0) return fail(Errno::last());
    return flags;
}

Result<UniqueFd> duplicate(int descriptor) {
    return descriptor_of([&] { return ::fcntl(descriptor, F_DUPFD_CLOEXEC, 0); });
}

Result<void> replace(int descriptor, int other) {
    if (const int error = fault::check()) return fail(error);
    if (::dup3(other, descriptor, O_CLOEXEC) < 0) return fail(Errno::last());
    return {};
}

}  // namespace plyfs::sys
