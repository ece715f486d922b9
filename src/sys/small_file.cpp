// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/small_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <unistd.h>

#include "sys/data.h"
#include "sys/fault.h"
#include "sys/open.h"
#include "sys/statx.h"

namespace plyfs::sys {

Result<std::string> read_small_file(int directory, Name name, std::size_t limit) {
    // O_NONBLOCK: a FIFO of that name must not stop the daemon.
    const UniqueFd file = TRY(open_at(directory, name, O_RDONLY | O_NONBLOCK));
    const Attributes attributes = TRY(stat_descriptor(file.get()));
    if (!attributes.is_regular()) return fail(EINVAL);
    if (attributes.size > limit) return fail(EFBIG);
    std::string bytes(attributes.size, '\0');
    const std::size_t size = TRY(read_at(file.get(), std::as_writable_bytes(std::span(bytes)), 0));
    bytes.resize(size);
    return bytes;
}

Result<void> write_new_file(int directory, Name name, std::string_view bytes, mode_t mode) {
    const UniqueFd file = TRY(open_at(directory, name, O_WRONLY | O_CREAT | O_EXCL, mode));
    std::size_t done = 0;
    while (done < bytes.size()) {
        // A short write hides its error: writing on brings it out.
        const auto rest = std::as_bytes(std::span(bytes.substr(done)));
        const std::size_t size = TRY(write_at(file.get(), rest, static_cast<off_t>(done)));
        if (size == 0) return fail(EIO);
        done += size;
    }
    return synchronize(file.get(), false);
}

Result<void> synchronize_directory(int directory) {
    const UniqueFd opened = TRY(reopen(directory, O_RDONLY | O_DIRECTORY));
    const Result<void> done = synchronize(opened.get(), false);
    if (!done && (done.error() == EINVAL || done.error() == EOPNOTSUPP)) return {};
    return done;
}

Result<void> synchronize_file_system(int directory) {
    const UniqueFd opened = TRY(reopen(directory, O_RDONLY | O_DIRECTORY));
    if (const int error = fault::check()) return fail(error);
    if (::syncfs(opened.get()) != 0) return fail(Errno::last());
    return {};
}

Result<void> random_bytes(std::span<std::byte> bytes) {
    if (const int error = fault::check()) return fail(error);
    while (!bytes.empty()) {
        const ssize_t size = ::getrandom(bytes.data(), bytes.size(), 0);
        if (size < 0 && errno == EINTR) continue;
        if (size < 0) return fail(Errno::last());
        bytes = bytes.subspan(static_cast<std::size_t>(size));
    }
    return {};
}

}  // namespace plyfs::sys
