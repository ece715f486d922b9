// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/request_server.h"

#include <fmt/core.h>
#include <linux/fuse.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <span>

#include "session/context.h"
#include "session/request_names.h"

namespace plyfs::session {
namespace {

// FUSE_EXT_GROUPS of <linux/fuse.h> since 6.3: the extension carries groups.
constexpr std::uint32_t kExtensionGroups = 32;

// FUSE_OPEN_HANDLE of kernel/patches: docs/kernel-open.md.
constexpr std::uint32_t kOpenHandle = 1U << 16;

thread_local RequestExtras extras;

template <typename T>
bool read_object(std::span<const char> bytes, std::size_t at, T& object) {
    if (at > bytes.size() || bytes.size() - at < sizeof object) return false;
    std::memcpy(&object, bytes.data() + at, sizeof object);
    return true;
}

// The first group of the request's extension, which is the only one the kernel sends.
std::optional<gid_t> supplementary_group(std::span<const char> request,
                                         std::size_t extension_size) {
    if (extension_size > request.size()) return {};
    std::size_t at = request.size() - extension_size;
    while (at < request.size()) {
        fuse_ext_header header{};
        if (!read_object(request, at, header) || header.size < sizeof header) return {};
        struct {
            std::uint32_t count;
            std::uint32_t first;
        } groups{};
        if (header.type == kExtensionGroups && read_object(request, at + sizeof header, groups)) {
            return groups.count > 0 ? std::optional<gid_t>(groups.first) : std::nullopt;
        }
        at += header.size;
    }
    return {};
}

RequestExtras read_extras(const fuse_in_header& header, std::span<const char> request) {
    RequestExtras result;
    if (header.total_extlen != 0) {
        result.supplementary_group =
            supplementary_group(request, std::size_t{header.total_extlen} * 8);
    }
    fuse_open_in open{};
    if (header.opcode == FUSE_OPEN && read_object(request, sizeof header, open)) {
        result.kill_set_id = (open.open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
        result.handle_only = (open.open_flags & kOpenHandle) != 0;
    }
    return result;
}

}  // namespace

const RequestExtras& current_extras() noexcept {
    return extras;
}

void RequestServer::serve(const fuse_buf& request, ThreadStatistics& statistics) const {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    fuse_in_header header{};  // all zero where the request, a long WRITE, is in a pipe
    if ((request.flags & FUSE_BUF_IS_FD) == 0) {
        const std::span bytes(static_cast<const char*>(request.mem), request.size);
        read_object(bytes, 0, header);
        extras = read_extras(header, bytes);
        if (log) {
            fmt::print(stderr, "request {} node={} unique={} uid={} pid={}\n",
                       request_name(header.opcode), header.nodeid, header.unique, header.uid,
                       header.pid);
        }
    }
    fuse_session_process_buf(session, &request);
    const std::chrono::nanoseconds taken = Clock::now() - begin;
    statistics.count(header.opcode, static_cast<std::uint64_t>(taken.count()), take_error());
}

}  // namespace plyfs::session
