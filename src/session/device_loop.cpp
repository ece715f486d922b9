// SPDX-License-Identifier: GPL-2.0-or-later
#include "session/device_loop.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <linux/fuse.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "session/context.h"
#include "session/features.h"
#include "session/init_flags.h"
#include "session/request_names.h"
#include "sys/credentials.h"
#include "sys/unique_fd.h"

namespace plyfs::session {
namespace {

// FUSE_EXT_GROUPS of <linux/fuse.h> since 6.3: the extension carries groups.
constexpr std::uint32_t kExtensionGroups = 32;

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

// 0 where the request is not in memory.
std::uint32_t opcode_of(const fuse_buf& buffer) {
    if ((buffer.flags & FUSE_BUF_IS_FD) != 0) return 0;
    fuse_in_header header{};
    read_object(std::span(static_cast<const char*>(buffer.mem), buffer.size), 0, header);
    return header.opcode;
}

RequestExtras read_extras(std::span<const char> request) {
    RequestExtras result;
    fuse_in_header header{};
    if (!read_object(request, 0, header)) return result;
    if (header.total_extlen != 0) {
        result.supplementary_group =
            supplementary_group(request, std::size_t{header.total_extlen} * 8);
    }
    fuse_open_in open{};
    if (header.opcode == FUSE_OPEN && read_object(request, sizeof header, open)) {
        result.kill_set_id = (open.open_flags & FUSE_OPEN_KILL_SUIDGID) != 0;
    }
    return result;
}

void log_request(std::span<const char> request) {
    fuse_in_header header{};
    if (!read_object(request, 0, header)) return;
    fmt::print(stderr, "request {} node={} unique={} uid={} pid={}\n", request_name(header.opcode),
               header.nodeid, header.unique, header.uid, header.pid);
}

// Adds to libfuse's answer what it has no names for.
void add_flags(std::span<char> answer, std::uint64_t flags) {
    fuse_init_out init{};
    if (!read_object(answer, sizeof(fuse_out_header), init)) return;
    add_init_flags(init, flags);
    std::memcpy(answer.data() + sizeof(fuse_out_header), &init, sizeof init);
}

}  // namespace

const RequestExtras& current_extras() noexcept {
    return extras;
}

Result<std::uint64_t> answer_init(fuse_session* session) {
    fuse_buf buffer{};
    const int received = fuse_session_receive_buf(session, &buffer);
    const std::unique_ptr<void, decltype(&std::free)> memory(buffer.mem, &std::free);
    if (received <= 0) return fail(received == 0 ? ENODEV : -received);
    const std::span request(static_cast<const char*>(buffer.mem), buffer.size);
    fuse_in_header header{};
    fuse_init_in init{};
    if (!read_object(request, 0, header) || header.opcode != FUSE_INIT ||
        !read_object(request, sizeof header, init)) {
        return fail(EPROTO);
    }

    // libfuse writes its answer to the descriptor of the device: for this one request something
    // else stands there, so that the answer can be added to before the kernel sees it.
    const int device = fuse_session_fd(session);
    std::array<int, 2> pair{};
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair.data()) != 0) {
        return fail(Errno::last());
    }
    const UniqueFd near(pair[0]);
    UniqueFd far(pair[1]);
    const UniqueFd real(::fcntl(device, F_DUPFD_CLOEXEC, 0));
    if (!real || ::dup3(far.get(), device, O_CLOEXEC) < 0) return fail(Errno::last());
    fuse_session_process_buf(session, &buffer);
    if (::dup3(real.get(), device, O_CLOEXEC) < 0) return fail(Errno::last());

    std::array<char, 4096> bytes{};
    const ssize_t size = ::recv(near.get(), bytes.data(), bytes.size(), MSG_DONTWAIT);
    if (size <= 0) return fail(EPROTO);
    const std::span answer(bytes.data(), static_cast<std::size_t>(size));
    const std::uint64_t agreed = further_init_flags() & offered_init_flags(init);
    add_flags(answer, agreed);
    if (::write(device, answer.data(), answer.size()) != size) return fail(Errno::last());
    return agreed;
}

DeviceLoop::DeviceLoop(fuse_session* session, Statistics& statistics, bool log_requests,
                       std::function<void()> ended)
    : session_(session), log_requests_(log_requests), ended_(std::move(ended)),
      running_(statistics.threads()) {
    for (std::size_t index = 0; index < statistics.threads(); ++index) {
        threads_.emplace_back([this, &own = statistics.thread(index)] { run(own); });
    }
}

DeviceLoop::~DeviceLoop() {
    for (std::thread& thread : threads_) thread.join();
}

void DeviceLoop::run(ThreadStatistics& statistics) {
    using Clock = std::chrono::steady_clock;
    if (const auto prepared = sys::prepare_serving_thread(); !prepared) {
        spdlog::error("a serving thread can't get its own credentials: {}",
                      prepared.error().message());
    }
    fuse_buf buffer{};
    while (fuse_session_exited(session_) == 0) {
        const int received = fuse_session_receive_buf(session_, &buffer);
        if (received == -EINTR || received == -EAGAIN) continue;
        if (received <= 0) break;
        const Clock::time_point begin = Clock::now();
        const std::uint32_t opcode = opcode_of(buffer);
        const std::span request(static_cast<const char*>(buffer.mem), buffer.size);
        if ((buffer.flags & FUSE_BUF_IS_FD) == 0) {
            extras = read_extras(request);
            if (log_requests_) log_request(request);
        }
        fuse_session_process_buf(session_, &buffer);
        const std::chrono::nanoseconds taken = Clock::now() - begin;
        statistics.count(opcode, static_cast<std::uint64_t>(taken.count()), take_error());
    }
    std::free(buffer.mem);
    fuse_session_exit(session_);
    if (--running_ == 0) ended_();
}

}  // namespace plyfs::session
