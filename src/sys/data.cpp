// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/data.h"

#include <linux/fs.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "sys/call.h"
#include "sys/fault.h"

namespace plyfs::sys {
namespace {

// pread(2) or pwrite(2) until all of `bytes` is done, the end of file or an error; an error after
// something was done shows at the next call only.
template <typename Call, typename Byte>
Result<std::size_t> transfer(Call call, int descriptor, std::span<Byte> bytes, off_t offset) {
    if (const int error = fault::check()) return fail(error);
    std::size_t done = 0;
    while (done < bytes.size()) {
        const ssize_t size = call(descriptor, bytes.data() + done, bytes.size() - done,
                                  offset + static_cast<off_t>(done));
        if (size < 0 && errno == EINTR) continue;
        if (size < 0 && done == 0) return fail(Errno::last());
        if (size <= 0) break;
        done += static_cast<std::size_t>(size);
    }
    return done;
}

}  // namespace

Result<std::size_t> read_at(int descriptor, std::span<std::byte> bytes, off_t offset) {
    return transfer(::pread, descriptor, bytes, offset);
}

Result<std::size_t> write_at(int descriptor, std::span<const std::byte> bytes, off_t offset) {
    return transfer(::pwrite, descriptor, bytes, offset);
}

Result<void> allocate(int descriptor, int mode, off_t offset, off_t length) {
    // Nobody sends this process signals to end it: tmpfs stops at any.
    return status_of([&] {
        int result = 0;
        do {
            result = ::fallocate(descriptor, mode, offset, length);
        } while (result != 0 && errno == EINTR);
        return result;
    });
}

Result<off_t> seek(int descriptor, off_t offset, int whence) {
    if (const int error = fault::check()) return fail(error);
    const off_t position = ::lseek(descriptor, offset, whence);
    if (position < 0) return fail(Errno::last());
    return position;
}

Result<std::size_t> copy_range(int source, off_t source_offset, int target, off_t target_offset,
                               std::size_t length) {
    if (const int error = fault::check()) return fail(error);
    const ssize_t size =
        ::copy_file_range(source, &source_offset, target, &target_offset, length, 0);
    if (size < 0) return fail(Errno::last());
    return static_cast<std::size_t>(size);
}

Result<void> clone_data(int source, int target) {
    return status_of([&] { return ::ioctl(target, FICLONE, source); });
}

Result<void> synchronize(int descriptor, bool data_only) {
    return status_of([&] { return data_only ? ::fdatasync(descriptor) : ::fsync(descriptor); });
}

Result<void> lock_whole(int descriptor, int operation) {
    return status_of([&] { return ::flock(descriptor, operation); });
}

Result<void> lock_range(int descriptor, struct flock& range, bool wait) {
    range.l_pid = 0;  // fcntl(2): must be zero for open file description locks
    return status_of(
        [&] { return ::fcntl(descriptor, wait ? F_OFD_SETLKW : F_OFD_SETLK, &range); });
}

Result<void> query_lock(int descriptor, struct flock& range) {
    range.l_pid = 0;
    return status_of([&] { return ::fcntl(descriptor, F_OFD_GETLK, &range); });
}

Result<std::uint32_t> inode_flags(int descriptor) {
    // The kernel reads and writes an int, whatever the number's size field says (ioctl_iflags(2)).
    int flags = 0;
    TRY(status_of([&] { return ::ioctl(descriptor, FS_IOC_GETFLAGS, &flags); }));
    return static_cast<std::uint32_t>(flags);
}

Result<void> set_inode_flags(int descriptor, std::uint32_t flags) {
    int value = static_cast<int>(flags);
    return status_of([&] { return ::ioctl(descriptor, FS_IOC_SETFLAGS, &value); });
}

Result<void> extended_flags(int descriptor, std::span<std::byte> fsxattr) {
    if (fsxattr.size() < sizeof(struct fsxattr)) return fail(EINVAL);
    return status_of([&] { return ::ioctl(descriptor, FS_IOC_FSGETXATTR, fsxattr.data()); });
}

Result<void> set_extended_flags(int descriptor, std::span<const std::byte> fsxattr) {
    if (fsxattr.size() < sizeof(struct fsxattr)) return fail(EINVAL);
    return status_of([&] { return ::ioctl(descriptor, FS_IOC_FSSETXATTR, fsxattr.data()); });
}

}  // namespace plyfs::sys
