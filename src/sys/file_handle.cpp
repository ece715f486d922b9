// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/file_handle.h"

#include <fcntl.h>

#include <array>
#include <cstddef>
#include <cstring>

#include "sys/fault.h"
#include "sys/open.h"

namespace plyfs::sys {
namespace {

// struct file_handle with room for its bytes, which the C library leaves open at the end.
class HandleBuffer {
public:
    struct file_handle* get() { return reinterpret_cast<struct file_handle*>(bytes_.data()); }
    char* payload() { return bytes_.data() + sizeof(struct file_handle); }

private:
    alignas(
        struct file_handle) std::array<char, sizeof(struct file_handle) + MAX_HANDLE_SZ> bytes_{};
};

}  // namespace

Result<std::string> file_handle(int descriptor) {
    if (const int error = fault::check()) return fail(error);
    HandleBuffer buffer;
    buffer.get()->handle_bytes = MAX_HANDLE_SZ;
    int mount_id = 0;
    if (::name_to_handle_at(descriptor, "", buffer.get(), &mount_id, AT_EMPTY_PATH) != 0) {
        return fail(Errno::last());
    }
    std::string handle(sizeof buffer.get()->handle_type, '\0');
    std::memcpy(handle.data(), &buffer.get()->handle_type, handle.size());
    return handle.append(buffer.payload(), buffer.get()->handle_bytes);
}

Result<UniqueFd> open_file_handle(int mount, const std::string& handle, int flags) {
    HandleBuffer buffer;
    constexpr std::size_t kTypeSize = sizeof(int);
    if (handle.size() <= kTypeSize || handle.size() > kTypeSize + MAX_HANDLE_SZ) {
        return fail(EINVAL);
    }
    std::memcpy(&buffer.get()->handle_type, handle.data(), kTypeSize);
    buffer.get()->handle_bytes = static_cast<unsigned>(handle.size() - kTypeSize);
    std::memcpy(buffer.payload(), handle.data() + kTypeSize, handle.size() - kTypeSize);
    // Unlike other calls this one refuses an O_PATH descriptor (EBADF).
    const UniqueFd readable = TRY(reopen(mount, O_RDONLY | O_DIRECTORY));
    if (const int error = fault::check()) return fail(error);
    const int descriptor = ::open_by_handle_at(readable.get(), buffer.get(), flags | O_CLOEXEC);
    if (descriptor < 0) return fail(Errno::last());
    return UniqueFd(descriptor);
}

}  // namespace plyfs::sys
