// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/dirents.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys/fault.h"
#include "sys/open.h"

namespace plyfs::sys {

namespace {
constexpr std::size_t kBufferSize = std::size_t{32} << 10;  // bytes; what glibc's readdir uses
}

DirectoryReader::DirectoryReader(UniqueFd descriptor)
    : descriptor_(std::move(descriptor)), buffer_(kBufferSize) {}

Result<DirectoryReader> DirectoryReader::open(int directory, bool spare_access_time) {
    const auto open = [&](int flags) { return reopen(directory, flags); };
    constexpr int kFlags = O_RDONLY | O_DIRECTORY;
    return DirectoryReader(
        TRY(spare_access_time ? open_sparing_access_time(kFlags, open) : open(kFlags)));
}

Result<bool> DirectoryReader::fill() {
    if (const int error = fault::check()) return fail(error);
    const long size = ::syscall(SYS_getdents64, descriptor_.get(), buffer_.data(), buffer_.size());
    filled_ = size > 0 ? static_cast<std::size_t>(size) : 0;
    // A directory removed while open reads as ended (ENOENT from some file systems).
    if (size < 0 && errno != ENOENT) return fail(Errno::last());
    return filled_ > 0;
}

}  // namespace plyfs::sys
